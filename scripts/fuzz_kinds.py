"""What is fuzzed: every kind of file.

A kind has an example, whole files in a folder of its own; the file of it that is broken; and what the verbs
do with it (`fuzz_plays`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import fuzz_mutations as broken
import fuzz_plays as plays
import numpy as np
import pandas
import yaml
from fuzz_mutations import Mutation

from ipa_rl import resources
from ipa_rl.agents.universal import SCORER, UNIVERSAL
from ipa_rl.demo.autoscaler import Chosen
from ipa_rl.demo.cached_work import Kept
from ipa_rl.demo.core import Core
from ipa_rl.demo.overhead import Probed
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Here
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.judge.simulated_cluster import SimulatorKind as Simulator
from ipa_rl.profiler.job import read_job
from ipa_rl.profiler.measurements_file import Book
from ipa_rl.profiler.replica import Start
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.progress import Silent
from ipa_rl.result_files import write_json
from ipa_rl.sidecar.assembly import assemble
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.settings import read_settings
from ipa_rl.training.checkpoints import Checkpoint, write_log
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload

AGENT = resources.folder("agents") / "video"
FITTED = resources.folder("workloads") / "twitter" / "fitted"
BENCHMARKS = Path(__file__).parent.parent / "tests" / "benchmarks"

Example = Callable[[Path], None]
"""Writes whole files into a folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of file. ``file``: the one of the example's that is broken; ``mutations``: how.

    ``weight``: its share of the inputs, less where playing one takes long.
    """

    file: str
    example: Example
    play: Callable[[Path], None]
    mutations: tuple[Mutation, ...]
    weight: float = 1.0


def texts(**files: str) -> Example:
    """Files of these texts; two underscores in a name stand for the dot of its ending."""

    def write(folder: Path) -> None:
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")

    return write


def shipped(*paths: Path) -> Example:
    """Copies of files that ship."""

    def write(folder: Path) -> None:
        for path in paths:
            shutil.copy(path, folder / path.name)

    return write


def small(folder: Path) -> None:
    """A small environment with its pipeline: two stages of two variants, one of them on a device as well."""
    place = folder / "pipeline"
    place.mkdir()
    stages = []
    for name in ("detect", "classify"):
        rows = [",".join(COLUMNS)]
        for v, variant in enumerate(("light", "heavy", "heavy@l4")):
            for batch in (1, 2, 4):
                s = 0.02 * (v + 1) * (1 + batch) / 2
                rows.append(f"{variant},1,{batch},inf,{s:g},{1.5 * s:g},{batch / s:g},measured,,made up,")
        (place / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        placements = [{"units": 2}, {"resource": "l4", "start_up_s": 30}]
        variants = [
            {"name": "light", "accuracy": 0.5, "start_up_s": 9, "base_cores": 1},
            {"name": "heavy", "accuracy": 0.7, "start_up_s": 9, "placements": placements},
        ]
        stages.append({"name": name, "stage_sla_s": 3.0, "variants": variants})
    described = {"threshold_rps": 4, "batches": [1, 2, 4], "stages": stages}
    (place / "pipeline.yaml").write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    environment = {
        "pipeline": "pipeline",
        "sla_s": 5.0,
        "weights": {"alpha": 20, "beta": 1, "delta": 1e-6},
        "limits": {"max_replicas": 50, "drop_limit_s": 10},
        "resources": {"l4": {"price": 3, "limit": 40}, "cores": {"limit": 200}},
        "workload": {"load": "poisson", "episode_s": 60},
        "baselines": {
            "fa2_low": ["light", "light"],
            "fa2_high": ["heavy", "heavy"],
            "rim_replicas": [3, 3],
        },
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")


def run(folder: Path) -> None:
    """A short comparison."""
    window = replace(plays.WINDOW, arrivals=plays.WINDOW.arrivals[: HISTORY_STEPS + 120])
    setup = Setup("video", None, Simulator.fluid, only=("fa2-low", "hpa"))
    compare(Experiment("short", setup, trials([Scenario(window)], 2)), folder / "run", Here(), Silent())


def decisions(folder: Path) -> None:
    """The decision log of a rehearsal, and what it remembers."""
    (folder / "sidecar.yaml").write_text(REHEARSAL, encoding="utf-8")
    assembled = assemble(read_settings(folder / "sidecar.yaml"))
    with assembled.closing:
        for _ in range(5):
            assembled.sidecar.attempt()


def orders(folder: Path) -> None:
    """An order."""
    Orders(folder / "order.json").give(Wish.pause, "Ada")


def workload(folder: Path) -> None:
    """Two hours of counts by minute, with a dispersion for each."""
    said = {
        "title": "mine", "resolution_s": 60, "start": "2024-05-01T00:00:00", "time_zone": "Europe/Berlin",
        "gaps": [[600, 660]], "windows": {"rush": [[1200, 1800], [2400, 3000]]}, "level_rps": 1.5,
        "split": {"train": [0, 4800], "validation": [4800, 6000], "test": [6000, 7200]},
    }  # fmt: skip
    counts = np.random.default_rng(0).poisson(90, 120)
    (folder / "mine").mkdir()
    save_workload(
        folder / "mine", WorkloadModel.model_validate(said), Recorded(counts, None, np.full(120, 2.0))
    )


def requests(name: str) -> Example:
    """Requests in a file of that name: a time each, and how long each was."""

    def write(folder: Path) -> None:
        rng = np.random.default_rng(0)
        times_s = 1_714_650_000 + np.cumsum(rng.exponential(0.5, 400))
        rows = pandas.DataFrame({"time": times_s, "tokens": rng.poisson(300, 400), "model": "a"})
        match name.rpartition(".")[2]:
            case "csv":
                rows.assign(time=pandas.to_datetime(times_s, unit="s")).to_csv(folder / name, index=False)
            case "jsonl":
                rows.to_json(folder / name, orient="records", lines=True)
            case "parquet":
                rows.to_parquet(folder / name)
            case _:
                np.savez(folder / name, time=times_s, tokens=rows["tokens"].to_numpy())

    return write


def checkpoints(folder: Path) -> None:
    """The log of a training run."""
    write_log(
        [Checkpoint(k, -2.0 + k / 10, 34.0, 2.0, 0.001, 9.0) for k in range(5)], folder / "checkpoints.json"
    )


def card(folder: Path) -> None:
    """What training and fitting leave for the card."""
    figures = {"utility": -1.5, "pas_x100": 34.0, "cores": 2.0, "violations": 0.001}
    checkpoints = [{"step": 100 * k, "wall_s": 9.0 * k, **figures} for k in range(5)]
    seed = {"seed": 0, "step": 100, "passed_s": 9.0, "draws": 5, "overruns": ["zero load"], "shipped": True}
    fitted = {"states": 100, "windows": 10, "gain": 0.5, "gain_95": [0.25, 0.75], "took_s": 60.0}
    rivals = {"rival": {"name": "fa2-low", **figures}, "program": figures}
    write_json({**rivals, "chosen_step": 100, "checkpoints": checkpoints}, folder / "training.json")
    write_json([{**seed, **figures}], folder / "seeds.json")
    write_json({**fitted, "before": figures, "after": figures}, folder / "fine-tuning.json")


def demo(folder: Path) -> None:
    """What the demonstration keeps."""
    kept = Kept(folder, {})
    kept.begin()
    kept.done()
    write_json(asdict(Core(0.1, {"detect": {"a": [0.1, 0.2]}})), folder / "core.json")
    write_json(asdict(Chosen(("a", "b"), 0.7, 30.0, -1.0)), folder / "chosen.json")
    write_json(asdict(Probed(5.0, 0.1, (0.1, 0.2), 30.0, 20.0)), folder / "probed.json")


def book(folder: Path) -> None:
    """A cell and a start of a job."""
    texts(job__yaml=JOB)(folder)
    kept = Book(folder / "measured.jsonl", read_job(folder / "job.yaml"))
    kept.add_start(Start("classify", "small", 1, 1.0, 0.5, 100.0))


REHEARSAL = """\
environment: video
agent: video
cluster: {rehearsal: {window: fluctuating, speed: 1000}}
load: {url: "http://127.0.0.1:1", counter: 'requests_total{job="router"}', scrape_interval_s: 5}
interval_s: 10
mode: shadow
guard: {max_replicas: 20, core_budget: 40, step_replicas: 4}
missing_metrics: {after_s: 60, behaviour: static, replicas: {crop: 2, classification: 2}}
leader_election: false
telemetry: {host: 127.0.0.1, port: 0}
decision_log: {path: decisions.jsonl, size_mb: 1}
state: state.json
promotion: {by: 0.1}
demotion: {}
"""

DESCRIPTION = """\
environment: video
namespace: video
stages:
  crop: &stage
    kind: Deployment
    name: video-crop
    container: server
    variant: {env: IPA_VARIANT, delay_s: {yolov5n: 10, yolov5s: 12}}
    batch: {class: hot, put: "http://{ip}:8080/batch/{value}", get: "http://{ip}:8080/batch"}
    cores: {manage: false}
    replicas: {mode: write, delay_s: 9}
  classification:
    <<: *stage
    name: video-classification
    variant: {field: "spec.template.spec.containers[name=a].image", seen: "image", values: {}}
