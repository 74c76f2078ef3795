"""Other people's records of requests as workloads: a file -> a table -> times or counts -> a folder.

Needs ``ipa-rl[data]``.
"""

from ipa_rl.errors import MissingExtraError

try:
    import pandas as _  # noqa: F401 - all modules of this package need it
except ImportError as error:
    raise MissingExtraError("pandas", "data") from error

from ipa_rl.workload.importing.importing import Imported, Looked, import_workload, look
from ipa_rl.workload.importing.told import Told

__all__ = ["Imported", "Looked", "Told", "import_workload", "look"]
