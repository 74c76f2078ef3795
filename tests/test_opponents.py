"""Opponents: the look-ahead program, the autoscaler, tuning on the judge, the bound that none exceeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ipa_rl.agents.opponents import (
    MEASURED,
    Opponent,
    best_foreseeing,
    best_program,
    best_real,
    build,
    fallback_program,
    rivals,
    untuned,
)
from tests.scenarios import VIDEO, state


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


def test_a_program_that_counts_waits_is_a_program_and_runs_more_where_requests_would_wait() -> None:
    plain, waiting = (Opponent(system, "last", 0.0, {}) for system in ("ip", "ip with waits"))
    assert waiting.is_program
    hurried = VIDEO.with_problem(sla_s=0.35)
    seen = state(np.full(hurried.history_s, 30), hurried)
    rows = [build(hurried, one, np.zeros(0)).decide(seen).configuration for one in (plain, waiting)]
    assert sum(one.replicas for one in rows[0].stages) < sum(one.replicas for one in rows[1].stages)
