"""A core of the demonstration: measured once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_rl.demo import core
from ipa_rl.demo.digits import SIZES
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.result_files import write_json


@pytest.mark.slow
def test_a_core_is_measured_once_and_kept_until_all_is_done_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "_WITHIN_S", 0.0)
    settings = DemoSettings(tmp_path)
    measured = core.core_of(settings)
    assert 1e-4 < measured.share < 0.1
    largest = [times[name] for times in measured.work_s.values() for name in list(times)[-1:]]
    assert sum(times[0] for times in largest) / measured.share == pytest.approx(core.LARGEST_S)
    assert all(times[-1] > times[0] for times in largest)
    monkeypatch.setenv(core.VARIABLE, str(core.core_file(settings)))
    for stage, load, sample in (
        ("detect", core.detect, core.detect_sample),
        ("classify", core.classify, core.classify_sample),
    ):  # as the profiler calls them
        batch = sample(3)
        assert len(load(next(iter(SIZES[stage])), 50)(batch)) == len(batch) == 3
    write_json({"share": 0.5, "work_s": {}}, core.core_file(settings))
    assert core.core_of(settings).share == 0.5
    settings.forget()
    assert core.core_of(settings).share != 0.5
