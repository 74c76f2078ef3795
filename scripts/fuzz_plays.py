"""What the verbs do with a file: each reads one kind of file from a folder, and goes on with what it read."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import typer
from fuzz_entrances import POLICY
from stable_baselines3 import PPO

from ipa_rl.agents.opponents import build, rivals
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.policy import PolicyAgent, load_policy, save_policy
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import State
from ipa_rl.agents.trained import load_agents
from ipa_rl.agents.universal import SCORER, make_universal
from ipa_rl.cli.explain import explain
from ipa_rl.cli.profiles import check as profiles_check
from ipa_rl.cli.solve import solve
from ipa_rl.demo.autoscaler import Chosen
from ipa_rl.demo.cached_work import AGAIN, Kept
from ipa_rl.demo.core import read_core
from ipa_rl.demo.overhead import Probed
from ipa_rl.documents import load_json
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv
from ipa_rl.judge.comparison import read_comparison
from ipa_rl.live.kubernetes.description import assumed, describe, load_description, stage_of_marks
from ipa_rl.live.kubernetes.kinds import KINDS
from ipa_rl.live.prometheus_settings import read_settings as read_load
from ipa_rl.live.ray_serve.settings import read_cluster as read_ray_serve
from ipa_rl.live.rehearsal import rehearsal
from ipa_rl.profiler.endpoints import http_request, v2_request
from ipa_rl.profiler.job import read_job
from ipa_rl.profiler.measurements_file import Book
from ipa_rl.profiles import check_folder, load_pipeline
from ipa_rl.profiles.benchmarks import Selection, Told, import_benchmarks
from ipa_rl.report.card_training import fine_tuning_section, training_section
from ipa_rl.report.page import write_report
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.promotion import Rule, load_state
from ipa_rl.sidecar.settings import read_settings
from ipa_rl.simulation import FluidSimulator, encode
from ipa_rl.training.checkpoints import choose
from ipa_rl.training.checkpoints import read_log as read_checkpoints
from ipa_rl.training.hyperparameters import Hyperparameters, Ppo, load_hyperparameters
from ipa_rl.training.model_file import restore_model, save_model
from ipa_rl.training.ppo import new_model
from ipa_rl.workload.clock import NO_SEASON
from ipa_rl.workload.faults import doubts
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.lstm import read_lstm
from ipa_rl.workload.quantiles import QuantileForecaster, read_table
from ipa_rl.workload.recordings import import_workload
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import PARTS, _load, load_workload

VIDEO = load_definition("video")
PROGRAM = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin=0.1)
WINDOW = load_workload("twitter").named_window("bursty", HISTORY_STEPS)


def _state() -> State:
    simulator = FluidSimulator(VIDEO.problem, VIDEO.timing)
    simulator.reset(0, VIDEO.rows_for(20.0))
    history = WINDOW.arrivals[:HISTORY_STEPS].astype(np.float64)
    return State(history, simulator.fleet[0], np.zeros(2), clock_s=WINDOW.clock_s)


STATE = _state()


def of_environment(folder: Path) -> None:
    """The small environment of the files, solved and stepped."""
    environment = folder / "mine.yaml"
    with suppress(typer.Exit):
        solve(str(environment), load=12.0, sla=None, solver="front", as_released=False, json=False)
    with suppress(typer.Exit):  # too much for it
        solve(str(environment), load=1e4, sla=None, solver="front", as_released=False, json=True)
    definition = load_definition(environment)
    env = IpaEnv(definition)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    definition.preferring(30.0, 0.7)


def of_pipeline(folder: Path) -> None:
    """The pipeline's folder, checked and loaded."""
    with suppress(typer.Exit):
        profiles_check(folder / "pipeline", json=False)
    load_pipeline(folder / "pipeline")


def of_hyperparameters(folder: Path) -> None:
    """Hyperparameters, changed and dumped."""
    found = load_hyperparameters(folder / "hyperparameters.yaml")
    found.changed({"ppo.gamma": 0.9})


def of_job(folder: Path) -> None:
    """A job of the profiler, and the requests that it would send."""
    job = read_job(folder / "job.yaml")
    for stage in job.stages:
        target = stage.target
        if target.http is not None and target.http.body is None:
            http_request(target.http, "http://127.0.0.1", max(job.batches), folder)
        if target.v2 is not None:
            v2_request(target.v2, "http://127.0.0.1", "model", max(job.batches))


def of_benchmark_table(folder: Path) -> None:
    """A benchmark of Triton's Model Analyzer, as a pipeline."""
    _import(folder, "model_analyzer.csv", {})  # it says that it is of a GPU


def of_benchmark_report(folder: Path) -> None:
    """A benchmark of GuideLLM, as a pipeline."""
    _import(folder, "guidellm.json", {"": 4})


def _import(folder: Path, name: str, cores: dict[str, int]) -> None:
    shutil.rmtree(folder / "imported", ignore_errors=True)
    told = Told(accuracy={"": 0.7}, start_up_s={"": 20.0}, cores=cores)
    import_benchmarks([folder / name], folder / "imported", "model", told, Selection())
    check_folder(folder / "imported")


def of_book(folder: Path) -> None:
    """What a job measured so far."""
    Book(folder / "measured.jsonl", read_job(folder / "job.yaml"))


