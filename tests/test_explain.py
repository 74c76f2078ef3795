"""`ipa-rl explain`: the decision log as an account to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ipa_rl.cli import app
from ipa_rl.errors import InputError
from ipa_rl.live.cluster import ClusterError
from ipa_rl.sidecar.decision_log import DecisionLog
from ipa_rl.sidecar.explain import WIDTH, account, read_log, summary
from tests.live import PROGRAM, Wants, World, stale, two


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run in which something of everything happens."""
    path = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    writer = DecisionLog(path, 10**7, 1)
    agent = Wants(two(3))
    world = World(agents=(agent, PROGRAM), parts={"logs": (writer,)})
    world.steps(2)
    agent.error = ValueError("no such thing")
    world.steps(1)
    world.cluster.change = stale("Prometheus does not answer")
    world.steps(1)
    world.cluster.error = ClusterError("the API server does not answer")
    world.steps(1)
    return path


def text(path: Path, *arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["explain", str(path), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_account_says_what_was_seen_chosen_and_done(log: Path) -> None:
    first = "\n".join(account(read_log(log).entries[0]))
    assert "step 1, act, leader" in first
    assert "load 10 requests/s" in first
    assert "by the agent ppo, planned for 10 requests/s" in first
    assert "crop: replicas 1 -> 3" in first


def test_it_says_what_the_program_would_have_chosen_and_what_the_difference_is_worth(log: Path) -> None:
    first = " ".join(" ".join(account(read_log(log).entries[0])).split())
    assert "program would have chosen, for 11 requests/s: crop: yolov5n" in first
    assert "against the program's), 6 cores (+" in first


def test_it_names_fallbacks_holds_and_failures(log: Path) -> None:
    shown = " ".join(text(log).split())
    assert "by the integer program, planned for" in shown
    assert "ppo failed: ValueError: no such thing" in shown
    assert "load unknown (Prometheus does not answer)" in shown
    assert "the step failed (cluster) problem the API server does not answer" in shown
    assert "5 steps" not in shown
    assert "4 steps, 1 failed" in shown
    assert "fell back: 1 x ppo failed, 1 x stale" in shown


def test_every_line_fits_80_columns(log: Path) -> None:
    assert max(len(line) for line in text(log, "--last", "0").splitlines()) <= WIDTH


def test_last_shows_the_newest_steps_and_counts_all(log: Path) -> None:
    shown = text(log, "--last", "1")
    assert "step 1" not in shown
    assert "the step failed" in shown
    assert "4 steps, 1 failed" in shown


def test_json_holds_steps_summary_and_what_was_skipped(log: Path) -> None:
    content = json.loads(text(log, "--json", "--last", "0"))
    assert [step.get("step") for step in content["steps"]] == [1, 2, 3, 4, None]
    assert content["summary"]["by"] == {"ppo": 2, "program": 1, "held": 1}
    assert content["skipped"] == []


def test_lines_that_are_cut_off_or_broken_are_named_and_skipped(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines()
    broken = tmp_path / "decisions.jsonl"
    broken.write_bytes(
        b"\n".join([lines[0], b"{oops", b"\xff\xfe", b"[]", b'{"version": 9}', lines[1][:200]])
    )
    found = read_log(broken)
    assert len(found.entries) == 1
    assert [str(fault) for fault in found.faults] == [
        "decisions.jsonl:2: is not JSON: line 1, column 2; cut off?",
        "decisions.jsonl:3: is not UTF-8",
        "decisions.jsonl:4: is not an object",
        "decisions.jsonl:5: has version 9; only 1 can be read",
        "decisions.jsonl:6: is not JSON: line 1, column 201; cut off?",
    ]
    result = CliRunner().invoke(app, ["explain", str(broken)])
    assert result.exit_code == 0
    assert "5 of 6 lines skipped" in result.stderr


def test_a_log_of_which_nothing_can_be_read_ends_with_exit_status_1(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("nothing\n")
    assert CliRunner().invoke(app, ["explain", str(tmp_path / "log")]).exit_code == 1


def test_a_log_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a file; fix: give the decision_log\.path"):
        read_log(tmp_path / "none")


def test_older_files_come_first(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    for name, line in (("d.jsonl.2", lines[0]), ("d.jsonl.1", lines[1]), ("d.jsonl", lines[2])):
        (tmp_path / name).write_bytes(line)
    assert [entry["step"] for entry in read_log(tmp_path / "d.jsonl").entries] == [1, 2, 3]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data())
def test_whatever_a_field_holds_the_line_is_told_or_skipped(data: st.DataObject, log: Path) -> None:
    entry: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
    name = data.draw(st.sampled_from(sorted(entry)))
    entry[name] = data.draw(anything)
    edited = log.parent / "edited.jsonl"
    edited.write_text(json.dumps(entry) + "\n")
    found = read_log(edited)
    assert len(found.entries) + len(found.faults) == 1
    for one in found.entries:
        assert all(len(line) <= WIDTH for line in account(one))
    summary(found.entries)
