"""The decision log as a file: whatever happens to it, and whatever outside texts hold."""

from __future__ import annotations

import json
import logging
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ipa_rl.cli import app
from ipa_rl.live.cluster import ClusterError
from ipa_rl.sidecar.dashboard import Dashboard, about
from ipa_rl.sidecar.decision_log import DecisionLog, loggable
from ipa_rl.sidecar.orders import Orders, Wish
from tests.live import FREE, PROGRAM, VIDEO, Wants, World, stale, two

ODD = "no\ud800 route \x1b[2J\x9b31m \u202e\n at \x07"
PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog(tmp_path / "decisions.jsonl", 10**7, 2)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Nothing is logged: what pytest keeps of a log must be text that workers can send each other."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """No file can grow beyond that size: a write that would is cut off there, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_log_that_is_deleted_or_moved_while_it_is_written_is_begun_anew(
    log: DecisionLog, tmp_path: Path
) -> None:
    path = tmp_path / "decisions.jsonl"
    log.write({"step": 1})
    path.unlink()
    log.write({"step": 2})
    assert lines(path) == [{"step": 2}]
    path.rename(tmp_path / "kept")
    log.write({"step": 3})
    assert (lines(path), lines(tmp_path / "kept")) == ([{"step": 3}], [{"step": 2}])


def test_a_folder_that_is_deleted_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "log" / "decisions.jsonl"
    log = DecisionLog(path, 10**7, 2)
    path.unlink()
    path.parent.rmdir()
    log.write({"step": 1})
    assert lines(path) == [{"step": 1}]


def test_a_line_that_was_cut_off_stays_alone(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st')
    log = DecisionLog(path, 10**7, 2)
    log.write({"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n{"st\n{"step":2}\n'


def test_on_a_full_disk_what_was_written_stays_whole_and_it_is_told_once(
    log: DecisionLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "decisions.jsonl"
    log.write({"step": 1})
    size = path.stat().st_size
    with full_at(size + 5):
        for step in range(2, 6):
            log.write({"step": step})
        assert path.stat().st_size == size
    log.write({"step": 6})
    log.write({"step": 7})
    assert [one["step"] for one in lines(path)] == [1, 6, 7]
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in told] == [
        "the decision log cannot be written",
        "the decision log can be written again",
    ]
    assert vars(caplog.records[1])["lost"] == 4


def test_steps_go_on_where_neither_log_nor_state_nor_an_order_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, state = DecisionLog(tmp_path / "d.jsonl", 10**7, 2), tmp_path / "state.json"
    orders = Orders(tmp_path / "state.order.json")
    world = World(parts={"logs": (log,), "state": state, "orders": orders})
    world.steps(1)
    whole = (state.read_bytes(), (tmp_path / "d.jsonl").read_bytes())
    with full_at(20), caplog.at_level(logging.WARNING):
        world.steps(3)
        assert not orders.give(Wish.pause, "Ada")
        assert orders.why(Wish.pause)
    assert world.sidecar.steps == 4
    assert world.sidecar.failures == 0
    assert (state.read_bytes(), (tmp_path / "d.jsonl").read_bytes()) == whole
    told = [one.getMessage() for one in caplog.records if "written" in one.getMessage()]
    assert len(told) == 2  # one of each
    assert not list(tmp_path.glob("*.partial"))


def test_without_old_files_to_keep_a_new_one_begins_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(path, 100, 0)
    for step in range(50):
        log.write({"step": step})
    assert path.stat().st_size <= 100
    assert lines(path)[-1] == {"step": 49}
    assert [one.name for one in tmp_path.iterdir()] == ["decisions.jsonl"]


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("error", [ClusterError(ODD), ValueError(ODD)], ids=["cluster", "internal"])
def test_odd_texts_of_others_lose_no_step_and_reach_no_terminal(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "decisions.jsonl"
    dashboard = Dashboard(about(VIDEO, "ppo", 10.0), Orders(), pressable=False)
    world = World(agents=(Wants(two(3)), PROGRAM), parts={"logs": (DecisionLog(path, 10**7, 2), dashboard)})
    world.cluster.error = error
    world.steps(1)
    world.cluster.error = None
    world.cluster.change = stale(ODD)
    world.steps(1)
    assert len(lines(path)) == 2
    shown = json.loads(dashboard.content())["hour"]
    assert "no\\ud800 route \\x1b[2J\\x9b31m \\u202e" in shown["last"]["load_problem"]
    printed = CliRunner().invoke(app, ["explain", str(path)])
    assert printed.exit_code == 0
    assert all(text.isprintable() for text in printed.output.splitlines())
    assert "no\\ud800 route" in printed.output


def test_a_log_of_elsewhere_is_explained_without_its_control_sequences(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    world = World(parts={"logs": (DecisionLog(path, 10**7, 2),)})
    world.steps(1)
    entry = lines(path)[0]
    entry["why_not"], entry["by"], entry["guard"], entry["time"] = ODD, ODD, [ODD], ODD
    path.write_text(json.dumps(entry))
    printed = CliRunner().invoke(app, ["explain", str(path)])
    assert printed.exit_code == 0
    assert all(text.isprintable() for text in printed.output.splitlines())


@given(json_values)
def test_whatever_an_entry_holds_it_is_one_line_of_json(value: Any) -> None:
    text = json.dumps(loggable({"value": value}), ensure_ascii=False, allow_nan=False)
    assert text.isprintable()
    assert json.loads(text.encode()) == loggable({"value": value})


@given(PLAIN)
def test_texts_that_can_be_printed_are_left_as_they_are(text: str) -> None:
    assert loggable(text) == text


@pytest.mark.parametrize("hours", [-1, 1, -1000])
def test_a_clock_that_is_set_makes_no_variant_wait_longer_than_its_time(tmp_path: Path, hours: int) -> None:
    shift_s, agent = [0.0], Wants(two(3))
    limits = replace(FREE, variant_interval_s=100.0)
    world = World(agents=(agent, PROGRAM))
    world.parts = {
        "limits": limits,
        "state": tmp_path / "state.json",
        "wall": lambda: 1.7e9 + world.time_s + shift_s[0],
    }
    world.sidecar = world.another()
    world.steps(1)
    agent.configuration = two(3, "yolov5s")
    world.steps(2)
    assert world.asked().stages[0].variant == "yolov5s"
    shift_s[0] = 3600.0 * hours
    agent.configuration = two(3)
    world.steps(5)
    assert world.asked().stages[0].variant == "yolov5s"
    world.steps(8)
    assert world.asked().stages[0].variant == "yolov5n"

    agent.configuration = two(3, "yolov5s")  # and across a restart, with the clock set in between
    world.steps(11)
    assert world.asked().stages[0].variant == "yolov5s"
    shift_s[0] = 0.0
    agent.configuration = two(3)
    world.steps(12, world.another())
    assert world.asked().stages[0].variant == "yolov5n"
