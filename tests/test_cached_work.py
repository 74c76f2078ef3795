"""Work that is kept until it is too old or of another key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ipa_rl.demo.cached_work import Kept


def test_kept_work_holds_for_the_same_key_until_it_is_too_old(tmp_path: Path) -> None:
    time_s = [1000.0]
    kept = Kept(tmp_path / "profile", {"machine": "a"}, 60.0, lambda: time_s[0])
    assert kept.age_s() is None
    kept.begin()
    assert kept.age_s() is None
    kept.done()
    time_s[0] += 30.0
    assert kept.age_s() == 30.0
    assert replace(kept, key={"machine": "b"}).age_s() is None
    time_s[0] += 31.0
    assert kept.age_s() is None


def test_begun_work_goes_on_and_that_of_another_key_is_deleted(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "profile", {"machine": "a"})
    kept.begin()
    (kept.folder / "half").touch()
    kept.begin()
    assert (kept.folder / "half").exists()
    replace(kept, key={"machine": "b"}).begin()
    assert not (kept.folder / "half").exists()


def test_work_that_was_ended_begins_anew(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "served", {}, fresh_s=-1.0)
    kept.begin()
    (kept.folder / "old").touch()
    kept.done()
    assert kept.age_s() is None
    kept.begin()
    assert not (kept.folder / "old").exists()


def test_a_record_that_is_broken_is_no_record(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "profile", {})
    kept.begin()
    kept.done()
    (kept.folder / "kept.json").write_text("{", encoding="utf-8")
    assert kept.age_s() is None
