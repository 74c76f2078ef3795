"""What the terminal shows while it serves."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
from rich.console import Console

from ipa_rl.demo.application import Sample
from ipa_rl.demo.digits.load import DigitRequest
from ipa_rl.demo.view import WIDTH, Moment, line, panel


def now(**changes: object) -> Moment:
    """A turn in the middle."""
    arrivals = np.array([5, 9, 20, 31, 20, 8] * 5)
    stages = [Sample(0.0, "detect", "conv16x4", 4, 3, 2, 3), Sample(0.0, "classify", "conv4x1", 8, 1, 1, 1)]
    asked = DigitRequest(11.0, 11.0, 0.4, "served", 3, 3, "conv16x4", "conv4x1")
    late = replace(asked, latency_s=3.0, digit=5)
    known = Moment("agent", 1, 3, arrivals, 2.5, 13.2, 24.0, stages, (asked, late))
    return replace(known, **changes)  # type: ignore[arg-type]


def test_a_line_tells_load_plan_configuration_latency_accuracy_and_cost() -> None:
    told = line(now())
    for part in ("agent 13 of 30 s", "planned 24.0", "conv16x4 b4 x2 | conv4x1 b8 x1", "PAS 50.0", "cores 4"):
        assert part in told
    assert "violated 50.0 %" in told
    assert "begins in 5 s" in line(now(passed_s=-5.0))
    assert "planned -" in line(now(planned_rps=None))
    assert "no answer yet" in line(now(told=()))


def test_the_panel_fits_eighty_columns() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(panel(now(arrivals=np.full(300, 9), passed_s=280.0)))
    lines = console.export_text().splitlines()
    assert {len(one.rstrip()) for one in lines} == {WIDTH}
    assert any("■■□ 2 ready, 1 starting" in one for one in lines)
