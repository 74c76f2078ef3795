"""Fleets for specifications: small pipelines that share cores and devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.fleet.choices import Member
from ipa_rl.fleet.fleet_file import Fleet
from ipa_rl.objective import Problem
from tests.strategies import limited, problems

BASE = load_definition("video")
RESOURCES = ("cores", "l4")


@st.composite
def members(draw: st.DrawFn, most: int = 3) -> list[Member]:
    """Pipelines of one or two stages on cores, L4 and T4, of different priorities."""
    small = limited(problems(most_stages=2, most_variants=2))
    found = []
    for i in range(draw(st.integers(1, most))):
        problem: Problem = replace(draw(small), limits=(), fixed_replicas=None, waits=False, max_replicas=6)
        weights = replace(problem.weights, alpha=20.0, beta=1.0, rho=30.0)
        definition = BASE.with_problem(**{**vars_of(problem), "weights": weights})
        found.append(Member(f"p{i}", definition, draw(st.sampled_from([1.0, 2.0, 5.0]))))
    return found


def vars_of(problem: Problem) -> dict[str, object]:
    """Its fields."""
    return {name: getattr(problem, name) for name in problem.__dataclass_fields__}


def fleet_of(**cores: float) -> Fleet:
    """Video and audio-sent on so many cores together."""
    found = tuple(Member(name, load_definition(name)) for name in ("video", "audio-sent"))
    return Fleet(Path("fleet.yaml"), found, dict(cores), 0.0, (None, None))
