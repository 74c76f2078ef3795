"""One process for all pipelines of a fleet: what each may occupy, and settings that go together."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Member
from ipa_rl.fleet.fleet_file import load_fleet
from ipa_rl.fleet.ledger import Ledger
from ipa_rl.live.cluster import Loads, Seen, StageSeen
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig, Variant
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.fleet import FleetSidecar
from ipa_rl.sidecar.observed import Observed
from ipa_rl.sidecar.orders import Wish
from ipa_rl.sidecar.sharing import SharedResources
from ipa_rl.simulation.tables import decode, held_rows, replicas_there
from ipa_rl.simulation.transitions import FLEET, place_all
from ipa_rl.solvers.transition import most_on_the_way, units_there
from tests.fleets import vars_of

CORES = 16.0
Changes = dict[str, dict[str, Any]]
WINDOWS = {"video": "bursty", "audio-sent": "fluctuating"}


def write_fleet(folder: Path, cores: float = CORES, changes: Changes | None = None) -> Path:
    """Video and audio-sent in rehearsals under one limit; ``changes``: of the settings of one, by name."""
    pipelines = {}
    for name, window in WINDOWS.items():
        settings = {
            "environment": name,
            "agent": "program",
            "mode": "act",
            "interval_s": 0.01,
            "cluster": {"rehearsal": {"window": window, "speed": 1000}},
            "leader_election": False,
            "telemetry": False,
            "load_history": False,
            "decision_log": {"path": f"{name}.jsonl"},
            **(changes or {}).get(name, {}),
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        pipelines[name] = {"environment": name, "sidecar": f"{name}.yaml"}
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump({"limits": {"cores": cores}, "pipelines": pipelines}), encoding="utf-8")
    return path


def occupied(driven: FleetSidecar) -> float:
    """Cores that all pipelines occupy now."""
    total = 0.0
    for one in driven.assembled:
        problem = one.sidecar.definition.problem
        there = replicas_there(problem, one.sidecar.cluster.look().state.fleet)
        total += units_there(problem.pipeline, there)["cores"]
    return total


@pytest.mark.slow
def test_whatever_comes_all_together_occupy_no_more_than_there_is(tmp_path: Path) -> None:
    driven = FleetSidecar(load_fleet(write_fleet(tmp_path)))
    with driven.closing:
        began = occupied(driven)
        seen = []
        for _ in range(60):
            assert all(driven.attempt())
            seen.append(occupied(driven))
    settled = next(i for i, one in enumerate(seen) if one <= CORES) if began > CORES else 0
    assert max(seen[settled:]) <= CORES
    steps = [json.loads(line) for line in (tmp_path / "audio-sent.jsonl").read_text().splitlines()]
    assert any("gives way" in one["shared"]["told"] for one in steps)
    assert all(one["shared"]["units"]["cores"] <= CORES for one in steps)
    told = "\n".join(line for one in steps for line in account(one))
    assert "  shared    may occupy " in told


def test_until_all_were_asked_once_nobody_grows(tmp_path: Path) -> None:
    driven = FleetSidecar(load_fleet(write_fleet(tmp_path, cores=60.0)))
    with driven.closing:
        first, other = (one.sidecar for one in driven.assembled)
        before = units_there(
            first.definition.pipeline,
            replicas_there(first.definition.problem, first.cluster.look().state.fleet),
        )
        assert first.attempt() is not None
        line = json.loads((tmp_path / f"{first.definition.name}.jsonl").read_text().splitlines()[0])
        awaited = f"nothing grows until it is known what {other.definition.name} needs"
        assert line["shared"]["told"] == awaited
        assert line["shared"]["units"] == before
        assert other.attempt() is not None
        line = json.loads((tmp_path / f"{other.definition.name}.jsonl").read_text().splitlines()[0])
        assert "nothing grows" not in line["shared"]["told"]


@pytest.mark.slow
def test_a_person_who_holds_one_pipeline_takes_nothing_that_another_was_given(tmp_path: Path) -> None:
    driven = FleetSidecar(load_fleet(write_fleet(tmp_path)))
    with driven.closing:
        for _ in range(12):
            driven.attempt()
        video, held = (one.sidecar for one in driven.assembled)
        held.orders.give(Wish.hold, "so it stays")
        for _ in range(8):  # others scale it down by hand, and it goes back to what was good
            now = decode(held.definition.problem, held_rows(held.cluster.look().state.fleet))
            held.cluster.apply(Configuration(tuple(replace(one, replicas=1) for one in now.stages)))
            assert video.attempt() is not None
            assert held.attempt() is not None
            assert occupied(driven) <= CORES


def seen_of(replicas: int, *, readable: bool = True) -> Observed:
    """Of one stage with so many replicas of its only variant, under a load of 60 requests a second."""
    fleet = np.zeros(1, dtype=FLEET)
    place_all(fleet, np.array([[0, 0, replicas if readable else 0]]))
    whole = StageSeen("s", replicas, replicas, replicas, "a", 1, ("a", 1))
    hidden = StageSeen("s", 0, 0, 0, None, None, (None, None), problem="s may not be read")
    state = State(np.full(120, 60.0), fleet, np.zeros(1))
    seen = Seen(state, Loads(state.history_rps, 0.0, stale=False), (whole if readable else hidden,))
    return Observed(seen, state, (None,), math.nan)


def test_what_cannot_be_read_is_not_given_to_others() -> None:
    variant = Variant("a", 0.9, 1, 5.0, (1,), (0.1,), (0.1,), (10.0,))
    weights = Weights(alpha=50.0, beta=1.0, delta=0.0, rho=300.0)
    problem = Problem(Pipeline("one", (Stage("s", (variant,)),)), weights, sla_s=10.0, max_replicas=200)
    definition = load_definition("video").with_problem(**vars_of(problem))
    shared = SharedResources(Ledger([Member("A", definition), Member("B", definition)], {"cores": 12.0}))
    for member, there in ((0, 8), (1, 4), (0, 8), (1, 4)):
        shared.ask(member, seen_of(there), None, stays=False)
    for _ in range(3):
        hidden = shared.ask(0, seen_of(8, readable=False), None, stays=False)
        assert dict(hidden.allotment.room) == {"cores": 8.0}
        assert dict(shared.ask(1, seen_of(4), None, stays=False).allotment.room) == {"cores": 4.0}


def test_replicas_that_were_told_to_go_count_beside_those_that_come_again() -> None:
    variant = Variant("a", 0.9, 1, 5.0, (1,), (0.1,), (0.1,), (10.0,))
    problem = Problem(Pipeline("one", (Stage("s", (variant,)),)), Weights(50.0, 1.0, 0.0, 300.0), 10.0, 200)
    observed, again = seen_of(5), Configuration((StageConfig("a", 1, 5),))
    assert most_on_the_way(problem.pipeline, again, observed.occupied(problem)) == {"cores": 5.0}
    observed.seen.state.fleet["wanted"] = 2
    assert units_there(problem.pipeline, observed.occupied(problem)) == {"cores": 5.0}
    assert most_on_the_way(problem.pipeline, again, observed.occupied(problem)) == {"cores": 8.0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"video": {"environment": "nlp"}}, "pipelines.video.sidecar: is of the environment nlp, not video"),
        ({"video": {"interval_s": 5}}, "interval_s: decides every"),
        (
            {name: {"leader_election": {"namespace": "a"}} for name in WINDOWS},
            "leader_election.name: is that of ",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_a_line(
    tmp_path: Path, changes: Changes, told: str
) -> None:
    fleet = load_fleet(write_fleet(tmp_path, changes=changes))
    with pytest.raises(InputError) as fault:
        FleetSidecar(fleet)
    assert told in str(fault.value)


def test_a_pipeline_without_settings_cannot_be_driven(tmp_path: Path) -> None:
    path = write_fleet(tmp_path)
    content = yaml.safe_load(path.read_text())
    del content["pipelines"]["video"]["sidecar"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"pipelines\.video\.sidecar: is missing; fix: give the path"):
        FleetSidecar(load_fleet(path))
