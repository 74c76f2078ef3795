"""The parts of the demonstration that need no Ray: what is kept, what is served, what follows from it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ipa_rl.agents.opponents import untuned, write_opponents
from ipa_rl.agents.protocol import Decision, State
from ipa_rl.agents.trained import load_agents
from ipa_rl.demo import autoscaler, core
from ipa_rl.demo.application import Application
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.controllers import Controller, RunningSidecar, write_settings
from ipa_rl.demo.digits.load import DigitRequest
from ipa_rl.demo.local_ray import LocalRay
from ipa_rl.demo.outcomes import Outcomes, by_interval, figures, read_turn
from ipa_rl.demo.overhead import (
    FULL,
    LOADED,
    Added,
    Probed,
    calibrate,
    loaded_times_s,
    mean_latency_s,
    rate_rps,
    throughput_rps,
)
from ipa_rl.demo.prediction import Promise, predict, replay
from ipa_rl.demo.profiling import _adjusted, _rising
from ipa_rl.demo.replicas import Sample
from ipa_rl.demo.serving import REPLICAS, REQUESTS, RUN, Turn, due_times
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.demo.training import validation_of
from ipa_rl.demo.view import WIDTH, Moment, line, panel
from ipa_rl.environment.definition import Definition
from ipa_rl.live.ray_serve.api import ServeApi
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.result_files import write_json
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.open_loop import write_csv
from ipa_rl.workload.trace import PARTS, Part, Window
from tests.digits_environment import digits_definition, write_environment
from tests.processes import is_running
from tests.prometheus_server import wait_until

SMALL = Configuration((StageConfig("conv8x2", 1, 1), StageConfig("conv4x1", 1, 1)))


@pytest.fixture(scope="module")
def definition(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    return digits_definition(tmp_path_factory.mktemp("environment"))


def test_kept_work_holds_for_the_same_key_until_it_is_too_old(tmp_path: Path) -> None:
    time_s = [1000.0]
    kept = Kept(tmp_path / "profile", {"machine": "a"}, 60.0, lambda: time_s[0])
    assert kept.age_s() is None
    kept.begin()
    assert kept.age_s() is None
    kept.done()
    time_s[0] += 30.0
    assert kept.age_s() == 30.0
    assert replace(kept, key={"machine": "b"}).age_s() is None
    time_s[0] += 31.0
    assert kept.age_s() is None


def test_begun_work_goes_on_and_that_of_another_key_is_deleted(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "profile", {"machine": "a"})
    kept.begin()
    (kept.folder / "half").touch()
    kept.begin()
    assert (kept.folder / "half").exists()
    replace(kept, key={"machine": "b"}).begin()
    assert not (kept.folder / "half").exists()


def test_work_that_was_ended_begins_anew(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "served", {}, fresh_s=-1.0)
    kept.begin()
    (kept.folder / "old").touch()
    kept.done()
    assert kept.age_s() is None
    kept.begin()
    assert not (kept.folder / "old").exists()


def test_a_record_that_is_broken_is_no_record(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "profile", {})
    kept.begin()
    kept.done()
    (kept.folder / "kept.json").write_text("{", encoding="utf-8")
    assert kept.age_s() is None


@pytest.mark.slow
def test_a_core_is_measured_once_and_kept_until_all_is_done_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "_WITHIN_S", 0.0)
    settings = DemoSettings(tmp_path)
    measured = core.core_of(settings)
    assert 1e-4 < measured.share < 0.1
    largest = [times[name] for times in measured.work_s.values() for name in list(times)[-1:]]
    assert sum(times[0] for times in largest) / measured.share == pytest.approx(core.LARGEST_S)
    assert all(times[-1] > times[0] for times in largest)
    write_json({"share": 0.5, "work_s": {}}, core.core_file(settings))
    assert core.core_of(settings).share == 0.5
    settings.forget()
    assert core.core_of(settings).share != 0.5


@pytest.mark.parametrize("seconds", [40, 80, 121])
def test_the_window_is_of_the_test_part_and_its_middle_stands_out(tmp_path: Path, seconds: int) -> None:
    window = DemoSettings(tmp_path, seconds).window()
    begin, end = PARTS["test"]
    assert begin <= window.clock_s - window.history_s
    assert window.clock_s + seconds <= end
    loads = window.arrivals[window.history_s :]
    third = seconds // 3
    assert len(loads) == seconds
    around = max(np.median(loads[:third]), np.median(loads[-third:]))
    assert np.median(loads[third:-third]) >= 1.3 * around


def test_opponents_and_agent_are_chosen_on_what_resembles_the_window_and_never_on_it(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path)
    scale = digits_definition(tmp_path).workload.scale
    window, validation = settings.window(), validation_of(settings).windows()
    assert window.name.startswith("test ")
    assert len(validation) == settings.effort.validation_windows
    assert all(one.name.startswith("validation ") for one in validation)
    assert {len(one.arrivals) for one in validation} == {len(window.arrivals)}
    for one in (window, *validation):
        part: Part = "test" if one is window else "validation"
        (recorded,) = (found for found in eventful(part, settings.seconds, 16) if found.name == one.name)
        as_recorded = one is window  # what is served; those to choose by follow the environment's scale
        assert one.arrivals.sum() == int((1.0 if as_recorded else scale) * recorded.arrivals.sum())


def test_every_controller_meets_the_same_requests_and_every_run_others() -> None:
    window = eventful("test", 40, 1)[0]
    assert np.array_equal(due_times(window, 1), due_times(window, 1))
    assert not np.array_equal(due_times(window, 1), due_times(window, 2))
    counts = np.bincount(due_times(window, 1).astype(int), minlength=40)
    assert np.array_equal(counts, window.arrivals[window.history_s :])


@given(st.floats(0.01, 2.0), st.integers(1, 8), st.floats(1.0, 2.0), st.floats(0.0, 0.5))
def test_what_ray_serve_adds_lengthens_every_batch_and_takes_from_throughput(
    service_s: float, batch: int, slowdown: float, extra_s: float
) -> None:
    row = {
        "batch": str(batch),
        "latency_mean_s": str(service_s),
        "latency_p99_s": str(2 * service_s),
        "throughput_rps": str(batch / service_s),
        "note": "",
    }
    found = _adjusted(row, Added(slowdown, extra_s))
    longer_s = slowdown * service_s + extra_s
    assert float(found["latency_mean_s"]) == pytest.approx(longer_s, rel=1e-4)
    assert float(found["latency_p99_s"]) == pytest.approx(longer_s + slowdown * service_s, rel=1e-4)
    assert float(found["throughput_rps"]) == pytest.approx(batch / longer_s, rel=1e-4)


@given(st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(1.0, 3.0)), min_size=1, max_size=4))
def test_latencies_of_a_disturbed_machine_do_not_fall_with_the_batch(read: list[tuple[float, float]]) -> None:
    rows = [
        {
            "batch": str(2**k),
            "latency_mean_s": str(mean_s),
            "latency_p99_s": str(tail * mean_s),
            "throughput_rps": str(2**k / mean_s),
            "note": "",
        }
        for k, (mean_s, tail) in enumerate(read)
    ]
    found = _rising(rows)
    for name in ("latency_mean_s", "latency_p99_s"):
        values = [float(row[name]) for row in found]
        assert values == sorted(values)
        assert values[0] == float(rows[0][name])
    for row in found:
        assert float(row["latency_p99_s"]) >= float(row["latency_mean_s"])
        assert float(row["throughput_rps"]) * float(row["latency_mean_s"]) <= int(row["batch"]) * 1.001


@pytest.mark.parametrize(("slowdown", "batch_ms"), [(1.0, 0), (1.0, 60), (1.05, 10), (1.2, 35)])
def test_what_ray_serve_adds_is_found_from_a_loaded_and_a_full_pipeline(
    definition: Definition, slowdown: float, batch_ms: int
) -> None:
    alone, added = definition.pipeline, Added(slowdown, batch_ms / 1000)
    slower = added.to(alone)
    loaded_s = [mean_latency_s(slower, one, loaded_times_s(throughput_rps(alone, one))) for one in LOADED]
    found = calibrate(alone, Probed(3.0, 0.5, tuple(loaded_s), throughput_rps(slower, FULL), 1.0))
    assert found.slowdown == pytest.approx(slowdown, abs=0.02)
    assert found.batch_s == pytest.approx(added.batch_s, abs=0.0051)


@given(st.integers(1, 8), st.integers(2, 30), st.floats(0.1, 2.0), st.floats(0.0, 10.0))
def test_a_rate_does_not_depend_on_where_between_batches_it_is_measured(
    batch: int, batches: int, every_s: float, from_s: float
) -> None:
    ended_s = [from_s + k * every_s + 0.001 * i for k in range(batches) for i in range(batch)]
    assert rate_rps(ended_s) == pytest.approx(batch / every_s, rel=1e-3)


def test_a_rate_needs_answers_that_come_after_one_another() -> None:
    for ended_s in ([], [1.0], [1.0, 1.001]):
        with pytest.raises(ValueError, match="together"):
            rate_rps(ended_s)


def test_a_pipeline_faster_than_its_models_alone_has_neither_slowdown_nor_overhead(
    definition: Definition,
) -> None:
    probed = Probed(3.0, 0.5, (0.001,) * len(LOADED), 1e6, 1.0)
    assert calibrate(definition.pipeline, probed) == Added(1.0, 0.0)


@given(st.floats(0.0, 1e4), st.floats(0.0, 1e3))
def test_the_window_begins_with_a_step_of_the_controller(began_s: float, later_s: float) -> None:
    sidecar = RunningSidecar(None, Path(), began_s)  # type: ignore[arg-type]
    tick_s = sidecar.tick_after(began_s + later_s)
    assert began_s + later_s - 1e-6 <= tick_s < began_s + later_s + 5.0 + 1e-6
    assert (tick_s - began_s) / 5.0 == pytest.approx(round((tick_s - began_s) / 5.0))


def test_requests_without_an_answer_violate_and_have_no_latency(definition: Definition) -> None:
    outcomes = Outcomes(
        due_s=np.array([0.0, 1.0, 11.0, 12.0]),
        latency_s=np.array([0.5, 9.0, np.nan, 0.7]),
        right=np.array([1.0, 0.0, np.nan, 1.0]),
        cores=np.array([2.0, 4.0]),
        batches=np.array([2.0, 2.0]),
        replicas=np.ones((2, 2)),
    )
    found = figures(definition, outcomes)
    assert (found["violated_pct"], found["cores"], found["served"]) == (50.0, 3.0, 3.0)
    assert found["pas_x100"] == pytest.approx(200 / 3)
    assert found["mean_s"] == pytest.approx((0.5 + 9.0 + 0.7) / 3)
    weights = definition.weights
    expected = weights.alpha * 2 / 3 - weights.beta * 3.0 - weights.delta * 2.0 - weights.rho * 0.5
    assert found["utility"] == pytest.approx(expected)
    steps = by_interval(definition, outcomes)
    assert steps["violated_pct"].tolist() == [50.0, 50.0]
    assert steps["mean_s"].tolist() == pytest.approx([4.75, 0.7])


def test_a_turn_is_read_back_as_it_was_served(definition: Definition, tmp_path: Path) -> None:
    turn = Turn(Controller.autoscaler, 1, tmp_path)
    served = DigitRequest(0.5, 0.5, 1.0, "served", 3, 3, "conv8x2", "conv4x1")
    wrong, dropped = replace(served, due_s=12.0, digit=4), replace(served, outcome="dropped", digit=None)
    write_csv(tmp_path / REQUESTS, DigitRequest, [served, wrong, dropped])
    samples = [
        Sample(100.0 + t, stage, variant, 1, 1 + (t >= 11), 1, 1 + (t >= 11))
        for t in range(20)
        for stage, variant in (("detect", "conv8x2"), ("classify", "conv4x1"))
    ]
    write_csv(tmp_path / REPLICAS, Sample, samples)
    (tmp_path / RUN).write_text(json.dumps({"begin_s": 100.0, "seed": 1}), encoding="utf-8")
    found = read_turn(definition, turn, 20)
    assert found.start == SMALL
    assert [one.stages[0].replicas for one in found.configurations] == [1, 2]
    assert found.outcomes.cores.tolist() == pytest.approx([2.0, 3.8])
    assert found.outcomes.replicas.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (found.dropped, found.failed) == (1, 0)
    assert figures(definition, found.outcomes)["pas_x100"] == 50.0
    assert np.isnan(found.planned_rps).all()


def test_recorded_decisions_are_replayed_on_the_same_requests(definition: Definition) -> None:
    arrivals = np.full(120 + 30, 5, dtype=np.int64)
    due_s = due_times(Window("steady", arrivals, 120), 0)
    window = Window("steady", arrivals, 120, due_s)
    two = Configuration(tuple(replace(one, replicas=2) for one in SMALL.stages))
    outcomes = replay(definition, [SMALL, two], window, SMALL, seed=0)
    assert np.array_equal(outcomes.due_s, due_s)
    assert outcomes.served().all()
    assert outcomes.cores.tolist() == [2.0, 4.0, 4.0]
    accuracies = [
        stage.variant(one.variant).accuracy
        for stage, one in zip(definition.pipeline.stages, SMALL.stages, strict=True)
    ]
    assert outcomes.right == pytest.approx(np.full(len(due_s), np.prod(accuracies)))


class Follows:
    """As many replicas as requests came in the last second, at most two."""

    name = "follows"

    def decide(self, state: State) -> Decision:
        last_rps = float(state.history_rps[-1])
        stages = tuple(replace(one, replicas=max(min(round(last_rps), 2), 1)) for one in SMALL.stages)
        return Decision(Configuration(stages), last_rps)


def test_predictions_are_those_of_a_controller_that_sees_what_it_saw(definition: Definition) -> None:
    window = Window("steady", np.full(120 + 40, 1, dtype=np.int64), 120)
    seen = [np.array([0.0, load]) for load in (1.0, 2.0, 1.0)]
    outcomes = predict(definition, Follows(), window, SMALL, 0, seen)
    assert outcomes.cores.tolist() == pytest.approx([2.0, 4.0, 2.0, 2.0])


def test_predictions_are_those_of_a_controller_behind_the_sidecars_guard(definition: Definition) -> None:
    load = 150
    assert throughput_rps(definition.pipeline, SMALL) < load
    window = Window("steady", np.full(120 + 30, load, dtype=np.int64), 120)
    seen = [np.append(np.full(119, float(load)), 1.0)] * 3
    outcomes = predict(definition, Follows(), window, SMALL, 0, seen)
    assert outcomes.cores.min() >= 4.0


def test_a_promise_holds_within_its_bound() -> None:
    assert Promise("mean", 1.0, 1.1, 15.0, is_relative=True).holds
    assert not Promise("mean", 1.0, 1.2, 15.0, is_relative=True).holds
    assert Promise("violations", 1.0, 2.5, 2.0, is_relative=False).holds


def test_ray_serves_autoscaler_keeps_the_variants_that_were_chosen(definition: Definition) -> None:
    chosen = autoscaler.Chosen(("conv12x3", "conv8x2"), 0.7, 30.0, 0.0)
    base = autoscaler.base(definition, chosen)
    assert tuple(one.variant for one in base.stages) == chosen.variants
    settings = autoscaler.settings_of(definition, chosen)
    for stage, one in zip(("detect", "classify"), base.stages, strict=True):
        assert settings[stage]["target_ongoing_requests"] == pytest.approx(0.7 * one.batch)
        assert settings[stage]["max_replicas"] == definition.problem.max_replicas


def test_the_program_alone_takes_the_tuned_forecaster(definition: Definition, tmp_path: Path) -> None:
    rest = {"pas_x100": 30.0, "cores": 3.0, "violations": 0.0}
    tuned = [
        {"system": "ip", "forecaster": "last", "margin": 0.3, "validation": {"utility": 2.0, **rest}},
        {
            "system": "ip",
            "forecaster": "window-max:10",
            "margin": 0.0,
            "validation": {"utility": 1.0, **rest},
        },
    ]
    path = tmp_path / "opponents.json"
    path.write_text(json.dumps(tuned), encoding="utf-8")
    (agent,), program = load_agents(definition, "program", path)
    assert agent is program
    assert (program.name, program.margin) == ("ip last", 0.3)


def now(**changes: object) -> Moment:
    """A turn in the middle."""
    arrivals = np.array([5, 9, 20, 31, 20, 8] * 5)
    stages = [Sample(0.0, "detect", "conv16x4", 4, 3, 2, 3), Sample(0.0, "classify", "conv4x1", 8, 1, 1, 1)]
    asked = DigitRequest(11.0, 11.0, 0.4, "served", 3, 3, "conv16x4", "conv4x1")
    late = replace(asked, latency_s=3.0, digit=5)
    known = Moment("agent", 1, 3, arrivals, 2.5, 13.2, 24.0, stages, (asked, late))
    return replace(known, **changes)  # type: ignore[arg-type]


def test_a_line_tells_load_plan_configuration_latency_accuracy_and_cost() -> None:
    told = line(now())
    for part in ("agent 13 of 30 s", "planned 24.0", "conv16x4 b4 x2 | conv4x1 b8 x1", "PAS 50.0", "cores 4"):
        assert part in told
    assert "violated 50.0 %" in told
    assert "begins in 5 s" in line(now(passed_s=-5.0))
    assert "planned -" in line(now(planned_rps=None))
    assert "no answer yet" in line(now(told=()))


def test_the_panel_fits_eighty_columns() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(panel(now(arrivals=np.full(300, 9), passed_s=280.0)))
    lines = console.export_text().splitlines()
    assert {len(one.rstrip()) for one in lines} == {WIDTH}
    assert any("■■□ 2 ready, 1 starting" in one for one in lines)


def test_the_settings_of_the_sidecar_name_the_tuned_opponents(tmp_path: Path) -> None:
    from ipa_rl.sidecar.settings import read_settings
    from tests.digits_environment import write_environment

    content = {"environment": write_environment(tmp_path).name, "agent": "program", "opponents": "o.json"}
    path = tmp_path / "sidecar.yaml"
    path.write_text(yaml.safe_dump({**content, "cluster": {"ray_serve": {}}}), encoding="utf-8")
    assert read_settings(path).opponents == tmp_path / "o.json"


@pytest.mark.slow
def test_a_controller_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """However that ends: here it is killed, with nobody left to tell the controller."""
    config = _controller_without_ray(tmp_path)
    starts = "from pathlib import Path; from ipa_rl.demo.controllers import sidecar; import sys, time\n"
    starts += "with sidecar(Path(sys.argv[1])) as one: print(one.process.pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", starts, str(config)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_running(pid)
        starter.kill()
    wait_until(lambda: not is_running(pid), "the controller has ended", 30.0)


def _controller_without_ray(folder: Path) -> Path:
    """Settings of the integer program for a Ray Serve that nobody started: it asks, and waits."""
    settings = DemoSettings(folder)
    write_environment(folder)
    settings.agent.mkdir()
    write_opponents(untuned(), settings.agent / "opponents.json")
    (folder / "token").write_text("secret", encoding="utf-8")
    nowhere = LocalRay("http://127.0.0.1:9", "http://127.0.0.1:9/metrics", folder / "token", folder)
    application = Application(nowhere, ServeApi(nowhere.address, nowhere.token_file), 9, core.Core(0.003, {}))
    return write_settings(settings, application, Controller.program, folder, 0.0)