def of_sidecar(folder: Path) -> None:
    """Settings of the sidecar, with everything that is read before it begins."""
    settings = read_settings(folder / "sidecar.yaml", dashboard=True)
    load_agents(settings.definition, settings.agent, settings.opponents)
    cluster = settings.cluster
    if isinstance(cluster, Path):
        load_description(cluster, settings.definition)
    elif "rehearsal" in cluster:
        rehearsal(settings.definition, cluster["rehearsal"], settings.file)
    elif "ray_serve" in cluster:
        read_ray_serve(cluster["ray_serve"], settings.definition, settings.file)
    else:
        describe(dict(cluster), settings.definition, settings.file, under="cluster")
    if settings.load is not None:
        read_load(settings.load, settings.file, under="load")


def of_description(folder: Path) -> None:
    """A pipeline on Kubernetes."""
    assumed(VIDEO, load_description(folder / "pipeline.yaml", VIDEO))


def of_annotation(folder: Path) -> None:
    """What an annotation of an object says."""
    knobs = (folder / "knobs.yaml").read_bytes().decode("utf-8", "replace")
    marks = {"ipa-rl.dev/stage": "crop", "ipa-rl.dev/knobs": knobs}
    metadata = {"namespace": "a", "name": "b", "annotations": marks}
    name, described = stage_of_marks(KINDS["Deployment"], {"metadata": metadata})
    content = {"environment": "video", "stages": {name: described, "classification": {"name": "c"}}}
    describe(content, VIDEO, "labels")


def write_policy(folder: Path) -> None:
    """A policy of the environment."""
    save_policy(POLICY, folder / "policy.npz")


def of_policy(folder: Path) -> None:
    """A policy, which then decides."""
    policy = load_policy(folder / "policy.npz", VIDEO)
    agent = PolicyAgent("ppo", VIDEO, policy, PROGRAM)
    for history in (STATE.history_rps, np.zeros(HISTORY_STEPS), np.full(HISTORY_STEPS, 1e4)):
        encode(VIDEO.problem, agent.decide(replace(STATE, history_rps=history)).configuration)


def of_scorer(folder: Path) -> None:
    """A policy for any pipeline, which then decides."""
    agent = make_universal(VIDEO, folder / SCORER)
    encode(VIDEO.problem, agent.decide(STATE).configuration)


@cache
def _model() -> PPO:
    ppo = Ppo(n_steps=60, batch_size=120)
    return new_model(VIDEO, Hyperparameters(environment="video", environments=2, ppo=ppo))


def write_model(folder: Path) -> None:
    """A training run at its first checkpoint."""
    environments = _model().get_env()
    assert environments is not None
    environments.reset()
    save_model(_model(), folder / "model.npz")


def of_model(folder: Path) -> None:
    """A training run that is gone on with for a step."""
    restore_model(_model(), folder / "model.npz")
    environments = _model().get_env()
    assert environments is not None
    environments.step(np.zeros((2, 6), dtype=np.int64))


def of_lstm(folder: Path) -> None:
    """The weights of the LSTM, which then forecasts."""
    read_lstm(folder / "lstm-1s.npz", 1).forecast(WINDOW.arrivals, 0.0)


def of_quantiles(folder: Path) -> None:
    """The quantiles, which then forecast."""
    rows = read_table(folder / "quantiles-1s.npz").rows(25, (0.9,))
    QuantileForecaster(rows[0], NO_SEASON, 1).forecast(WINDOW.arrivals, 0.0)


def of_run(folder: Path) -> None:
    """A run's folder: compared, ranked and reported."""
    comparison = read_comparison(folder / "run")
    comparison.rows()
    write_report(folder / "run", folder / "report.html")


def of_opponents(folder: Path) -> None:
    """Tuned opponents, built, ranked and asked."""
    found = read_opponents(folder / "opponents.json")
    rivals(found)
    load_agents(VIDEO, "program", folder / "opponents.json")
    for one in found:
        build(VIDEO, one, WINDOW.arrivals).decide(STATE)


def of_decision_log(folder: Path) -> None:
    """The decision log, as an account and as JSON."""
    for as_json in (False, True):
        with suppress(typer.Exit):
            explain(folder / "decisions.jsonl", last=0, json=as_json)


def of_workload(folder: Path) -> None:
    """A workload's folder: its parts, its windows, its clock and what is worth a look."""
    _load.cache_clear()
    found = load_workload(folder / "mine")
    doubts(found.description, found.recorded)
    for part in PARTS:
        found.windows(part, 60, 10)
    for name in found.description.windows:
        found.named_window(name, 10)
    found.clocks_s(np.arange(0, len(found.loads), 600))


def of_requests(folder: Path) -> None:
    """Requests to import, of any kind of file."""
    (path,) = folder.glob("requests.*")
    import_workload(path, folder / "imported")
    _load.cache_clear()
    _ = load_workload(folder / "imported").loads


def of_checkpoints(folder: Path) -> None:
    """The checkpoints of a training run, one of which is chosen."""
    found = read_checkpoints(folder / "checkpoints.json")
    if found:
        choose(found, [{"violations": 0.0, "pas_x100": 30.0}])


def of_state(folder: Path) -> None:
    """What a sidecar remembers."""
    kept = load_state(folder / "state.json")
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # as the sidecar does: it begins anew
        Rule("shadow", "agent", None, None).remember(kept["rule"])


def of_order(folder: Path) -> None:
    """The order in force."""
    Orders(folder / "order.json").why(Wish.pause)


def of_card(folder: Path) -> None:
    """How training or fitting went, for the card."""
    training_section(folder)
    fine_tuning_section(folder)


def of_demo(folder: Path) -> None:
    """What the demonstration keeps."""
    read_core(folder / "core.json")
    load_json(folder / "chosen.json", Chosen, AGAIN)
    load_json(folder / "probed.json", Probed, "delete it")
    Kept(folder, {}).age_s()
