"""The folder of a run: what is compared, and each job's result as soon as it is there.

``run.json`` says what runs; ``jobs/`` holds one file a job: a trial, or of a long trial one controller. A run
that was cut off goes on with the jobs that are missing, where the same is asked for again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

import ipa_rl
from ipa_rl.agents.own import OwnController
from ipa_rl.arrays import Headers, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.border import MOST_REPLICAS
from ipa_rl.documents import load_json
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import exists
from ipa_rl.judge.experiment import Controllers, Experiment, Job, Setup, Trial
from ipa_rl.judge.play import Played
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.pipeline import Pipeline
from ipa_rl.result_files import output_folder, write_json
from ipa_rl.simulation.accounting import BINS, SUMS

_ARRAYS = tuple(one.name for one in fields(Played) if one.name != "name")
_AGAIN = "run the comparison again"
_MOST_BYTES = 1_000_000_000
"""Of a job's file; a controller's month of decisions every second takes half of it."""

_ROUNDED, _MOST = 1e-6, 1e15
"""How far below 0 a count may have been rounded, and more than any run counts."""

_LONGEST_NAME = 200
"""Bytes, so that a number still fits behind it."""

_SHOWN = (
    "comparison.csv", "comparison.json", "timeline.png", "trade-offs.png", "report.html",
    "evaluation.csv", "evaluation.json", "card.md",
)  # fmt: skip
"""What shows a run's results beside them; it goes where a run begins, whose results it does not show."""


