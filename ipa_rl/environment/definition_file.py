"""Environment files: the YAML files of ``envs/``, checked and turned into definitions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from ipa_rl import documents, resources
from ipa_rl.documents import Count, Name, NonNegative, Positive, StrictModel, within_an_hour
from ipa_rl.environment.definition import (
    BATCH_TIMEOUT_SHARE,
    BaselinesModel,
    Definition,
    EpisodesModel,
    RewardModel,
    default_rho,
)
from ipa_rl.environment.family import GRAPHS, MADE_UP, drawn_definition
from ipa_rl.errors import InputError
from ipa_rl.files import exists, is_file, is_folder
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import CORES, MOST_UNITS, Pipeline
from ipa_rl.profiles import load_pipeline
from ipa_rl.simulation import Timing
from ipa_rl.solvers import FrontSolver
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import Workload, load_workload

_MADE_UP = re.compile(r"made-up-(graph-)?(\d{1,9})")
"""Names of the family's environments: the number is the seed."""


class WeightsModel(StrictModel):
    """alpha, beta, delta of the objective; rho of violations (omitted: the default, design, section 3)."""

    alpha: NonNegative
    beta: NonNegative
    delta: NonNegative
    rho: NonNegative | None = None
    normalize_accuracy: bool = False


class LimitsModel(StrictModel):
    """Most replicas a stage, the age at which a waiting request is dropped, and when a batch starts unfilled.

    ``batch_timeout_s``: by default BATCH_TIMEOUT_SHARE of the SLA.
    """

    max_replicas: Annotated[int, Field(ge=1, le=10_000)]
    drop_limit_s: Annotated[Positive, AfterValidator(within_an_hour)]
    batch_timeout_s: Positive | None = None


class ResourceModel(StrictModel):
    """What a unit of a resource costs, in cores, and how many units all stages together may occupy."""

    price: Annotated[Positive, Field(le=MOST_UNITS)] | None = None
    limit: Positive | None = None


class DefinitionModel(StrictModel):
    """The file as a whole.

    ``sink_sla_s``: by stage that requests end at. ``resources``: by name, of what the pipeline runs on.
    ``reload_s``: seconds in which ready replicas change to another variant in place, for all stages or by
    stage; in stages without one a change of variant is a rolling update.
    """

    pipeline: str
    source: str = ""
    sla_s: Positive
    sink_sla_s: dict[Name, Positive] = Field(default_factory=dict)
    weights: WeightsModel
    limits: LimitsModel
    resources: dict[Name, ResourceModel] = Field(default_factory=dict)
    adaptation_interval_s: Annotated[int, Field(ge=1, le=600)] = 10
    start_up_scale: NonNegative = 1.0
    reload_s: NonNegative | dict[str, NonNegative] = Field(default_factory=dict)
    load_window_s: Count | None = None
    workload: EpisodesModel = EpisodesModel()
    reward: RewardModel = RewardModel()
    baselines: BaselinesModel = BaselinesModel()


def load_definition(name_or_path: str | Path) -> Definition:
    """Read and check an environment: a shipped name ("video"), a YAML file, or a made-up one ("made-up-7").

    The last is a pipeline of the seeded family (`ipa_rl.environment.family`) under loads that switch;
    "made-up-graph-7" is a graph.
    ``NAME@LOAD`` is the same environment under another workload, a shipped name or a folder, at the mean load
    of its own. Raises InputError, which names file, field and fix.
    """
    base, load = _split(name_or_path)
    if seed := _MADE_UP.fullmatch(base):
        under = load_workload(load) if load else made_up("on-off", 6.0, 30.0)
        definition = drawn_definition(int(seed[2]), under, GRAPHS if seed[1] else MADE_UP)
        return replace(definition, name=f"{base}@{under.name}") if load else definition
    path, model = read_model(base)
    _check_episodes(path, model)
    timing = Timing(
        model.adaptation_interval_s,
        model.limits.drop_limit_s,
        model.limits.batch_timeout_s or BATCH_TIMEOUT_SHARE * model.sla_s,
        model.start_up_scale,
    )
    name, workload = path.stem, _workload(path, model.workload)
    if load:
        other = load_workload(load)
        name, workload = f"{name}@{other.name}", other.at_scale(workload.mean_rps / other.mean_rps)
    definition = Definition(
        name=name,
        problem=_problem(path, model),
        timing=timing,
        workload=workload,
        episodes=model.workload,
        reward=model.reward,
        baselines=model.baselines,
        load_window_s=model.load_window_s,
        own_rho=model.weights.rho is not None,
    )
    if definition.own_rho:
        return definition
    return definition.with_problem(weights=replace(definition.weights, rho=default_rho(definition)))


