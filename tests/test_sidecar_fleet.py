"""One process for all pipelines of a fleet: what each may occupy, and settings that go together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_rl.errors import InputError
from ipa_rl.fleet.fleet_file import load_fleet
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.fleet import FleetSidecar
from ipa_rl.simulation.tables import replicas_there
from ipa_rl.solvers.transition import units_there

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
        assert line["shared"]["told"] == "what the others need is not known yet"
        assert line["shared"]["units"] == before
        assert other.attempt() is not None
        line = json.loads((tmp_path / f"{other.definition.name}.jsonl").read_text().splitlines()[0])
        assert "not known" not in line["shared"]["told"]


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