"""

KNOBS = """\
variant: {env: IPA_VARIANT}
batch: {class: hot, put: "http://{ip}:8080/batch/{value}", get: "http://{ip}:8080/batch"}
cores: {manage: false}
replicas: {mode: publish}
"""

JOB = """\
source: made up
threshold_rps: 4
batches: [1, 2, 4]
cores: [1, 2]
measuring: {precision: 0.05, starts: 2}
stages:
- name: classify
  stage_sla_s: 0.5
  target:
    http:
      command: [python, serve.py, --model, "{variant}"]
      ready: "http://127.0.0.1:{port}/healthz"
      url: "http://127.0.0.1:{port}/predict"
      json: {instances: [[0.1, 0.2, 0.3]]}
      items: instances
      answers: predictions
  variants:
  - {name: small, accuracy: 0.62}
  - {name: large, accuracy: 0.71, base_cores: 2}
- name: answer
  stage_sla_s: 1.5
  resource: l4
  units: [1, 2]
  target:
    v2:
      url: http://127.0.0.1:8000
      model: "{variant}"
      inputs: [{name: x, datatype: FP32, shape: [3, 8]}, {name: y, datatype: BYTES, shape: [1], data: [a]}]
  variants: [{name: tiny, accuracy: 0.5, start_up_s: 9}]
