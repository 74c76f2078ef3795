"""The sidecar as a process: ticks, signals, logs, probes and metrics."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.sidecar.http_server import AnsweringHandler
from ipa_rl.sidecar.process import JsonLines, Pulse, Stop, Ticks
from ipa_rl.sidecar.promotion import Rule
from ipa_rl.sidecar.telemetry import Metrics, TelemetryServer
from tests.live import PROGRAM, Wants, World, stale, two

ROOT = Path(__file__).parent.parent
SETTINGS = """
environment: video
cluster: {rehearsal: {window: bursty, speed: 50}}
interval_s: 0.2
mode: act
leader_election: false
telemetry: {host: 127.0.0.1, port: 0}
decision_log: {path: decisions.jsonl}
state: state.json
"""


class Clock:
    """Waiting takes exactly as long as it was asked to."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now(self) -> float:
        return self.time_s

    def wait(self, seconds: float) -> bool:
        self.time_s += max(seconds, 0.0)
        return False


@given(st.lists(st.floats(0, 35), max_size=50))
def test_ticks_never_drift_and_late_ones_are_skipped_and_counted(took_s: list[float]) -> None:
    clock = Clock()
    ticks = Ticks(10.0, clock.wait, clock.now)
    for step_s in took_s:
        clock.time_s += step_s
        assert ticks.next()
        assert (clock.time_s - 1000.0) % 10.0 == pytest.approx(0.0, abs=1e-6)
    assert round((clock.time_s - 1000.0) / 10.0) == len(took_s) + ticks.skipped


def test_steps_that_take_as_long_as_the_interval_skip_nothing() -> None:
    clock = Clock()
    ticks = Ticks(10.0, clock.wait, clock.now)
    for _ in range(5):
        clock.time_s += 9.99
        ticks.next()
    assert ticks.skipped == 0


def test_waiting_ends_when_the_end_is_asked_for() -> None:
    stop = Stop()
    assert not stop.wait(0.01)
    stop.request()
    began = time.monotonic()
    assert stop.wait(60.0)
    assert time.monotonic() - began < 30.0


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once() -> None:
    program = (
        "import time; from ipa_rl.sidecar.process import Stop\n"
        "stop = Stop(); stop.listen(); print('ready', flush=True)\n"
        "while True: time.sleep(60)  # a step that hangs"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 128 + signal.SIGTERM
    process.stdout.close()


def test_logs_are_one_json_object_a_line_with_what_was_given_as_extra() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "held: %s", ("stale",), None)
    record.__dict__["step"] = 3
    content = json.loads(JsonLines().format(record))
    assert content["message"] == "held: stale"
    assert (content["level"], content["step"]) == ("warning", 3)
    assert content["time"].endswith("Z")


@pytest.fixture
def watched() -> Iterator[tuple[World, TelemetryServer]]:
    """A world whose steps are told to metrics that are served."""
    metrics, clock = Metrics(), [0.0]
    pulse = Pulse(60.0, now=lambda: clock[0])
    world = World(agents=(Wants(two(3)), PROGRAM), parts={"logs": (metrics,), "pulse": pulse})
    world.clock = clock  # type: ignore[attr-defined]
    server = TelemetryServer("127.0.0.1", 0, metrics, pulse)
    yield world, server
    server.close()