@dataclass(frozen=True)
class RunDescription:
    """What a run compares; ``subject`` in words. ``fingerprint``: of everything that decides its figures.

    ``own``: the user's among the controllers. ``apart``: whether each controller of a trial is a job.
    ``finished``: whether all jobs are done.
    """

    subject: str
    environment: str
    agent: str | None
    kind: SimulatorKind
    preference: tuple[float, float] | None
    opponents: str | None
    controllers: Annotated[tuple[str, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[int, Field(ge=1)]
    fingerprint: str
    own: tuple[OwnController, ...] = ()
    apart: Annotated[bool, Field(strict=True)] = False
    finished: Annotated[bool, Field(strict=True)] = field(default=False, compare=False)

    def __str__(self) -> str:
        """In a few words."""
        size = f"{len(self.scenarios)} scenario{'s' if len(self.scenarios) > 1 else ''} x {self.seeds}"
        words = f"{quoted(self.subject)}, {len(self.controllers)} controllers, {size}"
        return words if self.finished else f"{words}, not ended"

    @property
    def together(self) -> int:
        """Controllers of a job."""
        return 1 if self.apart else len(self.controllers)

    def setup(self) -> Setup:
        """The same, for those who load the controllers."""
        return Setup(
            self.environment,
            Path(self.agent) if self.agent else None,
            self.kind,
            preference=self.preference,
            opponents=Path(self.opponents) if self.opponents else None,
            own=self.own,
        )


def describe(experiment: Experiment) -> RunDescription:
    """What the folder of a run keeps of an experiment."""
    setup, trials = experiment.setup, experiment.trials
    known = setup.controllers()
    seeds = 1 + max(one.seed for one in trials)
    return RunDescription(
        subject=experiment.subject,
        environment=setup.environment,
        agent=str(setup.agent) if setup.agent else None,
        kind=setup.kind,
        preference=setup.preference,
        opponents=str(setup.opponents) if setup.opponents else None,
        controllers=tuple(known.names()),
        scenarios=tuple(one.scenario.name for one in trials[::seeds]),
        seeds=seeds,
        fingerprint=_fingerprint(known, setup, trials),
        own=known.own,
        apart=experiment.is_long,
    )


def default_folder(verb: str, setup: Setup, subject: str, **asked: int | None) -> Path:
    """Where a run goes by default, a name that says what was asked; None for what was not.

    >>> setup = Setup("video", None, SimulatorKind.fluid, preference=(60.0, 0.5))
    >>> default_folder("compare", setup, "validation part", windows=50, seeds=None).name
    'compare-video-validation-windows-50-alpha-60-beta-0.5-fluid'
    """
    words = [verb, setup.definition().name, re.sub(" (window|part|suite)$", "", subject)]
    words += [f"{name}-{value}" for name, value in asked.items() if value is not None]
    if setup.preference:
        words.append("alpha-{:g}-beta-{:g}".format(*setup.preference))
    words += ["fluid"] if setup.kind is SimulatorKind.fluid else []
    words += [f"agent-{setup.agent.name}"] if setup.agent else []
    words += [one.name for one in setup.own]
    return folder_of(words)


def folder_of(words: Sequence[str]) -> Path:
    """The folder of a run, named after words, whatever stands in them."""
    name = re.sub(r"[^\w.]+", "-", "-".join(words))
    return Path("runs") / name.encode()[:_LONGEST_NAME].decode(errors="ignore")


def run_folder(
    given: Path | None, default: Path, experiments: Mapping[str, Experiment], say: Callable[[str], None]
) -> Path:
    """The folder of a run, in which each experiment has the folder of its name; made where it is missing.

    Never one that holds another run, finished or not: raises InputError where it was given; by default the
    next free name is taken. The same run continues, or runs again, which ``say`` is told.
    """
    wanted = {name: describe(experiment) for name, experiment in experiments.items()}
    names = (default.with_name(f"{default.name}-{k}") for k in count(2))
    for folder in [given] if given else chain([default], names):
        held = {name: RunFolder(folder / name).held() for name in wanted}
        others = [held[name] for name in wanted if held[name] not in (None, wanted[name])]
        if not others:
            break
        if given:
            fix = "give another --out, or delete the folder"
            raise InputError(f"holds another run: {others[0]}", file=folder, fix=fix)
        say(f"note: {folder} holds another run: {others[0]}")
    if any(one is not None and one.finished for one in held.values()):
        say(f"{folder} holds this run: running it again, and deleting the reports of the first time")
    return output_folder(folder)


def _fingerprint(known: Controllers, setup: Setup, trials: Sequence[Trial]) -> str:
    """Hash of version, environment, agent, opponents, the user's own, simulator, scenarios and seeds."""
    digest = hashlib.sha256(ipa_rl.__version__.encode())
    digest.update(repr((known.definition, *known.ours, known.opponents, setup.kind, *known.own)).encode())
    for array in (one for policy in known.policies for one in policy.arrays):
        digest.update(np.ascontiguousarray(array).tobytes())
    for trial in trials:
        window = trial.scenario.window
        digest.update(repr((window.name, trial.scenario.disturbance, trial.seed)).encode())
        digest.update(window.arrivals.tobytes())
        digest.update(b"" if window.times_s is None else window.times_s.tobytes())
    return digest.hexdigest()


class RunFolder:
    """Results of the jobs of one run, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def held(self) -> RunDescription | None:
        """What ran or runs here; None where nothing did, or it is broken, and is begun anew."""
        with suppress(InputError):
            return self._read()
        return None

    def begin(self, description: RunDescription) -> set[int]:
        """Positions of the jobs that are done already; none where something else ran here before.

        A run that ended is not gone on with: asked for again, it runs again. What showed the results of
        before goes with them.
        """
        kept = self.held()
        if kept is not None and kept == description and not kept.finished:
            return {int(path.stem) for path in self._jobs.glob("*.npz")}
        shutil.rmtree(self._jobs, ignore_errors=True)
        for name in _SHOWN:
            (self.path / name).unlink(missing_ok=True)
        self._jobs.mkdir(parents=True)
        self.write(description, finished=False)
        return set()

    def write(self, description: RunDescription, finished: bool) -> None:
        """Say what runs here, and whether all jobs are there."""
        own = [{**vars(one), "made_of": None} for one in description.own]
        write_json({**vars(description), "own": own, "finished": finished}, self.path / "run.json")

    def description(self) -> RunDescription:
        """What ran here. Raises InputError where no run ended here."""
        kept = self._read()
        if not kept.finished:
            raise InputError("the run has not ended", file=self.path, fix="run the same command again")
        jobs = len(kept.scenarios) * kept.seeds * (len(kept.controllers) // kept.together)
        there = sum(1 for _ in self._jobs.glob("*.npz"))
        if jobs != there:
            raise InputError(f"has the results of {there} of {jobs} jobs", file=self.path, fix=_AGAIN)
        return kept

    def save(self, position: int, job: Job, played: Sequence[Played]) -> None:
        """Keep a job's result; whole or not at all."""
        arrays: dict[str, Any] = {name: np.stack([getattr(one, name) for one in played]) for name in _ARRAYS}
        window = job.trial.scenario.window
        arrays["loads"] = window.arrivals[window.history_s :]
        write_arrays(arrays, self._jobs / f"{position}.npz", compressed=True)

    def load(self, trial: int, description: RunDescription, pipeline: Pipeline) -> tuple[Played, ...]:
        """What all controllers did in a trial. Raises InputError where a file of it is missing or broken."""
        names, together = description.controllers, description.together
        jobs = [names[k : k + together] for k in range(0, len(names), together)]
        first = trial * len(jobs)
        return tuple(
            played
            for position, group in enumerate(jobs, start=first)
            for played in self._load_job(position, group, pipeline)
        )

    def _load_job(self, position: int, names: Sequence[str], pipeline: Pipeline) -> Iterator[Played]:
        arrays, path = self._arrays(position), self._jobs / f"{position}.npz"
        if len(arrays["sums"]) != len(names):
            raise InputError(f"is not of {len(names)} controllers", file=path, fix=_AGAIN)
        if not _ran(pipeline, arrays["configured"]):
            raise InputError(
                f"holds configurations of another pipeline than {pipeline.name}", file=path, fix=_AGAIN
            )
        return (Played(name, **{key: arrays[key][i] for key in _ARRAYS}) for i, name in enumerate(names))

    def loads(self, trial: int, description: RunDescription) -> Any:
        """Requests in each second of a trial's window, history left out."""
        jobs = len(description.controllers) // description.together
        return self._arrays(trial * jobs)["loads"]

    def _arrays(self, position: int) -> dict[str, NDArray[Any]]:
        path = self._jobs / f"{position}.npz"
        arrays = read_arrays(path, _problem, "result of a job", _AGAIN, _MOST_BYTES)
        counted = {name: arrays[name] for name in ("sums", "histogram", "waiting", "loads")}
        check_finite(counted, path, _AGAIN)
        for name, array in counted.items():
            if array.size and not (array.min() >= -_ROUNDED and array.max() <= _MOST):
                raise InputError("holds numbers that are out of range", file=path, field=name, fix=_AGAIN)
        return arrays

    @property
    def _jobs(self) -> Path:
        return self.path / "jobs"

    def _read(self) -> RunDescription:
        path, fix = self.path / "run.json", "give the folder that ipa-rl compare or ipa-rl evaluate wrote"
        if not exists(path):
            raise InputError("holds no run", file=self.path, fix=fix)
        return load_json(path, RunDescription, fix)


def _ran(pipeline: Pipeline, configured: NDArray[np.int64]) -> bool:
    """Whether configurations (..., stages, 3) are some of this pipeline's."""
    if configured.shape[-2] != len(pipeline.stages):
        return False
    sizes = [[len(one.variants), len(one.variants[0].batches), MOST_REPLICAS] for one in pipeline.stages]
    return bool(((configured >= 0) & (configured < np.array(sizes))).all())


def _problem(headers: Headers) -> str:
    """What is wrong with the arrays of a job before they are read; empty where they fit together."""
    shape = headers["configured"].shape if "configured" in headers else ()
    if len(shape) != 4:
        return "lacks the configurations"
    many, steps, stages, _ = shape
    return misfit(
        headers,
        {
            "sums": ("f8", (many, steps, len(SUMS))),
            "histogram": ("f8", (many, BINS)),
            "p99_s": ("f8", (many, steps)),
            "configured": ("i8", (many, steps, stages, 3)),
            "waiting": ("f8", (many, steps, stages)),
            "planned_rps": ("f8", (many, steps)),
            "decide_s": ("f8", (many, steps)),
            "fallbacks": ("i8", (many, steps)),
            "loads": ("i8", (None,)),
        },
    )
