"""What people measured elsewhere, as a pipeline's folder: files of benchmark tools -> readings -> points."""

from ipa_rl.profiles.benchmarks.importing import FORMATS, Imported, Selection, import_benchmarks
from ipa_rl.profiles.benchmarks.told import Told, placement_of

__all__ = ["FORMATS", "Imported", "Selection", "Told", "import_benchmarks", "placement_of"]
