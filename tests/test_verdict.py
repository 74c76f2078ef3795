"""What a card says of its agent: where it loses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ipa_rl import resources
from ipa_rl.judge.experiment import make_setup
from ipa_rl.report.verdict import losses
from tests.test_card import evaluated


def figure(name: str, difference: float) -> dict[str, Any]:
    """A paired difference, agent less rival."""
    return {"figure": name, "difference": difference, "interval_95": (difference - 0.1, difference + 0.1)}


def test_what_is_worse_is_told_unless_no_digit_shows_it() -> None:
    figures = [figure("utility", 1.0), figure("cores", 0.5), figure("violations", 0.00001)]
    paired = [{"rival": "planner", "figures": figures}]
    told = losses(
        replace(evaluated(make_setup("video", resources.folder("agents") / "video")), paired=paired)
    )
    assert "- Its cost in cores is worse than that of `planner` by 0.5000." in told
    assert not any("violations" in line or "utility is worse" in line for line in told)
