"""The policy for any pipeline, fitted further to one: lessons of its load, and whether it is better then.

It learns from the train part and is held against the policy that it began as on the validation part, request
by request. What it was is kept where it is not better by more than chance.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

import ipa_rl
from ipa_rl import resources
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.universal import SCORER, UNIVERSAL, load_scorer, make_universal, save_scorer
from ipa_rl.agents.windows import evenly
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.comparison import FIGURES, interval_95
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import Pool, in_order
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.judge.tuning import REPORTED_REQUESTS, affordable
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json
from ipa_rl.training.fit_scorer import fit, read_lessons, save_lessons
from ipa_rl.training.lessons import attend, joined, needed_s, own_course
from ipa_rl.workload.workload import Window

ROUNDS, COURSES = 3, 60
"""Courses of a round, 180 states each, decided by what was learned in the rounds before. One round of 120 was
worse than what it began as for nlp, two of 60 better, three better still; others gain little by the third."""
EPOCHS, LEARNING_RATE = 10, 1e-3
CHECK_WINDOWS = 60
"""Of the validation part at most."""
_PARTS = 12
"""In which they are played, each in a job of its own."""


@dataclass(frozen=True)
class FineTuned:
    """What came of it on ``windows`` of the validation part: means of FIGURES before and after.

    ``gain``: in utility, paired by window, and its 95 % interval; ``is_better``: by more than chance.
    ``states``: that it learned from; ``took_s``: wall-clock time, after a kill that of the last run.
    """

    environment: str
    states: int
    windows: int
    before: dict[str, float]
    after: dict[str, float]
    gain: float
    gain_95: tuple[float, float]
    took_s: float

    @property
    def is_better(self) -> bool:
        """By more than chance."""
        return self.gain_95[0] > 0.0


def fine_tune(
    environment: str,
    out: Path,
    pool: Pool,
    report: Report,
    courses: int = COURSES,
    start: Path | None = None,
) -> FineTuned:
    """Fit the policy that ships, or another ``start``, to an environment, a shipped name or a file.

    ``courses``: of each round. ``out`` gets ``fine-tuning.json`` and, where it is better, its SCORER: then
    the folder is an agent's. After a kill the same call goes on. Raises InputError where the load is too
    short to learn from.
    """
    began = time.monotonic()
    _definition.cache_clear()  # its file may have changed
    definition = _definition(environment)
    _check_long_enough(definition)
    start = start or resources.folder("agents") / UNIVERSAL / SCORER
    place = out / f"lessons-{_fingerprint(definition, start)}"
    for other in set(out.glob("lessons-*")) - {place}:
        shutil.rmtree(other)  # of another environment, or of what this one was
    place.mkdir(exist_ok=True)
    tuned, files = start, list[Path]()
    for r in range(ROUNDS):
        files += [place / f"{seed}.npz" for seed in range(r * courses, (r + 1) * courses)]
        left = [file for file in files if not is_file(file)]
        report.advance(f"lessons {r + 1}", courses - len(left), courses)
        attend_here = partial(_attend_and_save, environment=environment, by=tuned)
        in_order(pool, attend_here, left, report, f"lessons {r + 1}")
        tuned = place / f"scorer-{r}.npz"
        lessons = joined([read_lessons(file) for file in files])
        if not is_file(tuned):
            save_scorer(fit(lessons, 0, report, EPOCHS, load_scorer(start), LEARNING_RATE)[0], tuned)
    parts = np.array_split(np.arange(len(_windows(definition))), _PARTS)
    play_both = partial(_both, environment=environment, scorers=(start, tuned))
    played = np.concatenate(in_order(pool, play_both, [one for one in parts if len(one)], report, "windows"))
    gains = played[:, 1, 0] - played[:, 0, 0]
    before, after = (dict(zip(FIGURES, one, strict=True)) for one in played.mean(axis=0).tolist())
    found = FineTuned(
        environment=definition.name,
        states=len(lessons.counts),
        windows=len(played),
        before=before,
        after=after,
        gain=float(gains.mean()),
        gain_95=interval_95(gains),
        took_s=time.monotonic() - began,
    )
    write_json(asdict(found), out / "fine-tuning.json")
    (out / SCORER).unlink(missing_ok=True)  # of an earlier run
    if found.is_better:
        tuned.replace(out / SCORER)
    shutil.rmtree(place)
    return found


def _check_long_enough(definition: Definition) -> None:
    """Raise InputError where not a single episode fits into the train part, or there are no windows."""
    seconds = needed_s(definition)
    if len(definition.workload.part("train")) < seconds:
        problem = f"its train part is shorter than the {seconds} s of an episode"
        raise InputError(problem, field="workload", fix="import more of the load, or run agent: universal")
    if not definition.windows("validation"):
        problem = "its validation part holds no window without a gap"
        raise InputError(problem, field="workload", fix="import more of the load, or run agent: universal")


def _fingerprint(definition: Definition, start: Path) -> str:
    """Of all that lessons depend on."""
    digest = hashlib.sha256(repr((ipa_rl.__version__, definition)).encode())
    digest.update(np.ascontiguousarray(definition.workload.part("train")).tobytes())
    digest.update(start.read_bytes())
    return digest.hexdigest()[:12]


def _attend_and_save(file: Path, environment: str, by: Path) -> None:
    """The lessons of a course, whose seed is the file's name, decided ``by`` a scorer."""
    save_lessons(attend(own_course(_definition(environment), int(file.stem)), load_scorer(by)), file)


def _both(positions: IntArray, environment: str, scorers: Sequence[Path]) -> FloatArray:
    """FIGURES of each scorer on some windows, (windows, scorers, FIGURES)."""
    definition = _definition(environment)
    windows, found = _windows(definition), np.empty((len(positions), len(scorers), len(FIGURES)))
    for s, path in enumerate(scorers):
        agent = make_universal(definition, path)
        for row, position in enumerate(positions.tolist()):
            measuring = MeasuringAgent(agent, meters_of(definition))
            played = figures(definition, play(definition, measuring, Scenario(windows[position])))
            found[row, s] = [played[name] for name in FIGURES]
    return found


def _windows(definition: Definition) -> list[Window]:
    """Of the validation part, so many as can be played in a minute or two."""
    found = definition.windows("validation")
    return evenly(found, min(affordable(found, REPORTED_REQUESTS), CHECK_WINDOWS))


@lru_cache(maxsize=1)
def _definition(environment: str) -> Definition:
    """Read once in a process."""
    return load_definition(environment)