"""

YAML = (broken.in_yaml, broken.in_yaml, broken.in_yaml, broken.in_lines, broken.in_bytes)
JSON = (broken.in_json, broken.in_json, broken.in_bytes)
ARRAYS = (broken.in_arrays, broken.in_arrays, broken.in_bytes)

KINDS: dict[str, Kind] = {
    "environment": Kind("mine.yaml", small, plays.of_environment, YAML),
    "pipeline": Kind("pipeline/pipeline.yaml", small, plays.of_pipeline, YAML, 0.5),
    "profile": Kind(
        "pipeline/detect.csv", small, plays.of_pipeline, (broken.in_csv, broken.in_csv, broken.in_bytes), 0.5
    ),
    "hyperparameters": Kind(
        "hyperparameters.yaml", shipped(AGENT / "hyperparameters.yaml"), plays.of_hyperparameters, YAML
    ),
    "job": Kind("job.yaml", texts(job__yaml=JOB), plays.of_job, YAML),
    "benchmark-table": Kind(
        "model_analyzer.csv",
        shipped(BENCHMARKS / "model_analyzer.csv"),
        plays.of_benchmark_table,
        (broken.in_csv, broken.in_bytes),
    ),
    "benchmark-report": Kind(
        "guidellm.json", shipped(BENCHMARKS / "guidellm.json"), plays.of_benchmark_report, JSON
    ),
    "book": Kind("measured.jsonl", book, plays.of_book, (broken.in_json_lines, broken.in_bytes)),
    "sidecar": Kind("sidecar.yaml", texts(sidecar__yaml=REHEARSAL), plays.of_sidecar, YAML, 0.5),
    "description": Kind("pipeline.yaml", texts(pipeline__yaml=DESCRIPTION), plays.of_description, YAML),
    "annotation": Kind("knobs.yaml", texts(knobs__yaml=KNOBS), plays.of_annotation, YAML),
    "policy": Kind("policy.npz", plays.write_policy, plays.of_policy, ARRAYS),
    "scorer": Kind(SCORER, shipped(AGENT.parent / UNIVERSAL / SCORER), plays.of_scorer, ARRAYS),
    "model": Kind("model.npz", plays.write_model, plays.of_model, ARRAYS, 0.5),
    "lstm": Kind("lstm-1s.npz", shipped(FITTED / "lstm-1s.npz"), plays.of_lstm, ARRAYS),
    "quantiles": Kind("quantiles-1s.npz", shipped(FITTED / "quantiles-1s.npz"), plays.of_quantiles, ARRAYS),
    "run": Kind("run/run.json", run, plays.of_run, JSON, 0.2),
    "result": Kind("run/jobs/0.npz", run, plays.of_run, ARRAYS, 0.2),
    "opponents": Kind("opponents.json", shipped(AGENT / "opponents.json"), plays.of_opponents, JSON, 0.5),
    "decisions": Kind(
        "decisions.jsonl", decisions, plays.of_decision_log, (broken.in_json_lines, broken.in_bytes)
    ),
    "state": Kind("state.json", decisions, plays.of_state, JSON, 0.5),
    "order": Kind("order.json", orders, plays.of_order, JSON, 0.5),
    "workload": Kind("mine/workload.yaml", workload, plays.of_workload, YAML),
    "recorded": Kind("mine/recorded.npz", workload, plays.of_workload, ARRAYS),
    "requests-csv": Kind(
        "requests.csv",
        requests("requests.csv"),
        plays.of_requests,
        (broken.in_csv, broken.in_lines, broken.in_bytes),
    ),
    "requests-json": Kind(
        "requests.jsonl",
        requests("requests.jsonl"),
        plays.of_requests,
        (broken.in_json_lines, broken.in_lines, broken.in_bytes),
    ),
    "requests-npz": Kind("requests.npz", requests("requests.npz"), plays.of_requests, ARRAYS),
    "requests-parquet": Kind(
        "requests.parquet", requests("requests.parquet"), plays.of_requests, (broken.in_bytes,), 0.5
    ),
    "checkpoints": Kind("checkpoints.json", checkpoints, plays.of_checkpoints, JSON),
    "card": Kind("training.json", card, plays.of_card, JSON),
    "card-fitted": Kind("fine-tuning.json", card, plays.of_card, JSON),
    "demo-core": Kind("core.json", demo, plays.of_demo, JSON, 0.5),
    "demo-chosen": Kind("chosen.json", demo, plays.of_demo, JSON, 0.5),
    "demo-probed": Kind("probed.json", demo, plays.of_demo, JSON, 0.5),
    "demo-kept": Kind("kept.json", demo, plays.of_demo, JSON, 0.5),
}
