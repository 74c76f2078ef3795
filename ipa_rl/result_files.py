"""Results as files: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipa_rl.files import write_text


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The table as CSV; intervals as two columns."""
    flat = [_flat(row) for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple):
            flat[f"{name}_low"], flat[f"{name}_high"] = value
        else:
            flat[name] = value
    return flat


def write_json(content: Any, path: Path) -> None:
    """Anything of numbers, names and lists, as JSON; written whole or not at all."""
    write_text(json.dumps(content, indent=1) + "\n", path)
