"""All that is fitted to a workload, and kept in its folder: season, quantiles, autoregressive, LSTM.

Fitting needs ``ipa-rl[train]``; forecasting, except by the LSTM, does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_rl import resources
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder
from ipa_rl.workload.clock import Season, save_season
from ipa_rl.workload.fit_clock import PERIODS_S, SeasonCandidate, find_season
from ipa_rl.workload.forecasters import fit_autoregressive, save_autoregressive
from ipa_rl.workload.quantiles import QUANTILES, save_table
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZONS_STEPS, STEPS_S, step_for
from ipa_rl.workload.workload import PARTS, Recorded, Workload, WorkloadModel, save_workload

EPOCHS = 30
"""Passes over the train part; of the LSTM at most."""

USUAL_REACH_S = 30.0
"""A replica of the shipped pipelines that is ordered now has served an interval by then."""


@dataclass(frozen=True)
class FittedStep:
    """What was fitted to loads by steps of ``step_s``.

    The quantiles after ``quantile_epochs``, and what they ``covered`` of the test part (horizons, quantiles).
    """

    step_s: int
    quantile_epochs: int
    covered: FloatArray

    @property
    def quantiles_in_words(self) -> str:
        """Where they come from."""
        epochs = self.quantile_epochs
        return f"fitted in {epochs} epochs" if epochs else "the general ones, shifted"


@dataclass(frozen=True)
class FoundSeason:
    """The season of a workload, and those that were tried, best first."""

    season: Season
    tried: list[SeasonCandidate]

    @property
    def in_words(self) -> str:
        """Which it is, or why there is none."""
        name = next((name for name, period_s in PERIODS_S.items() if period_s == self.season.period_s), "")
        if name:
            return name
        return "none tells how the load grows" if self.tried else "none, as there are too few whole periods"


@dataclass(frozen=True)
class Fitted:
    """The season, what was fitted by length of a step, and the files of it all."""

    found: FoundSeason
    steps: list[FittedStep]
    files: list[Path]

    def summary(self) -> dict[str, Any]:
        """The same as plain values."""
        tried = [
            {"season": one.name, "explained": one.explained, "errors": one.errors} for one in self.found.tried
        ]
        steps = [
            {
                "step_s": one.step_s,
                "quantile_epochs": one.quantile_epochs,
                "horizons_steps": HORIZONS_STEPS,
                "quantiles": QUANTILES,
                "covered": one.covered.tolist(),
            }
            for one in self.steps
        ]
        return {"season_s": self.found.season.period_s, "seasons_tried": tried, "steps": steps}


def usual_step_s(workload: Workload, reach_s: float = USUAL_REACH_S) -> int:
    """The step that an environment needs on a workload at scale 1."""
    shortest_s = min(end - begin for begin, end in workload.parts.values())
    return step_for(reach_s, workload.at_scale(1.0).mean_rps, shortest_s)


def keep_workload(
    folder: Path, description: WorkloadModel, recorded: Recorded
) -> tuple[Workload, FoundSeason]:
    """Write a workload's folder, with the season that is found in it. Raises InputError."""
    workload = save_workload(output_folder(folder), description, recorded)
    return workload, _fit_season(workload, usual_step_s(workload))


def _fit_season(workload: Workload, step_s: int) -> FoundSeason:
    """The season of a workload that has a folder, kept there."""
    folder = workload.fitted("")
    assert folder is not None
    output_folder(folder)
    found = FoundSeason(*find_season(workload, step_s))
    save_season(found.season, workload)
    return found


def fit(
    workload: Workload, steps_s: Iterable[int], report: Report, *, lstm: bool, seed: int, epochs: int = EPOCHS
) -> Fitted:
    """Fit everything to a workload that has a folder, and keep it there; by each length of a step.

    Raises InputError where a part is too short for a step, or a step has a length that steps do not have.
    """
    steps_s = sorted(set(steps_s))
    for step_s in steps_s:
        check_step(workload, step_s)
    from ipa_rl.workload.fit_quantiles import coverage, fit_quantiles

    found = _fit_season(workload, steps_s[0])
    fitted, files = [], ["clock.npz"]
    for step_s in steps_s:
        quantiles = fit_quantiles(workload, step_s, seed, epochs, report)
        save_table(quantiles.coefficients, workload, step_s)
        save_autoregressive(fit_autoregressive(workload, step_s), workload)
        files += [f"{kind}-{step_s}s.npz" for kind in ("quantiles", "autoregressive")]
        if lstm:
            from ipa_rl.workload.lstm import save_lstm, train_lstm

            save_lstm(train_lstm(workload, step_s, seed, epochs, report), workload)
            files.append(f"lstm-{step_s}s.npz")
        covered = coverage(quantiles.coefficients, workload, step_s, "test")
        fitted.append(FittedStep(step_s, quantiles.epochs, covered))
    return Fitted(found, fitted, [path for name in files if (path := workload.fitted(name))])


def check_own(workload: Workload) -> None:
    """Raise InputError where the workload ships: what was fitted to it is what the shipped agents see."""
    if workload.folder is not None and workload.folder.parent == resources.folder("workloads").resolve():
        problem = "ships, and the shipped agents see what was fitted to it"
        fix = "copy its folder and fit the copy, or give --ship"
        raise InputError(problem, file=workload.name, field="workload", fix=fix)


def check_step(workload: Workload, step_s: int) -> None:
    """Raise InputError where nothing can be fitted to loads by such steps."""
    if step_s not in STEPS_S:
        fix = f"use one of {', '.join(map(str, STEPS_S))}"
        raise InputError(f"steps of {step_s} s are not known", field="step", fix=fix)
    history_s, ahead_s = HISTORY_STEPS * step_s, HORIZONS_STEPS[-1] * step_s
    for part in PARTS:
        if not len(workload.starts(part, ahead_s, history_s)):
            begin, end = workload.parts[part]
            problem = (
                f"its {part} part of {end - begin} s has no {history_s + ahead_s} s without gaps, which fits "
                f"in steps of {step_s} s need"
            )
            fix = "give a longer workload, another split, or shorter steps"
            raise InputError(problem, file=workload.name, field=part, fix=fix)
