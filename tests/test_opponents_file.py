"""opponents.json says what it was tuned on, and counts as untuned everywhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipa_rl import resources
from ipa_rl.agents.opponents import MEASURED, Opponent
from ipa_rl.agents.opponents_file import read_opponents, read_tuned, tuned_on, why_untuned, write_opponents
from ipa_rl.agents.trained import RESERVED, load_agents
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from tests.pipelines import write_environment

TUNED = [Opponent("ip", "last", 0.4, dict.fromkeys(MEASURED, 1.0))]
STAGES = {"fetch": ["small", "large"], "rank": ["small", "large"], "write": ["only"]}


@pytest.fixture
def mine(tmp_path: Path) -> Definition:
    """A pipeline of three stages."""
    return load_definition(write_environment(tmp_path, STAGES))


def test_opponents_count_where_they_were_tuned(mine: Definition, tmp_path: Path) -> None:
    path = tmp_path / "opponents.json"
    assert why_untuned(path, mine) == "nobody tuned them"
    write_opponents(TUNED, mine, path)
    assert why_untuned(path, mine) == ""
    assert read_tuned(path, mine) == read_opponents(path) == TUNED


def test_under_another_preference_they_count_as_well(mine: Definition) -> None:
    assert tuned_on(mine) == tuned_on(mine.preferring(5.0, 1.0))


def test_on_another_load_pipeline_or_sla_they_do_not(mine: Definition, tmp_path: Path) -> None:
    path = tmp_path / "opponents.json"
    write_opponents(TUNED, mine, path)
    twice = replace(mine, workload=mine.workload.at_scale(2.0))
    assert why_untuned(path, twice) == (
        "they were tuned on pipeline pipeline under workload twitter, "
        "not on pipeline pipeline under workload twitter x 2"
    )
    assert "not on pipeline video" in why_untuned(path, load_definition("video"))
    assert "has changed since" in why_untuned(path, mine.with_problem(sla_s=4.0))
    with pytest.raises(InputError, match="has changed since"):
        read_tuned(path, mine.with_problem(sla_s=4.0))


def test_on_another_resource_price_or_limit_they_do_not_and_cores_alone_are_as_before(
    mine: Definition,
) -> None:
    def on(resource: str, price: float) -> Definition:
        first, *others = mine.pipeline.stages
        variants = tuple(replace(one, resource=resource, price=price) for one in first.variants)
        stages = (replace(first, variants=variants), *others)
        return mine.with_problem(pipeline=replace(mine.pipeline, stages=stages))

    found = [tuned_on(one) for one in (mine, on("l4", 1), on("a10", 1), on("l4", 12), on("cores", 2))]
    found.append(tuned_on(mine.with_problem(limits=(("cores", 64.0),))))
    found.append(tuned_on(mine.with_problem(limits=(("cores", 32.0),))))
    assert len(set(found)) == len(found)
    assert tuned_on(on("cores", 1)) == tuned_on(on("cores", 1.0)) == tuned_on(mine)


@pytest.mark.parametrize("name", ["video", "nlp"])
def test_what_ships_was_tuned_for_what_ships(name: str) -> None:
    path = resources.folder("agents") / name / "opponents.json"
    assert why_untuned(path, load_definition(name)) == ""


def test_a_sidecar_runs_no_margin_of_another_load(tmp_path: Path) -> None:
    path, video = tmp_path / "opponents.json", load_definition("video")
    write_opponents(TUNED, video, path)
    (_, program) = load_agents(video, "program", path)
    assert program.margin == 0.4
    (_, program) = load_agents(video.with_problem(sla_s=4.0), "program", path)
    assert program.margin == RESERVED.margin
