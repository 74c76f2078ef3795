"""The benchmark: cases, shares and lines; and the command, from a case to its tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.agents.opponents import Opponent
from ipa_rl.cli import benchmark as command
from ipa_rl.environment.definition_file import environment_name, load_definition
from ipa_rl.judge import benchmark, experiment
from ipa_rl.judge.benchmark import Case, Group, Result, cases, lines
from ipa_rl.report.benchmark_table import benchmark_tables
from tests.command_line import fits, ipa_rl

UTILITIES = st.floats(-1e6, 1e6)


def result(
    controller: str, utility: float, group: Group = Group.loads, case: str = "video", bound: float = 10.0
) -> Result:
    """Of a case in which the program has a utility of 0."""
    return Result(group, case, controller, controller, utility, 0.0, bound, 0.01, 5.0, 4.0, 1.0)


def test_the_tables_have_a_title_for_every_group() -> None:
    told = benchmark_tables(lines([result("mine", 10.0, group) for group in Group]))
    assert told.count("## ") == len(Group) + 1  # and for all of them


@given(UTILITIES, st.floats(1e-3, 1e6))
def test_the_program_has_a_share_of_0_and_the_bound_of_1(program: float, gap: float) -> None:
    bound = program + gap
    shares = [
        Result(Group.loads, "a", "b", "b", utility, program, bound, 0.0, 1.0, 1.0, 1.0).share
        for utility in (program, bound)
    ]
    small = gap <= 0.01 * abs(bound)
    assert shares == [None, None] if small else pytest.approx(shares, abs=1e-3) == [0.0, 1.0]


def test_a_line_names_the_worst_case_and_counts_those_above_the_program() -> None:
    results = [result("mine", 5.0, case="a"), result("mine", -20.0, case="b"), result("mine", 1.0, case="c")]
    (line,) = lines(results)
    assert (line.above, line.cases, line.worst, line.worst_case) == (2, 3, -2.0, "b")
    assert line.mean == pytest.approx((0.5 - 2.0 + 0.1) / 3)
    assert line.median == pytest.approx(0.1)
    assert line.cost == 1.25


def test_a_case_in_which_the_program_leaves_nothing_counts_for_nobody() -> None:
    (line,) = lines([result("mine", 5.0), result("mine", -900.0, case="full", bound=0.0)])
    assert (line.cases, line.worst) == (1, 0.5)


def test_over_all_each_group_counts_alike_and_who_is_not_in_all_is_left_out() -> None:
    many = [result("mine", 0.0, case=str(k)) for k in range(9)]
    found = lines([*many, result("mine", 10.0, Group.stress), result("other", 9.0, Group.stress)])
    (line,) = [one for one in found if one.group == "all"]
    assert (line.controller, line.mean, line.cases) == ("mine", 0.5, 10)
    assert [one.controller for one in found if one.group == Group.stress] == ["mine", "other"]


def test_the_whole_has_every_shipped_pipeline_load_and_thirty_made_up_ones_twice() -> None:
    found = cases(False, list(Group))
    by_group = {group: [one.environment for one in found if one.group is group] for group in Group}
    assert by_group[Group.pipelines] == by_group[Group.stress] == resources.shipped_names("agents")
    assert {one.partition("@")[2] for one in by_group[Group.loads]} == set(
        resources.shipped_names("workloads")
    ) - {"twitter"}
    assert {one.partition("@")[0] for one in by_group[Group.family]} == {f"made-up-{k}" for k in range(30)}
    assert len(by_group[Group.family]) == 60


def test_the_quick_form_is_part_of_the_whole() -> None:
    whole, quick = (cases(is_quick, list(Group)) for is_quick in (False, True))
    names = {one.name for one in whole}
    assert {one.name for one in quick} < names
    assert len({one.name for one in quick}) == len(quick)
    assert {one.group for one in quick} == set(Group)
    switched = [one for one in quick if one.group is Group.family and "@" not in one.environment]
    assert 0 < len(switched) < sum(one.group is Group.family for one in quick)


def test_every_case_is_an_environment() -> None:
    for one in cases(True, [Group.loads, Group.family])[::5]:
        assert load_definition(one.environment).name == environment_name(one.environment)


FLAT = """
class Flat:
    name = "flat"

    def __init__(self, definition):
        self.definition = definition

    def decide(self, state):
        return self.definition.best_for(12.0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("short_stress")
def test_the_command_plays_a_case_once_and_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flat.py").write_text(FLAT, encoding="utf-8")
    few = [
        Case(Group.pipelines, "audio-sent", "audio-sent", 1),
        Case(Group.stress, "audio-sent", "audio-sent", 1),
    ]
    monkeypatch.setattr(command, "cases", lambda *_: few)
    monkeypatch.setattr(experiment, "SEEDS", 1)
    words = ("benchmark", "--quick", "--controller", "flat.py:Flat", "--workers", "1")
    done = ipa_rl(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    folder = tmp_path / "runs" / "benchmark-quick-flat"
    content = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
    by_name = {(one["group"], one["controller"]): one for one in content["lines"]}
    assert {"fine-tuned", "universal", "planner", "ip", "ip, perfect", "hpa", "flat"} <= {
        name for _, name in by_name
    }
    assert by_name["all", "ip"]["mean"] == 0.0
    assert by_name["stress", "planner"]["cases"] == 3
    assert by_name["pipelines", "fine-tuned"]["trained_s"] > 10
    assert by_name["pipelines", "universal"]["trained_s"] is None
    assert all(one["utility"] <= one["bound"] + 1e-6 for one in content["results"])
    tables = (folder / "benchmark.md").read_text(encoding="utf-8")
    assert tables.index("## All groups alike") < tables.index("## Under stress")
    assert "| flat |" in tables
    again = ipa_rl(*words, cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "runs of" in done.stderr
    assert "runs of" not in again.stderr


def test_opponents_are_tuned_on_a_load_of_their_own_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"utility": -1.0, "pas_x100": 30.0, "cores": 2.0, "violations": 0.0}
    asked: list[Any] = []

    def tune(validation: Any, *_: object) -> Sequence[Opponent]:
        asked.append(validation)
        return [Opponent("ip", "last", 0.1, figures), Opponent("ip", "perfect:20", 0.0, figures)]

    monkeypatch.setattr(benchmark, "tune", tune)
    plain, other = (experiment.make_setup(name) for name in ("video", "video@azure-conversations"))
    assert benchmark._tuned(plain, None, tmp_path, None, None) == plain  # type: ignore[arg-type]
    assert not asked
    for _ in range(2):
        tuned = benchmark._tuned(other, 2, tmp_path, None, None)  # type: ignore[arg-type]
        assert tuned.controllers().tuned
        assert [one.name for one in tuned.controllers().opponents] == ["ip last", "ip perfect:20"]
    assert [one.most for one in asked] == [2]
