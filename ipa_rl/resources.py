"""Where the data folders (envs, agents, profiles) are: inside the wheel, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from ipa_rl.errors import InputError

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent


def folder(kind: str) -> Path:
    """The shipped folder ``kind`` ("envs", "agents" or "profiles")."""
    packaged = _PACKAGED / kind
    return packaged if packaged.is_dir() else _CHECKOUT / kind


def find(name_or_path: str | Path, kind: str, suffix: str = "") -> Path:
    """The path a user means: an existing path, else the shipped entry of that name.

    Raises InputError, with the known names, where there is neither.
    """
    path = Path(name_or_path)
    looks_like_path = path.suffix != "" or len(path.parts) > 1
    shipped = folder(kind) / f"{name_or_path}{suffix}"
    if not looks_like_path and shipped.exists():
        return shipped
    if path.exists():
        return path
    known = ", ".join(shipped_names(kind, suffix))
    raise InputError("no such file or name", file=str(name_or_path), fix=f"give a path, or one of: {known}")


def shipped_names(kind: str, suffix: str = "") -> list[str]:
    """Names of the shipped entries of a kind, sorted.

    >>> "video" in shipped_names("envs", ".yaml")
    True
    """
    entries = folder(kind).iterdir()
    if suffix:
        return sorted(entry.stem for entry in entries if entry.suffix == suffix)
    return sorted(entry.name for entry in entries if entry.is_dir())