def load_beside(file: Path, name_or_path: str) -> Definition:
    """An environment that a file names: beside it where there is one, else as `load_definition` has it."""
    beside = file.parent / name_or_path
    return load_definition(beside if is_file(beside) else name_or_path)


def environment_name(name_or_path: str | Path) -> str:
    """What an environment is called: as it was asked for, of a file its name."""
    base, load = _split(name_or_path)
    path = Path(base)
    name = path.stem if path.suffix or len(path.parts) > 1 else base
    return f"{name}@{Path(load).name}" if load else name


def lasting_name(name_or_path: str | Path) -> str:
    """What `load_definition` takes wherever it runs: names as they are, paths absolute. Raises InputError."""
    return spelled(name_or_path, lambda path, kind: str(resources.find(path, kind).resolve()))


def spelled(name_or_path: str | Path, path_as: Callable[[str, str], str]) -> str:
    """What `load_definition` takes, with names as they are, and paths (path, kind) as ``path_as`` says."""
    base, load = _split(name_or_path)
    is_name = base in resources.shipped_names("envs") or _MADE_UP.fullmatch(base)
    text = base if is_name else path_as(base, "envs")
    if not load:
        return text
    return f"{text}@{load if load in resources.shipped_names('workloads') else path_as(load, 'workloads')}"


def _split(name_or_path: str | Path) -> tuple[str, str]:
    """An environment's name or path, and the workload that is to take the place of its own, if any."""
    text = str(name_or_path)
    if "@" not in text or exists(Path(text)):
        return text, ""
    base, _, load = text.rpartition("@")
    return base, load


def load_problem(name_or_path: str | Path) -> Problem:
    """What an environment asks of a solver. Its rho, which no solver needs, is 0 unless the file gives one.

    That default takes reading the workload and solving for its loads. Raises InputError.
    """
    base, _ = _split(name_or_path)
    return load_definition(base).problem if _MADE_UP.fullmatch(base) else _problem(*read_model(base))


def read_model(name_or_path: str | Path) -> tuple[Path, DefinitionModel]:
    """Where an environment's file is, and what it says. Raises InputError."""
    path = resources.find(name_or_path, "envs")
    return path, documents.load(path, DefinitionModel, see="docs/reference/environments.md")


def pipeline_place(path: Path, model: DefinitionModel) -> str | Path:
    """The pipeline of an environment's file: a shipped name, or a folder relative to the file."""
    beside = resources.beside(path, model.pipeline)
    return beside if len(Path(model.pipeline).parts) > 1 or is_folder(beside) else model.pipeline


def _problem(path: Path, model: DefinitionModel) -> Problem:
    pipeline = _priced(path, model, load_pipeline(pipeline_place(path, model)))
    pipeline = _reloading(path, model, pipeline)
    _check_baselines(path, model, pipeline)
    own = model.weights
    weights = Weights(own.alpha, own.beta, own.delta, own.rho or 0.0, own.normalize_accuracy)
    sinks, most = tuple(model.sink_sla_s.items()), model.limits.max_replicas
    limits = tuple((name, one.limit) for name, one in model.resources.items() if one.limit is not None)
    try:
        problem = Problem(pipeline, weights, model.sla_s, most, sink_sla_s=sinks, limits=limits)
        if limits:
            FrontSolver(problem).solve(0.0)  # it knows whether they leave a replica of each stage
        return problem
    except InputError as fault:
        field = "resources" if fault.field == "limits" else fault.field
        raise InputError(fault.problem, file=path, field=field, fix=fault.fix) from fault


