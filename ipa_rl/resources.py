"""Where the data folders (envs, agents, profiles) are: inside the wheel, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from ipa_rl.errors import InputError
from ipa_rl.files import exists

_PACKAGED = Path(__file__).parent / "data"
_CHECKOUT = Path(__file__).parent.parent


def folder(kind: str) -> Path:
    """The shipped folder ``kind`` ("envs", "agents", "profiles" or "workloads")."""
    place = f"profiles/{kind}" if kind == "workloads" else kind
    packaged = _PACKAGED / place
    return packaged if packaged.is_dir() else _CHECKOUT / place


def beside(file: Path, name: str) -> Path:
    """Where a file names something beside it: never a bare name, which `find` would take for what ships."""
    path = file.parent / name
    return path if len(path.parts) > 1 else path.absolute()


def find(name_or_path: str | Path, kind: str) -> Path:
    """The path a user means: an existing path, else the shipped entry of that name.

    Raises InputError, with the known names, where there is neither.
    """
    path = Path(name_or_path)
    looks_like_path = path.suffix != "" or len(path.parts) > 1
    if not looks_like_path and str(name_or_path) in shipped_names(kind):
        return folder(kind) / (f"{name_or_path}.yaml" if kind == "envs" else str(name_or_path))
    if exists(path):
        return path
    known = ", ".join(shipped_names(kind))
    raise InputError("no such file or name", file=str(name_or_path), fix=f"give a path, or one of: {known}")


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped entries of a kind, sorted: files of envs, folders of all others.

    >>> "video" in shipped_names("envs")
    True
    """
    if kind == "envs":
        return sorted(path.stem for path in folder(kind).glob("*.yaml"))
    marks = {
        "agents": "hyperparameters.yaml", "profiles": "pipeline.yaml", "workloads": "workload.yaml"
    }  # fmt: skip
    mark = marks[kind]
    return sorted(path.parent.name for path in folder(kind).glob(f"*/{mark}"))