def got(server: TelemetryServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def value(server: TelemetryServer, name: str) -> float:
    lines = [line for line in got(server, "/metrics")[1].splitlines() if line.startswith(f"{name} ")]
    assert len(lines) == 1, name
    return float(lines[0].split()[-1])


def test_it_is_ready_after_the_first_good_step(watched: tuple[World, TelemetryServer]) -> None:
    world, server = watched
    assert got(server, "/readyz")[0] == 503
    assert got(server, "/healthz") == (200, "ok\n")
    world.steps(1)
    assert got(server, "/readyz")[0] == 200
    assert got(server, "/nowhere")[0] == 404


def test_it_is_unhealthy_when_the_loop_is_stuck(
    watched: tuple[World, TelemetryServer],
) -> None:
    world, server = watched
    world.steps(1)
    world.clock[0] = 61.0  # type: ignore[attr-defined]
    assert got(server, "/healthz")[0] == 503
    world.cluster.error = ValueError("even a step that fails is a turn")
    world.steps(1)
    assert got(server, "/healthz")[0] == 200


def test_metrics_say_what_was_seen_decided_and_done(
    watched: tuple[World, TelemetryServer],
) -> None:
    world, server = watched
    world.steps(3)
    assert value(server, "ipa_rl_load_rps") == 10.0
    assert value(server, 'ipa_rl_decisions_total{by="ppo"}') == 3
    assert value(server, 'ipa_rl_desired_replicas{stage="crop"}') == 3
    assert value(server, 'ipa_rl_changes_total{knob="replicas",stage="crop"}') == 1
    assert value(server, "ipa_rl_cost_cores") == 6
    assert value(server, "ipa_rl_leader") == 1
    assert value(server, "ipa_rl_forecast_rps") == 10.0
    assert 0.3 < value(server, "ipa_rl_pas") < 0.4
    assert 0 < value(server, "ipa_rl_sla_slack_seconds") < 7
    assert value(server, "ipa_rl_decide_seconds_count") == 3
    assert value(server, "ipa_rl_apply_seconds_count") == 3
    assert value(server, 'ipa_rl_shadow_cores{controller="present"}') == 6
    assert "process_resident_memory_bytes" in got(server, "/metrics")[1]


def test_fallbacks_are_counted_by_reason(watched: tuple[World, TelemetryServer]) -> None:
    world, server = watched
    world.agents[0].fallback = "unfamiliar"  # type: ignore[attr-defined]
    world.steps(2)
    world.cluster.change = stale()
    world.steps(1)
    assert value(server, 'ipa_rl_fallbacks_total{reason="unfamiliar"}') == 2
    assert value(server, 'ipa_rl_fallbacks_total{reason="stale"}') == 1
    assert value(server, "ipa_rl_load_stale") == 1


def test_who_does_not_act_publishes_no_replicas_that_an_autoscaler_would_follow(
    watched: tuple[World, TelemetryServer],
) -> None:
    world, server = watched
    world.steps(1)
    world.steps(1, world.another(rule=Rule("shadow", "agent", None, None)))
    assert "ipa_rl_desired_replicas{" not in got(server, "/metrics")[1]
    assert value(server, "ipa_rl_acting") == 0


def test_a_client_that_stalls_or_hangs_up_does_no_harm(
    watched: tuple[World, TelemetryServer],
) -> None:
    import socket

    _, server = watched
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert got(server, "/healthz")[0] == 200


def test_clients_that_send_a_byte_now_and_then_take_no_probe_away(
    watched: tuple[World, TelemetryServer],
) -> None:
    import socket

    _, server = watched
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for client in clients:
        with contextlib.suppress(ConnectionError):  # hung up on already
            client.sendall(b"G")
        assert got(server, "/healthz")[0] == 200
    for client in clients:
        client.close()


def test_a_probe_waits_for_the_moment_that_those_who_are_hung_up_on_need(
    watched: tuple[World, TelemetryServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    finish = AnsweringHandler.finish

    def slowly(self: AnsweringHandler) -> None:
        time.sleep(0.3)
        finish(self)

    monkeypatch.setattr(AnsweringHandler, "finish", slowly)
    _, server = watched
    with contextlib.ExitStack() as clients:
        for _ in range(40):
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert got(server, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_said_in_one_line(
    watched: tuple[World, TelemetryServer],
) -> None:
    with pytest.raises(InputError, match=r"telemetry\.port: cannot listen on 127\.0\.0\.1"):
        TelemetryServer("127.0.0.1", watched[1].port, Metrics(), Pulse())


def command(
    *arguments: str, folder: Path, speed: float = 50, more: str = "", environment: str = "video"
) -> subprocess.Popen[str]:
    """``ipa-rl sidecar`` as a process of its own."""
    settings = SETTINGS.replace("speed: 50", f"speed: {speed}").replace("video", environment) + more
    (folder / "sidecar.yaml").write_text(settings, encoding="utf-8")
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.Popen(
        words, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_ends_with_exit_status_0(tmp_path: Path, number: int) -> None:
    process = command(folder=tmp_path)
    log = tmp_path / "decisions.jsonl"
    deadline_s = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines[0]["message"] == "begins"
    assert lines[-1]["message"] == "ends"
    assert lines[-1]["failures"] == 0
    assert log.read_text().endswith("\n")
    assert lines[-1]["steps"] == log.read_text().count("\n")


@pytest.mark.slow
def test_once_makes_one_step(tmp_path: Path) -> None:
    process = command("--once", folder=tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "decisions.jsonl").read_text().count("\n") == 1


@pytest.mark.slow
def test_dry_run_prints_what_would_change_and_writes_nothing(tmp_path: Path) -> None:
    more = "agent: planner\nguard: {change_horizon_s: 0}\n"  # else the first change need not pay yet
    process = command("--dry-run", folder=tmp_path, speed=0.001, more=more, environment="nlp")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    changes = printed.splitlines()
    assert changes
    assert all(re.fullmatch(r"[\w-]+: (variant|batch|replicas) \w+ -> \w+", one) for one in changes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sidecar.yaml"]


@pytest.mark.slow
def test_bad_settings_end_in_one_line_and_exit_status_2(tmp_path: Path) -> None:
    process = command("--once", folder=tmp_path)
    process.communicate(timeout=60)
    (tmp_path / "sidecar.yaml").write_text("environment: video\n")
    words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: sidecar.yaml: cluster: Field required; fix: add the field\n"


WITHOUT_TELEMETRY = """
import sys
from pathlib import Path
from ipa_rl.sidecar.assembly import assemble
from ipa_rl.sidecar.settings import read_settings
assembled = assemble(read_settings(Path("sidecar.yaml")))
with assembled.closing:
    assert assembled.sidecar.attempt() is not None
print("prometheus_client" in sys.modules)
"""


@pytest.mark.slow
def test_without_telemetry_prometheus_client_is_not_needed(tmp_path: Path) -> None:
    settings = SETTINGS.replace("telemetry: {host: 127.0.0.1, port: 0}", "telemetry: false")
    (tmp_path / "sidecar.yaml").write_text(settings)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", WITHOUT_TELEMETRY]
    printed = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=True)
    assert printed.stdout == "False\n"


LEAN = """
import sys
sys.argv = ["ipa-rl", "sidecar", "--config", "sidecar.yaml"]
import kubernetes.client  # a real cluster needs it, a rehearsal does not
from ipa_rl.cli import main
try:
    main()
finally:
    heavy = ["torch", "stable_baselines3", "numba", "pulp", "matplotlib", "ray", "onnxruntime"]
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if line.startswith("Vm"))
    print([name for name in heavy if name in sys.modules], int(status["VmHWM"].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("agent", ["video", "planner", "universal"])
def test_it_holds_under_150_mb_and_imports_nothing_heavy(agent: str, tmp_path: Path) -> None:
    """The real command with the Kubernetes client imported, after 50 steps."""
    settings = SETTINGS.replace("interval_s: 0.2", "interval_s: 0.05") + f"agent: {agent}\n"
    (tmp_path / "sidecar.yaml").write_text(settings)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", LEAN], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE
    )
    log = tmp_path / "decisions.jsonl"
    deadline_s = time.monotonic() + 100
    while not (log.exists() and log.read_text().count("\n") >= 50):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=20)
    heavy, most_kb = printed.rsplit(" ", 1)
    assert heavy == "[]"
    assert int(most_kb) < 150_000
