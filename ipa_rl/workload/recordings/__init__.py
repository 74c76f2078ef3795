"""Other people's records of requests as workloads: a file -> a table -> times or counts -> a folder.

Needs ``ipa-rl[data]``.
"""

from ipa_rl.errors import MissingExtraError

try:
    import pandas as _  # noqa: F401 - all modules of this package need it
except ImportError as error:
    raise MissingExtraError("pandas", "data") from error

from ipa_rl.workload.recordings.hints import Hints
from ipa_rl.workload.recordings.reading import Looked, Taken, import_workload, look

__all__ = ["Hints", "Looked", "Taken", "import_workload", "look"]
