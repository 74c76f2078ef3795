"""Where results go: made and tried before the work begins, so that none is lost at its end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ipa_rl.errors import InputError


def output_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises InputError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot be written to: {reason}", file=path, fix="give another folder") from error


def output_file(path: Path) -> Path:
    """A file that is to be written, its folder made where it is missing. Raises InputError."""
    output_folder(path.parent)
    if path.is_dir():
        raise InputError("is a folder", file=path, fix="give the name of a file")
    return path
