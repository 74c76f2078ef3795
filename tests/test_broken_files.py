"""Files that were cut, changed or made up: what reads them says in one line what is wrong, and the fix."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.policy import load_policy
from ipa_rl.agents.universal import SCORER, UNIVERSAL, load_scorer
from ipa_rl.cli.explain import explain
from ipa_rl.demo.autoscaler import Chosen
from ipa_rl.demo.cached_work import AGAIN, Kept
from ipa_rl.documents import load_json
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import compare, read_comparison
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Here
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.profiler.job import ProfilingJob, read_job
from ipa_rl.profiler.measurements_file import Book
from ipa_rl.profiler.replica import Start
from ipa_rl.profiles import check_folder
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.progress import Silent
from ipa_rl.report.card_training import read_beside
from ipa_rl.sidecar.assembly import assemble
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.promotion import load_state
from ipa_rl.sidecar.settings import read_settings
from ipa_rl.training.checkpoints import Checkpoint, read_log, write_log
from ipa_rl.workload.lstm import read_lstm
from ipa_rl.workload.quantiles import read_table
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import load_workload
from tests.pipelines import write_environment
from tests.policies import ppo_folder
from tests.test_files import JOB

VIDEO = load_definition("video")
AGENT = resources.folder("agents") / "video"
DEEP = "[" * 100_000


def changed(source: Path, path: Path, change: Callable[[Any], Any]) -> Path:
    """A JSON file with something else in it."""
    content = json.loads(source.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content) or content), encoding="utf-8")
    return path


def arrays_with(path: Path, source: Path, **others: Any) -> Path:
    """A file of arrays, some of them replaced, or left out where None."""
    with np.load(source) as file:
        arrays = {**dict(file), **others}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "no layers": ({"weight_0": None, "weight_1": None, "weight_2": None}, "lacks the array weight_0"),
    "a layer that does not follow": ({"weight_1": np.zeros((16, 15), np.float32)}, "the array weight_1 is"),
    "a bias of another layer": ({"bias_0": np.zeros(15, np.float32)}, "the array bias_0 is"),
    "doubles": ({"weight_0": np.zeros((16, 108))}, "the array weight_0 is float64"),
    "complex numbers": ({"bias_0": np.zeros(16, np.complex64)}, "is not a readable policy"),
    "no choices": ({"choices": None}, "lacks the array choices"),
    "numbers as choices": ({"choices": np.zeros(18)}, "the array choices is"),
    "a scalar for the sizes": ({"sizes": np.array(6)}, "the array sizes is"),
    "other sizes": ({"sizes": np.array([1, 1, 1, 1, 1, 47])}, "has 108 inputs and choices"),
    "sizes that do not sum": ({"sizes": np.array([1, 2])}, "has 108 inputs and choices"),
    "half a coverage": ({"coverage_limit": None}, "lacks the array coverage_limit"),
    "a vector for the limit": ({"coverage_limit": np.zeros(2)}, "the array coverage_limit is"),
    "weights that are no numbers": (
        {"bias_0": np.full(16, np.nan, np.float32)}, "bias_0: holds numbers that are not finite",
    ),
    "an endless limit": ({"coverage_limit": np.array(np.inf)}, "coverage_limit: holds numbers"),
}  # fmt: skip


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_of_other_arrays_is_told(kind: str, tmp_path: Path) -> None:
    others, told = POLICIES[kind]
    path = ppo_folder(tmp_path) / "policy.npz"
    arrays_with(path, path, **others)
    with pytest.raises(InputError, match=told):
        load_policy(path, VIDEO)


@pytest.mark.parametrize("cut", [0, 3, 100, 5000, -1, -60])
def test_a_file_of_arrays_that_is_cut_off_is_told(cut: int, tmp_path: Path) -> None:
    fitted = resources.folder("workloads") / "twitter" / "fitted"
    readers: dict[Path, Callable[[Path], object]] = {
        ppo_folder(tmp_path / "agent") / "policy.npz": lambda path: load_policy(path, VIDEO),
        resources.folder("agents") / UNIVERSAL / SCORER: load_scorer,
        fitted / "lstm-1s.npz": partial(read_lstm, step_s=1),
        fitted / "quantiles-1s.npz": read_table,
    }
    for source, read in readers.items():
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes()[:cut])
        with pytest.raises(InputError, match="is not a readable"):
            read(path)


def test_forecasters_that_hold_no_numbers_are_told(tmp_path: Path) -> None:
    fitted = resources.folder("workloads") / "twitter" / "fitted"
    table = arrays_with(
        tmp_path / "q.npz", fitted / "quantiles-1s.npz", coefficients=np.full((8, 5, 46), np.nan)
    )
    with pytest.raises(InputError, match="coefficients: holds numbers that are not finite"):
        read_table(table)
    weights = arrays_with(
        tmp_path / "l.npz", fitted / "lstm-1s.npz", **{"output.bias": np.zeros(2, np.float32)}
    )
    with pytest.raises(InputError, match=r"the array output\.bias is float32 \(2,\), not float32 \(1\)"):
        read_lstm(weights, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda file: file["opponents"][0].update(system=1),
            r"opponents\.0\.system: Input should be a valid string, not 1",
        ),
        (lambda file: file["opponents"][1].pop("margin"), r"opponents\.1\.margin: Field required"),
        (lambda file: file["opponents"][0].update(system="other"), r"opponents\.0: 'other' is not a system"),
        (
            lambda file: file["opponents"][0].update(options={"speed": 1}),
            r"opponents\.0: has other options than ip takes",
        ),
        (
            lambda file: file["opponents"][11]["options"].update(target=0),
            r"opponents\.11: target is 0, out of range",
        ),
        (
            lambda file: file["opponents"][14]["options"].update(pays_within_s=-1),
            r"opponents\.14: pays_within_s is -1, out of range",
        ),
        (
            lambda file: file["opponents"][0].update(validation=[1]),
            r"opponents\.0\.validation: is a list of 1, not a mapping",
        ),
        (lambda file: file["opponents"][0].update(validation={"utility": math.nan}), "holds NaN"),
        (lambda file: file["opponents"], "is a list of 20, not a mapping"),
        (lambda file: {"a": file}, "opponents: Field required"),
    ],
)
def test_opponents_of_another_form_are_told(change: Callable[[Any], Any], told: str, tmp_path: Path) -> None:
    path = changed(AGENT / "opponents.json", tmp_path / "opponents.json", change)
    with pytest.raises(InputError, match=rf"opponents\.json: {told}.*; fix: tune again"):
        read_opponents(path)


@pytest.mark.parametrize("text", ["", DEEP, "{}", "5", "null", '"a"', '[{"step": "x"}]', "[1]"])
def test_other_files_that_this_package_writes_are_told_when_they_are_broken(
    text: str, tmp_path: Path
) -> None:
    for name in ("checkpoints.json", "training.json", "chosen.json", "order.json", "state.json", "kept.json"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"checkpoints\.json: .*; fix: "):
        read_log(tmp_path / "checkpoints.json")
    with pytest.raises(InputError, match=r"training\.json: .*; fix: "):
        read_beside(tmp_path, "training.json")
    with pytest.raises(InputError, match=r"chosen\.json: .*; fix: "):
        load_json(tmp_path / "chosen.json", Chosen, AGAIN)
    assert Orders(tmp_path / "order.json").why(Wish.pause)
    assert load_state(tmp_path / "state.json") == {}
    assert Kept(tmp_path, {}).age_s() is None


@pytest.mark.parametrize("text", [DEEP, "5", "[]", "\ud800", '{"cell": 1}', '{"start": {}}'])
def test_lines_of_a_profile_that_were_cut_off_are_measured_again(text: str, tmp_path: Path) -> None:
    job = ProfilingJob.model_validate(JOB)
    path = tmp_path / "measured.jsonl"
    Book(path, job).add_start(Start("a", "b", 1, 1.0, 0.5, 100.0))
    with path.open("ab") as file:
        file.write(text.encode("utf-8", "surrogatepass") + b"\n")
    with suppress(InputError):  # a whole line of another version is told
        assert len(Book(path, job).starts) == 1


def test_a_log_of_checkpoints_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.json"
    write_log([Checkpoint(k, -1.0, 34.0, 2.0, 0.001) for k in range(3)], path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"is not JSON.*; fix: delete the folder, and train again"):
        read_log(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    window = load_workload("twitter").named_window("bursty", HISTORY_STEPS)
    short = Scenario(replace(window, arrivals=window.arrivals[: HISTORY_STEPS + 60]))
    setup = Setup("video", None, SimulatorKind.fluid, only=("fa2-low", "hpa"))
    compare(Experiment("short", setup, trials([short], 2)), folder, Here(), Silent())
    return folder


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("seeds", 10**9, "has the results of 2 of 1000000000 jobs"),
        ("seeds", 0, "seeds: Input should be greater than or equal to 1"),
        ("seeds", "many", "seeds: Input should be a valid integer"),
        ("scenarios", [], "scenarios: is a list of 0"),
        ("scenarios", ["a"] * 50_000, "has the results of 2 of 100000 jobs"),
        ("controllers", ["one"], "is not of 1 controllers"),
        ("kind", "other", "kind: Input should be"),
        ("preference", [1], "preference"),
        ("environment", None, "environment: Input should be a valid string"),
        ("environment", "x" * 5000, "no such file or name"),
        ("agent", "x" * 5000, "holds no policy.npz, scorer.npz or opponents.json"),
        ("finished", 1, "finished"),
        ("finished", False, "the run has not ended"),
    ],
)
def test_a_run_of_another_form_is_told_at_once(field: str, value: Any, told: str, finished: Path) -> None:
    path = finished / "run.json"
    whole = path.read_bytes()
    changed(path, path, lambda content: content.update({field: value}))
    try:
        with pytest.raises(InputError, match=told) as caught:
            read_comparison(finished)
        assert len(str(caught.value)) < 1500
    finally:
        path.write_bytes(whole)
    assert read_comparison(finished).description.seeds == 2


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"sums": None}, "lacks the array sums"),
        ({"configured": np.zeros((2, 6))}, "lacks the configurations"),
        ({"p99_s": np.zeros((2, 5))}, "the array p99_s is"),
        ({"waiting": np.full((2, 6, 2), np.nan)}, "waiting: holds numbers that are not finite"),
        ({"loads": np.zeros(60)}, "the array loads is"),
        ({"sums": np.full((2, 6, 9), -1.0)}, "sums: holds numbers that are out of range"),
        ({"sums": np.full((2, 6, 9), 1e30)}, "sums: holds numbers that are out of range"),
        ({"configured": np.full((2, 6, 2, 3), 99)}, "holds configurations of another pipeline than video"),
        ({"configured": np.full((2, 6, 2, 3), -1)}, "holds configurations of another pipeline than video"),
    ],
)
def test_a_result_of_other_arrays_is_told(others: dict[str, Any], told: str, finished: Path) -> None:
    path = finished / "jobs" / "1.npz"
    whole = path.read_bytes()
    arrays_with(path, path, **others)
    try:
        with pytest.raises(InputError, match=rf"1\.npz: .*{told}|1\.npz: {told}"):
            read_comparison(finished)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "failed": "\\ud800", "time": "now", "problem": "\\udfff"}',
        DEEP,
        "1" * 5000,
        "x" * 2_000_000,
    ],
    ids=["half pairs", "deep", "digits", "long"],
)
def test_a_decision_log_of_anything_is_printed_or_skipped(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "decisions.jsonl"
    good = '{"version": 1, "failed": "cluster", "time": "now", "problem": "no answer"}'
    path.write_text(f"{good}\n{text}\n{good}\n", encoding="utf-8")
    for as_json in (False, True):
        explain(path, last=0, json=as_json)
        printed = capsys.readouterr().out
        printed.encode()
        assert printed.count("no answer") == 2


@given(*[st.floats(5e-324, 1.7e308)] * 2)
def test_any_preference_is_taken_or_told(alpha: float, beta: float) -> None:
    definition = replace(VIDEO, own_rho=True)
    with suppress(InputError):
        assert math.isfinite(definition.preferring(alpha, beta).preference)


def test_a_cluster_that_lacks_a_field_is_told_by_its_own_place(tmp_path: Path) -> None:
    kubeconfig = {
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig), encoding="utf-8")
    path = tmp_path / "sidecar.yaml"
    path.write_text(
        "environment: video\ncluster: {namespace: docs}\nkubeconfig: kubeconfig\n"
        "load: {url: 'http://127.0.0.1:1', query: up}\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"sidecar\.yaml: cluster\.environment: Field required"):
        assemble(read_settings(path), dry_run=True)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("{v2: {url: u, inputs: [{name: x, datatype: FP32, shape: [1000000, 1000000]}]}}", "1e+12|2e+12"),
        ("{http: {url: u, json: {a: [" + "1, " * 500 + "]}, items: a}}", "would hold"),
    ],
)
def test_a_job_whose_requests_would_fill_the_memory_is_refused(
    target: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "threshold_rps: 4\nbatches: [1, 100000000]\ncores: [1]\nstages:\n- name: a\n  stage_sla_s: 1\n"
        f"  target: {target}\n  variants: [{{name: b, accuracy: 0.5, start_up_s: 1}}]\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=f"a request of a would hold .* values|{told}"):
        read_job(path)


def test_what_is_shipped_is_whole() -> None:
    folders = [resources.folder("agents") / name for name in resources.shipped_names("agents")]
    for folder in folders:
        assert read_opponents(folder / "opponents.json")
        assert read_beside(folder, "window.json")
        read_beside(folder, "fine-tuning.json")
    scorers = list(resources.folder("agents").glob(f"*/{SCORER}"))
    assert scorers
    for path in scorers:
        assert load_scorer(path).layers


FIGURES = {"utility": -1.5, "pas_x100": 34.0, "cores": 2.0, "violations": 0.001}
ON_A_CARD: dict[str, Any] = {
    "training.json": {"chosen_step": 100, "checkpoints": [{"step": 100, "wall_s": 9.0, **FIGURES}]},
    "seeds.json": [
        {"seed": 0, "step": 100, "passed_s": None, "draws": 5, "overruns": [], "shipped": True, **FIGURES}
    ],
    "fine-tuning.json": {
        "states": 100, "windows": 10, "before": FIGURES, "after": FIGURES, "gain": 0.5,
        "gain_95": [0.25, 0.75], "took_s": 60.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ON_A_CARD)
def test_a_number_of_a_card_that_is_written_as_text_is_a_fault(name: str, tmp_path: Path) -> None:
    text = json.dumps(ON_A_CARD[name])
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_beside(tmp_path, name) == ON_A_CARD[name]
    (tmp_path / name).write_text(re.sub(r'"utility": (-?[\d.]+)', r'"utility": "\1"', text), encoding="utf-8")
    with pytest.raises(InputError, match="utility: Input should be a valid number"):
        read_beside(tmp_path, name)


@pytest.mark.parametrize("value", ["1e300", "1e-300", "1e20", "-1", "nan", "1" * 400, "1e-8"])
@pytest.mark.parametrize("column", ["cores", "batch", "load_rps", "latency_mean_s", "throughput_rps"])
def test_a_point_of_extreme_figures_is_a_fault_of_its_line(column: str, value: str, tmp_path: Path) -> None:
    write_environment(tmp_path, {"detect": ["a", "b"]})
    path = tmp_path / "pipeline" / "0.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    cells[COLUMNS.index(column)] = value
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), encoding="utf-8")
    faults = check_folder(tmp_path / "pipeline")
    assert all(str(fault).isprintable() for fault in faults)
    assert 2 in [fault.line for fault in faults]