def _priced(path: Path, model: DefinitionModel, pipeline: Pipeline) -> Pipeline:
    """The pipeline at the prices that the file gives. Raises InputError."""
    known = pipeline.resources
    for name in model.resources.keys() - set(known):
        fix = f"remove it, or use {', '.join(known)}"
        raise InputError(
            "is nothing that the pipeline runs on", file=path, field=f"resources.{name}", fix=fix
        )
    prices: dict[str, float] = {}
    for name in known:
        price = model.resources.get(name, ResourceModel()).price
        if price is None and name != CORES:
            fix = f"say what a unit costs, in cores: resources: {{{name}: {{price: 12}}}}"
            raise InputError("is missing", file=path, field=f"resources.{name}.price", fix=fix)
        given = 1.0 if price is None else price
        prices[name] = int(given) if given.is_integer() else given  # so that whole costs are shown as such
    stages = []
    for stage in pipeline.stages:
        variants = tuple(replace(one, price=prices[one.resource]) for one in stage.variants)
        stages.append(replace(stage, variants=variants))
    return replace(pipeline, stages=tuple(stages))


def _check_episodes(path: Path, model: DefinitionModel) -> None:
    """An episode holds a decision. Raises InputError."""
    episode_s, interval_s = model.workload.episode_s, model.adaptation_interval_s
    if episode_s is not None and episode_s < interval_s:
        problem = f"is {episode_s}, shorter than adaptation_interval_s, {interval_s}"
        raise InputError(problem, file=path, field="workload.episode_s", fix="give more, or leave it out")


def _workload(path: Path, model: EpisodesModel) -> Workload:
    """What an environment's file names. Raises InputError."""
    if model.load in ("poisson", "on-off"):
        return made_up(model.load, model.rate_rps, model.peak_rps).at_scale(model.scale)
    beside = resources.beside(path, model.load)
    return load_workload(beside if is_folder(beside) else model.load).at_scale(model.scale)


def _reloading(path: Path, model: DefinitionModel, pipeline: Pipeline) -> Pipeline:
    """The pipeline with the reloads that the file gives."""
    names = [stage.name for stage in pipeline.stages]
    given = model.reload_s if isinstance(model.reload_s, dict) else dict.fromkeys(names, model.reload_s)
    for name in given.keys() - set(names):
        fix = f"use {', '.join(names)}"
        raise InputError(f"{name} is not a stage", file=path, field="reload_s", fix=fix)
    stages = []
    for stage in pipeline.stages:
        variants = (variant.name for variant in stage.variants)
        stages.append(stage.with_delays({}, dict.fromkeys(variants, given.get(stage.name, math.inf))))
    return replace(pipeline, stages=tuple(stages))


def _check_baselines(path: Path, model: DefinitionModel, pipeline: Pipeline) -> None:
    """A variant of every stage for FA2, a count of replicas for RIM, where given. Raises InputError."""
    stages = pipeline.stages
    for name in ("fa2_low", "fa2_high", "rim_replicas"):
        entries, field_name = getattr(model.baselines, name), f"baselines.{name}"
        if entries is None:
            continue
        if len(entries) != len(stages):
            problem = f"has {len(entries)} entries for {len(stages)} stages"
            raise InputError(problem, file=path, field=field_name, fix="give one entry a stage")
        most = model.limits.max_replicas
        if name == "rim_replicas" and max(entries) > most:
            problem, fix = f"has {max(entries)}", f"give at most limits.max_replicas, {most}"
            raise InputError(problem, file=path, field=field_name, fix=fix)
        for stage, entry in zip(stages, entries, strict=True):
            known = [variant.name for variant in stage.variants]
            if name != "rim_replicas" and entry not in known:
                problem, fix = (
                    f"{entry} is not a variant of stage {stage.name}",
                    f"use one of {', '.join(known)}",
                )
                raise InputError(problem, file=path, field=field_name, fix=fix)
