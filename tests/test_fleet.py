"""Several pipelines on what they share: the joint optimum, and the way to it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ipa_rl.agents import Agent
from ipa_rl.agents.trained import load_agents
from ipa_rl.cli import app
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Choices, Chooser, Member
from ipa_rl.fleet.fleet_file import load_fleet
from ipa_rl.fleet.joint import joint_optimum
from ipa_rl.fleet.ledger import Grant, Ledger, Need
from ipa_rl.judge.fleet_compare import fleet_scenarios
from ipa_rl.judge.fleet_play import FleetPlayed, Sharing, play_fleet
from ipa_rl.objective import Problem, Weights, carried_rps, units_of
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig, Variant
from ipa_rl.solvers.transition import ENDING, most_on_the_way
from tests.fleets import RESOURCES, fleet_of, members, vars_of

Replicas = dict[tuple[str, int], int]
"""That exist of a stage, by variant and batch size."""

loads = st.sampled_from([0.0, 1.0, 7.5, 20.0, 60.0])
limits = st.tuples(st.sampled_from([4.0, 12.0, 40.0]), st.sampled_from([2.0, 6.0, 20.0]))


@st.composite
def choices(draw: st.DrawFn) -> tuple[list[Choices], np.ndarray]:
    found = [Chooser(one, RESOURCES).choices(draw(loads), every_share=True) for one in draw(members())]
    return found, np.array(draw(limits))


@settings(max_examples=100, deadline=None)
@given(choices())
def test_the_joint_optimum_equals_trying_everything(case: tuple[list[Choices], np.ndarray]) -> None:
    found, most = case
    best = None
    for picks in itertools.product(*(range(len(one.worth)) for one in found)):
        units = sum(one.units[pick] for one, pick in zip(found, picks, strict=True))
        if (units <= most + 1e-9).all():
            worth = sum(one.worth[pick] for one, pick in zip(found, picks, strict=True))
            best = worth if best is None else max(best, worth)
    joint = joint_optimum(found, most)
    if best is None:
        assert joint is None
        return
    assert joint is not None
    assert joint.worth == pytest.approx(best, abs=1e-6)
    assert joint.bound == joint.worth


@settings(max_examples=60, deadline=None)
@given(choices())
def test_by_prices_no_limit_is_exceeded_and_the_bound_holds(case: tuple[list[Choices], np.ndarray]) -> None:
    found, most = case
    exact = joint_optimum(found, most)
    priced = joint_optimum(found, most, exact_up_to=0)
    assert (exact is None) == (priced is None)
    if exact is None or priced is None:
        return
    units = sum(one.units[pick] for one, pick in zip(found, priced.picks.tolist(), strict=True))
    assert (units <= most + 1e-6).all()
    assert priced.worth <= exact.worth + 1e-6 <= priced.bound + 2e-6


@settings(max_examples=60, deadline=None)
@given(members(most=1), loads)
def test_choices_are_told_by_what_they_occupy_and_carry(some: list[Member], load: float) -> None:
    found = Chooser(some[0], RESOURCES).choices(load, every_share=True)
    pipeline = some[0].definition.pipeline
    assert (np.diff(found.worth) <= 1e-9).all()
    for units, share, one in zip(found.units, found.shares, found.configurations, strict=True):
        used = units_of(pipeline, one)
        assert units.tolist() == [used.get(name, 0.0) for name in RESOURCES]
        assert share == pytest.approx(min(carried_rps(pipeline, one) / found.load_rps, 1.0))


def test_a_pipeline_without_a_load_runs_and_carries_all_of_it() -> None:
    found = Chooser(Member("one", load_definition("audio-sent")), ("cores",)).choices_at(0.0)
    assert found.shares.tolist() == [1.0] * len(found.configurations)
    assert all(one.replicas >= 1 for own in found.configurations for one in own.stages)


def pick_of(found: list[Choices], most: float) -> list[float]:
    joint = joint_optimum(found, np.array([most]))
    assert joint is not None
    return [float(one.shares[pick]) for one, pick in zip(found, joint.picks.tolist(), strict=True)]


def test_of_two_alike_the_one_of_lower_priority_gives_way() -> None:
    definition = load_definition("audio-sent")
    for first, second in ((1.0, 3.0), (3.0, 1.0)):
        pair = [Member("one", definition, first), Member("other", definition, second)]
        found = [Chooser(one, ("cores",)).choices(20.0, every_share=True) for one in pair]
        shares = pick_of(found, 20.0)
        assert (shares[0] < shares[1]) == (first < second)


def test_a_floor_is_kept_whatever_the_priority_of_others() -> None:
    definition = load_definition("audio-sent")
    low = Member("low", definition, 1.0, floor_rps=10.0)
    high = Member("high", definition, 100.0)
    found = [Chooser(one, ("cores",)).choices(20.0, every_share=True) for one in (low, high)]
    assert pick_of(found, 24.0)[0] * found[0].load_rps >= 10.0 - 1e-6
    bare = [Chooser(replace(low, floor_rps=0.0), ("cores",)).choices(20.0, every_share=True), found[1]]
    assert pick_of(bare, 24.0)[0] * bare[0].load_rps < 10.0


@pytest.mark.parametrize("times", [1.3, 2.3, 4.5, 40.0])
def test_floors_that_fit_fit_whatever_more_comes(times: float) -> None:
    floors = {"audio-qa": 12.0, "audio-sent": 25.0, "nlp": 8.0}
    some = [Member(name, load_definition(name), floor_rps=floor) for name, floor in floors.items()]
    each = [Chooser(one, ("cores",)).choices_at(one.floor_rps) for one in some]
    ledger = Ledger(some, {"cores": float(sum(one.units.min() for one in each))})
    found, joint = ledger.joint([times * floor for floor in floors.values()], on_grid=False)
    for one, pick in zip(found, joint.picks.tolist(), strict=True):
        assert one.shares[pick] * one.load_rps >= one.member.floor_rps - 1e-6


def test_a_load_beyond_all_that_there_is_leaves_others_what_is_left() -> None:
    some = [Member("video", load_definition("video")), Member("audio-sent", load_definition("audio-sent"))]
    found, joint = Ledger(some, {"cores": 10.0}).joint([800.0, 5.0])
    assert sum(one.units[pick, 0] for one, pick in zip(found, joint.picks.tolist(), strict=True)) <= 10.0


@pytest.mark.parametrize("load_rps", [1150.0, 1300.0, 3000.0])
def test_of_what_there_is_nothing_that_carries_more_is_left_idle(load_rps: float) -> None:
    """Each core carries 100 requests a second more, all of them violate otherwise."""
    variant = Variant("t", 0.9, 1, 5.0, (1,), (0.01,), (0.01,), (100.0,))
    weights = Weights(alpha=1.0, beta=1.0, delta=0.0, rho=1000.0)
    problem = Problem(Pipeline("one", (Stage("s", (variant,)),)), weights, sla_s=10.0, max_replicas=200)
    member = Member("one", load_definition("video").with_problem(**vars_of(problem)))
    found, joint = Ledger([member, replace(member, name="two", priority=0.01)], {"cores": 12.0}).joint(
        [load_rps, 5.0]
    )
    assert found[0].units[joint.picks[0], 0] == 11.0


def test_nobody_is_given_more_of_what_is_shared_than_its_own_limit() -> None:
    own = load_definition("video").with_problem(limits=(("cores", 10.0),))
    assert Chooser(Member("video", own), ("cores",)).choices_at(160.0, every_share=True).units.max() <= 10.0


def test_a_floor_of_pas_that_a_product_meets_but_for_rounding_is_kept() -> None:
    pairs = (("a", 0.5, 1), ("A", 0.7, 2)), (("b", 0.5, 1), ("B", 0.8, 2))
    stages = tuple(
        Stage(
            f"s{i}",
            tuple(Variant(name, right, n, 5.0, (1,), (0.1,), (0.1,), (10.0,)) for name, right, n in own),
        )
        for i, own in enumerate(pairs)
    )
    weights = Weights(alpha=1.0, beta=1.0, delta=0.0, rho=30.0)
    problem = Problem(Pipeline("pair", stages), weights, sla_s=10.0, max_replicas=20)
    member = Member("pair", load_definition("video").with_problem(**vars_of(problem)), floor_pas=0.56)
    assert [str(one) for one in Chooser(member, ("cores",)).choices_at(5.0).configurations] == [
        "A b1 x1 | B b1 x1"
    ]


def test_who_is_left_alone_keeps_what_it_has_and_others_get_the_rest() -> None:
    definition = load_definition("audio-sent")
    some = [Member(name, definition) for name in ("alone", "other")]
    ledger = Ledger(some, {"cores": 30.0})
    lean = ledger.choosers[0].choices_at(2.0).configurations[-1]
    there = [{(one.variant, one.batch): one.replicas} for one in lean.stages]
    need = Need(20.0, there, 20.0, lean)
    kept = np.array([units_of(definition.pipeline, lean)["cores"]])
    alone, other = ledger.grants([replace(need, kept=kept), need])
    both, _ = ledger.grants([need, need])
    assert alone.may.tolist() == kept.tolist()
    assert both.may[0] > alone.may[0]
    assert alone.may[0] + other.may[0] <= 30.0
    assert other.may[0] > ledger.grants([need, need])[1].may[0]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_all_together_never_occupy_more_than_there_is_nor_while_they_change(data: st.DataObject) -> None:
    """Whatever each does with what it is given: it grows to all of it, or not at all, in any order."""
    some, most = data.draw(members()), np.array(data.draw(limits))
    ledger = Ledger(some, dict(zip(RESOURCES, most.tolist(), strict=True)))
    there: list[list[Replicas]] = [[{} for _ in one.definition.pipeline.stages] for one in some]
    for _ in range(4):
        for own in there:
            some_end(data, own)
        decided = [data.draw(st.none() | decisions(one.definition.problem)) for one in some]
        needs = [Need(data.draw(loads), own, 0.0, one) for own, one in zip(there, decided, strict=True)]
        try:
            grants = ledger.grants(needs)
        except InputError:
            assume(False)
            raise
        before = total(some, there)
        may = np.sum([np.maximum(one.may, one.there) for one in grants], axis=0)
        assert (may <= np.maximum(most, before) + 1e-6).all()
        for i, one in enumerate(grants):
            if data.draw(st.booleans()):
                there[i] = moved(one, there[i], ledger)
        assert (total(some, there) <= most + 1e-6).all()


@st.composite
def decisions(draw: st.DrawFn, problem: Problem) -> Configuration:
    """Whatever an agent may decide, more than there is too."""
    chosen = []
    for stage in problem.pipeline.stages:
        one = draw(st.sampled_from(stage.variants))
        chosen.append(StageConfig(one.name, draw(st.sampled_from(one.batches)), draw(st.integers(1, 30))))
    return Configuration(tuple(chosen))


def some_end(data: st.DataObject, there: list[Replicas]) -> None:
    """What ended is gone, and of what exists something ends."""
    for own in there:
        for name, size in list(own):
            if size == ENDING and data.draw(st.booleans()):
                del own[name, size]
        alive = [(key, count) for key, count in own.items() if key[1] != ENDING and count]
        if alive:
            (name, size), count = data.draw(st.sampled_from(alive))
            count *= data.draw(st.integers(0, 1))
            own[name, size] -= count
            own[name, ENDING] = own.get((name, ENDING), 0) + count


def test_who_only_wants_more_of_what_runs_lets_go_of_nothing_for_it() -> None:
    some = [Member("burst", load_definition("video"), 9.0), Member("other", load_definition("video"))]
    ledger = Ledger(some, {"cores": 16.0})
    lean = Configuration((StageConfig("yolov5n", 1, 3), StageConfig("resnet18", 8, 3)))
    other = Configuration((StageConfig("yolov5l", 1, 2), StageConfig("resnet152", 1, 1)))
    there = [grown(one, [{}, {}]) for one in (lean, other)]
    more = Configuration(tuple(replace(one, replicas=20) for one in lean.stages))
    for decided in (more, None):
        needs = [Need(150.0, there[0], 45.0, decided), Need(6.0, there[1], 6.0, other)]
        burst, gives = ledger.grants(needs)
        assert burst.may >= burst.there
        assert gives.may < gives.there


def test_who_holds_what_cannot_carry_its_load_lets_go_of_half_where_there_is_no_room_to_change() -> None:
    member = Member("alone", load_definition("video"))
    heavy = Configuration((StageConfig("yolov5x", 1, 1), StageConfig("resnet152", 1, 4)))
    (grant,) = Ledger([member], {"cores": 16.0}).grants([Need(60.0, grown(heavy, [{}, {}]), 4.0, heavy)])
    assert grant.may < grant.there


def moved(grant: Grant, there: list[Replicas], ledger: Ledger) -> list[Replicas]:
    """What exists once a pipeline has begun to move to some choice that it may begin to move to."""
    definition = grant.member.definition
    i = ledger.members.index(grant.member)
    for one in ledger.choosers[i].choices(grant.load_rps, every_share=True).configurations:
        way = most_on_the_way(definition.pipeline, one, there)
        if all(way.get(name, 0.0) <= may + 1e-9 for name, may in zip(RESOURCES, grant.may, strict=True)):
            return grown(one, there)
    return there


def grown(wanted: Configuration, there: list[Replicas]) -> list[Replicas]:
    """Old replicas stay beside the new ones."""
    found = []
    for one, own in zip(wanted.stages, there, strict=True):
        key = one.variant, one.batch
        others = ((size, count) for (name, size), count in own.items() if name == one.variant)
        same = sum(count for size, count in others if size not in (one.batch, ENDING))
        found.append({**own, key: max(own.get(key, 0), one.replicas - same)})
    return found


def total(some: list[Member], there: list[list[Replicas]]) -> np.ndarray:
    units = np.zeros(len(RESOURCES))
    for member, own in zip(some, there, strict=True):
        for stage, one in zip(member.definition.pipeline.stages, own, strict=True):
            for (name, _), count in one.items():
                variant = stage.variant(name)
                if variant.resource in RESOURCES:
                    units[RESOURCES.index(variant.resource)] += count * variant.units
    return units


def play(cores: float, sharing: Sharing) -> FleetPlayed:
    fleet = fleet_of(cores=cores)

    def agent_for(definition: Definition) -> Agent:
        return load_agents(definition, "program")[0][0]

    return play_fleet(fleet, fleet_scenarios(fleet, "validation", 2)[0], agent_for, sharing)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["joint", "apart", "first come"])
def test_in_the_simulator_no_more_is_occupied_than_there_is(sharing: Sharing) -> None:
    played = play(24.0, sharing)
    assert played.highest_share <= 1.0 + 1e-9
    assert len(played.occupied) == 120
    assert all(0.0 <= one["violations"] <= 1.0 for one in played.figures())


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    return path


TWO = "pipelines: {video: {environment: video}, speech: {environment: audio-sent}}"


def test_solve_tells_what_each_runs_and_who_gives_way(tmp_path: Path) -> None:
    path = write(tmp_path, f"limits: {{cores: 24}}\n{TWO}\n")
    loads = ["--load", "video=30", "--load", "speech=30"]
    found = CliRunner().invoke(app, ["fleet", "solve", str(path), *loads, "--json"])
    assert found.exit_code == 1
    content = json.loads(found.stdout)
    assert sum(one["units"]["cores"] for one in content["pipelines"]) <= 24
    assert min(one["share"] for one in content["pipelines"]) < 1.0
    assert content["prices"]["cores"] > 0
    assert content["bound"] >= content["worth"] - 1e-9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"limits: {{l4: 8}}\n{TWO}", "limits.l4: no pipeline occupies it; fix: use cores"),
        (f"limits: {{cores: 2}}\n{TWO}", "limits: 2 of cores, "),
        ("limits: {cores: 9}\npipelines: {a: {environment: nothing-such}}", "nothing-such"),
        (f"limits: {{cores: 20}}\nreserve: 1\n{TWO}", "reserve"),
        (f"limits: {{}}\n{TWO}", "limits"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as fault:
        load_fleet(write(tmp_path, text + "\n"))
    assert told in str(fault.value)
    assert "fix: " in str(fault.value)


def test_a_load_of_no_pipeline_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, f"limits: {{cores: 24}}\n{TWO}\n")
    found = CliRunner().invoke(app, ["fleet", "solve", str(path), "--load", "nobody=3"])
    assert isinstance(found.exception, InputError)
    assert "no pipeline nobody; fix: name one of video, speech" in str(found.exception)
