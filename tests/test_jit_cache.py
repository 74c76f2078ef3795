"""Compiled functions where a container has neither a home nor a package that it may write to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba.core import caching, config
from numba.core.errors import TypingError

from ipa_rl import jit_cache
from ipa_rl.jit import FloatArray, compiled


def double(number: float) -> float:
    return 2.0 * number


def test_what_was_compiled_is_kept_where_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert compiled(double)(2.0) == 4.0
    assert list(tmp_path.rglob("*.nbc"))


def test_where_nothing_may_be_written_it_is_compiled_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that belongs to root, and a home that is not there."""

    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    assert compiled(double)(2.0) == 4.0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("step", ["_load_index", "_save_index", "_save_data"])
def test_a_cache_that_fails_later_is_done_without(
    number: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up, files of another user."""

    def fail(*_: object) -> None:
        raise OSError(number, "cannot")

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, step, fail)
    assert compiled(double)(2.0) == 4.0


def test_what_another_process_compiles_is_waited_for_and_not_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert compiled(double)(2.0) == 4.0
    waiting: Any = compiled(double)
    kept, aside = waiting._cache.cache_path, tmp_path / "aside"
    Path(kept).rename(aside)
    Path(kept).mkdir()
    other = os.open(waiting._cache.lock, os.O_RDWR | os.O_CREAT)
    flock(other, LOCK_EX)

    def end(_: float) -> None:
        Path(kept, waiting._cache.lock).unlink()
        for file in aside.iterdir():
            file.rename(Path(kept, file.name))
        os.close(other)

    monkeypatch.setattr(jit_cache, "sleep", end)
    assert waiting(2.0) == 4.0
    assert (waiting.stats.cache_hits.total(), waiting.stats.cache_misses.total()) == (1, 0)
    assert not list(tmp_path.rglob("*.lock"))


def test_another_process_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was stopped."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit_cache, "PATIENCE_S", 0.05)
    waiting: Any = compiled(double)
    other = os.open(waiting._cache.lock, os.O_RDWR | os.O_CREAT)
    flock(other, LOCK_EX)
    assert waiting(2.0) == 4.0
    os.close(other)


def test_what_cannot_be_compiled_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    with pytest.raises(TypingError):
        compiled(double)("text")  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.lock"))


class Pair(NamedTuple):
    first: FloatArray
    second: FloatArray


def test_what_names_a_type_that_is_no_more_is_compiled_anew_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, in which a type got another name."""

    def add(pair: Pair) -> float:
        return float(pair.first[0] + pair.second[0])

    pair, known = Pair(np.ones(1), np.ones(1)), Pair
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert compiled(add)(pair) == 2.0
    monkeypatch.delattr(sys.modules[__name__], "Pair")
    assert compiled(add)(pair) == 2.0
    monkeypatch.setattr(sys.modules[__name__], "Pair", known, raising=False)
    assert compiled(add)(pair) == 2.0


FACTOR = 2.0


def scaled(number: float) -> float:
    return FACTOR * number


def more(number: float) -> float:
    return scaled(number) + 1.0


@pytest.mark.parametrize(
    ("name", "changed", "result"), [("FACTOR", 3.0, 7.0), ("scaled", lambda number: -number, -1.0)]
)
def test_what_calls_or_names_something_that_has_changed_is_compiled_anew(
    name: str, changed: object, result: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pull: its own file is as it was, and that of what it calls is not."""

    def load() -> Any:
        monkeypatch.setattr(module, "scaled", compiled(module.scaled))
        return compiled(more)

    module: Any = sys.modules[__name__]
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    plain = scaled
    assert load()(2.0) == 5.0
    monkeypatch.setattr(module, "scaled", plain)
    again = load()
    assert again(2.0) == 5.0
    assert again.stats.cache_hits.total() == 1
    monkeypatch.setattr(module, "scaled", plain)
    monkeypatch.setattr(module, name, changed)
    other = load()
    assert other(2.0) == result
    assert other.stats.cache_hits.total() == 0


def test_a_user_without_a_home_gets_no_folder_named_like_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number in the place of a user, as containers have it: "~" stays "~"."""

    def unknown(_: int) -> object:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(caching.InTreeCacheLocator, "from_function", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    assert compiled(double)(2.0) == 4.0
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pictures_are_drawn_without_a_home_and_without_advice(tmp_path: Path) -> None:
    program = "from ipa_rl.report.pyplot import load_pyplot; load_pyplot().subplots()"
    bare = {
        "HOME": str(tmp_path / "none" / "such"),
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    (tmp_path / "none").write_text("", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
