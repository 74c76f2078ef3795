"""Opponents: the look-ahead program, the autoscaler, tuning on the judge, the bound that none exceeds."""

from __future__ import annotations

from dataclasses import replace

from ipa_rl.agents.opponents import (
    MEASURED,
    Opponent,
    best_foreseeing,
    best_program,
    best_real,
    fallback_program,
    rivals,
    untuned,
)


def test_rivals_are_the_best_program_the_best_that_can_be_built_and_the_best_that_foresees() -> None:
    def opponent(system: str, forecaster: str, utility: float) -> Opponent:
        return Opponent(system, forecaster, 0.0, dict.fromkeys(MEASURED, utility))

    program, other = opponent("ip", "last", 1.0), opponent("hpa", "", 2.0)
    perfect = opponent("ip", "perfect:25", 3.0)
    known = [program, opponent("ip", "lstm", 0.5), other, perfect]
    assert (best_program(known), best_real(known), best_foreseeing(known)) == (program, other, perfect)
    assert rivals(known) == (program, other, perfect)
    assert rivals([program, perfect]) == (program, perfect)
    assert rivals([program, perfect, replace(other, validation={})]) == ()


def test_untuned_opponents_are_nobody_s_rivals_and_the_fallback_is_the_window_s_maximum() -> None:
    assert rivals(untuned()) == rivals([]) == ()
    assert fallback_program(untuned()).name == "ip window-max:30"
    assert fallback_program(untuned()[:1]).name == "ip last"
