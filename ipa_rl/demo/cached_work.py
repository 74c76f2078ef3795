"""Work that is done once and kept, for as long as what it was done for is the same and it is not too old."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_rl.documents import read_json
from ipa_rl.errors import InputError
from ipa_rl.result_files import write_json

_RECORD = "kept.json"
AGAIN = "delete it, and run ipa-rl demo again"
"""How a broken file among the kept ones is mended."""


@dataclass(frozen=True)
class Kept:
    """A folder of results. ``key``: everything that they depend on; ``fresh_s``: how long they hold.

    ``clock``: seconds since 1970.
    """

    folder: Path
    key: Mapping[str, Any]
    fresh_s: float = float("inf")
    clock: Callable[[], float] = time.time

    def age_s(self) -> float | None:
        """Seconds since the work was done; None where it was not, was done for another key, or is too old."""
        done_s = self._record().get("done_s")
        if not isinstance(done_s, int | float):
            return None
        age_s = self.clock() - float(done_s)
        return age_s if age_s <= self.fresh_s else None

    def begin(self) -> None:
        """Make the folder; what lies there is left where the same work was begun and not ended."""
        record = self._record()
        if not record or record.get("done_s") is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(None)

    def done(self) -> None:
        """The work is done."""
        self._write(self.clock())

    def _record(self) -> dict[str, Any]:
        """What was noted of work for the same key; empty where nothing readable was."""
        try:
            found = read_json(self.folder / _RECORD, AGAIN)
        except InputError:
            return {}
        same = isinstance(found, dict) and found.get("of") == json.loads(json.dumps(self.key))
        return found if same else {}

    def _write(self, done_s: float | None) -> None:
        write_json({"of": self.key, "done_s": done_s}, self.folder / _RECORD)
