"""The window of the demonstration, and what is chosen on others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_rl.demo.settings import DemoSettings
from ipa_rl.demo.training import validation_of
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.workload import Part, load_workload
from tests.digits_environment import digits_definition


@pytest.mark.parametrize("seconds", [40, 80, 121])
def test_the_window_is_of_the_test_part_and_its_middle_stands_out(tmp_path: Path, seconds: int) -> None:
    window = DemoSettings(tmp_path, seconds).window()
    begin, end = load_workload("twitter").parts["test"]
    assert begin <= window.clock_s - window.history_s
    assert window.clock_s + seconds <= end
    loads = window.arrivals[window.history_s :]
    third = seconds // 3
    assert len(loads) == seconds
    around = max(np.median(loads[:third]), np.median(loads[-third:]))
    assert np.median(loads[third:-third]) >= 1.3 * around


def test_opponents_and_agent_are_chosen_on_what_resembles_the_window_and_never_on_it(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path)
    scale = digits_definition(tmp_path).workload.scale
    window, validation = settings.window(), validation_of(settings).windows()
    assert window.name.startswith("test ")
    assert len(validation) == settings.effort.validation_windows
    assert all(one.name.startswith("validation ") for one in validation)
    assert {len(one.arrivals) for one in validation} == {len(window.arrivals)}
    for one in (window, *validation):
        part: Part = "test" if one is window else "validation"
        (recorded,) = (
            found
            for found in eventful(load_workload("twitter"), part, settings.seconds, 120, most=16)
            if found.name == one.name
        )
        as_recorded = one is window  # what is served; those to choose by follow the environment's scale
        assert one.arrivals.sum() == int((1.0 if as_recorded else scale) * recorded.arrivals.sum())
