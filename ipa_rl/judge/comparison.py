"""One comparison: controllers in the same trials, their figures with intervals, and who is best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.interrupts import hinted
from ipa_rl.jit import FloatArray
from ipa_rl.judge.experiment import FEW_WINDOWS, Experiment, play_job
from ipa_rl.judge.play import Played, figures
from ipa_rl.judge.pools import Here, Pool
from ipa_rl.judge.runs import RunDescription, RunFolder, describe
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.progress import Report, Silent
from ipa_rl.result_files import data_frame, flat
from ipa_rl.simulation.accounting import latency_quantile_s

FIGURES = ("utility", "pas_x100", "cores", "violations")
"""What intervals are given for."""

RESAMPLES = 10_000


def compare(
    experiment: Experiment, folder: Path, pool: Pool | None = None, report: Report | None = None
) -> Comparison:
    """Every controller through every trial; ``Comparison`` has the figures, their intervals and the ranking.

    The folder keeps each job as soon as it is played: where a run was cut off, the same experiment goes on
    with what is missing. ``pool``: where jobs are played, by default in this process; ``report``: is told
    how far they are.
    """
    pool, report = pool or Here(), report or Silent()
    run, jobs = RunFolder(folder), experiment.jobs()
    description = describe(experiment)
    done = run.begin(description)
    missing = [i for i in range(len(jobs)) if i not in done]
    report.advance(experiment.subject, len(done), len(jobs))
    with hinted(f"what is done stays in {folder}: the same command goes on"):
        finished = pool.each(partial(play_job, experiment.setup), [jobs[i] for i in missing])
        for count, (position, played) in enumerate(finished, start=len(done) + 1):
            run.save(missing[position], jobs[missing[position]], played)
            report.advance(experiment.subject, count, len(jobs))
    run.write(description, finished=True)
    return read_comparison(folder)


def read_comparison(folder: Path) -> Comparison:
    """The comparison that was run in a folder. Raises InputError where none ended there."""
    run = RunFolder(folder)
    description = run.description()
    definition = description.setup().controllers().definition
    played = tuple(
        tuple(
            run.load(scenario * description.seeds + seed, description, definition.pipeline)
            for seed in range(description.seeds)
        )
        for scenario in range(len(description.scenarios))
    )
    return Comparison(definition, description, played)


@dataclass(frozen=True)
class Ranked:
    """A controller's place by mean utility; controllers that share a place cannot be told apart.

    ``interval_95``: of the utility by which the best of the place is above it, paired; None for that best.
    """

    place: int
    controller: str
    utility: float
    interval_95: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """Everything that the controllers did; ``played``: (scenarios, seeds, controllers)."""

    definition: Definition
    description: RunDescription
    played: tuple[tuple[tuple[Played, ...], ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The controllers, in the order of tables."""
        return self.description.controllers

    @property
    def trials(self) -> list[tuple[Played, ...]]:
        """What all controllers did in each trial."""
        return [trial for scenario in self.played for trial in scenario]

    def by_scenario(self) -> Iterator[tuple[str, Comparison]]:
        """Each scenario's name, with what was done in it alone."""
        for name, played in zip(self.description.scenarios, self.played, strict=True):
            yield name, replace(self, played=(played,))

    @property
    def unit(self) -> str:
        """What the intervals are over, in words: windows, or seeds where there are few windows."""
        single = self.description.kind is SimulatorKind.request_level
        is_few = len(self.played) < (FEW_WINDOWS if single and self.description.seeds > 1 else 2)
        return "seeds" if is_few else "windows"

    @cached_property
    def _figures(self) -> dict[str, FloatArray]:
        """Each figure, (scenarios, seeds, controllers)."""
        shape = (len(self.played), -1, len(self.names))
        each = [figures(self.definition, one) for trial in self.trials for one in trial]
        return {name: np.reshape([one[name] for one in each], shape) for name in FIGURES}

    def units(self, name: str, figure: str) -> FloatArray:
        """A figure of one controller in each of the units that the bootstrap draws from.

        Units are windows, each a mean over its seeds; where these are few, seeds, each a mean over windows.
        """
        values = self._figures[figure][:, :, self.names.index(name)]
        return values.mean(axis=0) if self.unit == "seeds" else self.by_window(name, figure)

    def by_window(self, name: str, figure: str) -> FloatArray:
        """A figure of one controller in each window, means over seeds."""
        values = self._figures[figure][:, :, self.names.index(name)]
        return np.asarray(values.mean(axis=1), dtype=np.float64)

    def rows(self) -> list[dict[str, Any]]:
        """One row a controller: means, with intervals where there is more than one unit.

        Utility, PAS, cores and violations are means over units; latencies are over all requests.
        """
        return [self._row(name, i) for i, name in enumerate(self.names)]

    def frame(self) -> Any:
        """`rows` as a pandas.DataFrame, with places of the `ranking`; needs ``ipa-rl[data]``."""
        places = {one.controller: one.place for one in self.ranking()}
        rows = [{**flat(row), "place": places.get(row["controller"])} for row in self.rows()]
        return data_frame(rows)

    def interval_frame(self) -> Any:
        """One row an adaptation interval of every scenario, seed and controller, as a pandas.DataFrame.

        ``begins_s``: seconds after the window's begin. ``arrived``, ``served``, ``dropped``, ``late`` count
        requests; ``violations`` is the share of those that ended. By stage what runs at the interval's end,
        and how many requests wait then. Needs ``ipa-rl[data]``.
        """
        parts = []
        for scenario, played in zip(self.description.scenarios, self.played, strict=True):
            for seed, one in [(seed, one) for seed, trial in enumerate(played) for one in trial]:
                where = {"scenario": scenario, "seed": seed, "controller": one.name}
                named = {name: np.full(len(one.sums), value) for name, value in where.items()}
                parts.append(named | one.columns(self.definition))
        return data_frame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _row(self, name: str, i: int) -> dict[str, Any]:
        column = [trial[i] for trial in self.trials]
        histogram = np.sum([one.histogram for one in column], axis=0)
        decide_ms = 1e3 * np.concatenate([one.timed_s() for one in column])
        values = {figure: self.units(name, figure) for figure in FIGURES}
        row: dict[str, Any] = {"controller": name}
        row |= {figure: float(units.mean()) for figure, units in values.items()}
        for label, q in (("p50", 0.50), ("p99", 0.99)):
            row[f"{label}_s"] = latency_quantile_s(histogram, q)
            row[f"decide_{label}_ms"] = float(np.quantile(decide_ms, q))
        row["fallbacks"] = float(np.concatenate([one.fallbacks for one in column]).mean())
        if len(values["utility"]) > 1:
            row |= {f"{figure}_95": interval_95(units) for figure, units in values.items()}
        return row

    def paired(self, ours: str, theirs: str, figure: str) -> dict[str, Any]:
        """Mean difference of a figure, ours less theirs, with its 95 % interval over the units."""
        difference = self.units(ours, figure) - self.units(theirs, figure)
        return {
            "figure": figure,
            "difference": float(difference.mean()),
            "interval_95": interval_95(difference),
            "units": len(difference),
        }

    def ranking(self) -> list[Ranked]:
        """Best first. Empty where there is one unit only, which shows no spread.

        A controller shares the place of the best above it as long as the paired 95 % interval of their
        difference holds 0; the first that is clear of it opens the next place. The intervals are pairwise,
        not adjusted for how many there are.
        """
        utilities = {name: self.units(name, "utility") for name in self.names}
        if len(utilities[self.names[0]]) < 2:
            return []
        ranked: list[Ranked] = []
        best, place = "", 0
        ordered = sorted(self.names, key=lambda one: -float(utilities[one].mean()))
        for position, name in enumerate(ordered, start=1):
            interval = self.paired(best, name, "utility")["interval_95"] if best else None
            if interval is None or interval[0] > 0:
                best, place, interval = name, position, None
            ranked.append(Ranked(place, name, float(utilities[name].mean()), interval))
        return ranked


def interval_95(values: FloatArray) -> tuple[float, float]:
    """Interval of the mean of ``values`` (units,). For a paired one, give the differences.

    By the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13).

    >>> interval_95(np.ones(5))
    (1.0, 1.0)
    """
    return percentiles_95(np.asarray(values)[resampled(len(values))].mean(axis=1))


def resampled(units: int) -> Any:
    """The units of each resample, (RESAMPLES, units), the same for whoever asks."""
    return np.random.default_rng(0).integers(0, units, (RESAMPLES, units))


def percentiles_95(statistics: FloatArray) -> tuple[float, float]:
    """What 95 % of the resamples' statistics lie between."""
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)
