"""Progress: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io
import re

from rich.console import Console

from ipa_rl.progress import Bars
from tests.prometheus_server import wait_until


def test_without_a_terminal_a_line_says_now_and_then_how_far_the_work_is() -> None:
    """Also while one step takes long, and before the first is done."""
    said = io.StringIO()
    with Bars(Console(file=said, force_terminal=False, markup=False), first_s=0.01) as bars:
        wait_until(lambda: "at work for" in said.getvalue(), "it is said that work goes on")
        bars.advance("tune [all]", 0, 8)
        wait_until(lambda: "tune [all]: 0 of 8 after" in said.getvalue(), "the part is said")
        bars.advance("tune [all]", 4, 8)
        wait_until(lambda: "tune [all]: 4 of 8 after" in said.getvalue(), "the step is said")
    assert re.search(r"4 of 8 after \d+ s, about \d+ s left", said.getvalue())
    before = said.getvalue()
    bars.advance("tune [all]", 8, 8)
    assert said.getvalue() == before


def test_what_is_done_soon_says_nothing() -> None:
    said = io.StringIO()
    with Bars(Console(file=said, force_terminal=False)) as bars:
        bars.advance("tune", 8, 8)
    assert said.getvalue() == ""


def test_a_terminal_shows_bars() -> None:
    said = io.StringIO()
    with Bars(Console(file=said, force_terminal=True, width=80, _environ={})) as bars:
        bars.advance("tune", 4, 8)
    assert "4/8" in said.getvalue()
