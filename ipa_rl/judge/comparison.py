"""Controllers side by side on the same arrivals and service times: figures, intervals, differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.bootstrap import interval_95
from ipa_rl.judge.jobs import Job, Setup, run_job
from ipa_rl.judge.play import Played, figures
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.runs import Description, RunFolder, describe
from ipa_rl.progress import Report
from ipa_rl.simulation.accounting import latency_quantile_s

FIGURES = ("utility", "pas_x100", "cores", "violations")
"""What intervals are given for."""


@dataclass(frozen=True)
class Comparison:
    """Everything that the controllers did; ``played``: (scenarios, seeds, controllers)."""

    definition: Definition
    description: Description
    played: tuple[tuple[tuple[Played, ...], ...], ...]

    @cached_property
    def _figures(self) -> dict[str, FloatArray]:
        """Each figure, (scenarios, seeds, controllers)."""
        whole = [
            [[figures(self.definition, one) for one in seed] for seed in scenario] for scenario in self.played
        ]
        return {
            name: np.array([[[one[name] for one in seed] for seed in scenario] for scenario in whole])
            for name in FIGURES
        }

    def units(self, name: str, figure: str) -> FloatArray:
        """A figure of one controller in each of the units that the bootstrap draws from.

        Units are windows, each a mean over its seeds; where there is one window, its seeds.
        """
        values = self._figures[figure][:, :, self.description.controllers.index(name)]
        return np.asarray(values.mean(axis=1) if len(values) > 1 else values[0], dtype=np.float64)

    def rows(self) -> list[dict[str, Any]]:
        """One row a controller: means, with intervals where there is more than one unit."""
        return [self._row(name, i) for i, name in enumerate(self.description.controllers)]

    def _row(self, name: str, i: int) -> dict[str, Any]:
        """Utility, PAS, cores and violations are means over units; latencies are over all requests."""
        column = [seed[i] for scenario in self.played for seed in scenario]
        histogram = np.sum([one.histogram for one in column], axis=0)
        decide_s = np.concatenate([one.timed_s() for one in column])
        values = {figure: self.units(name, figure) for figure in FIGURES}
        row: dict[str, Any] = {"controller": name}
        row |= {figure: float(units.mean()) for figure, units in values.items()}
        row["p50_s"] = latency_quantile_s(histogram, 0.50)
        row["p99_s"] = latency_quantile_s(histogram, 0.99)
        row["decide_p50_ms"] = 1e3 * float(np.quantile(decide_s, 0.50))
        row["decide_p99_ms"] = 1e3 * float(np.quantile(decide_s, 0.99))
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

    @property
    def unit(self) -> str:
        """What the intervals are over, in words."""
        return "windows" if len(self.played) > 1 else "seeds"


def compare(
    subject: str, setup: Setup, jobs: Sequence[Job], folder: RunFolder, pool: Pool, report: Report
) -> Comparison:
    """Run the jobs that the folder lacks, and read all of them; ``subject``: in words, what they are."""
    description = describe(subject, setup, jobs)
    done = folder.begin(description)
    missing = [i for i in range(len(jobs)) if i not in done]
    report.advance(subject, len(done), len(jobs))
    finished = pool.each(partial(run_job, setup), [jobs[i] for i in missing])
    for count, (position, played) in enumerate(finished, start=len(done) + 1):
        folder.save(missing[position], jobs[missing[position]], played)
        report.advance(subject, count, len(jobs))
    folder.finish(description)
    return read_comparison(folder)


def read_comparison(folder: RunFolder) -> Comparison:
    """The comparison that was run in a folder. Raises InputError."""
    description = folder.description()
    definition = description.setup().controllers().definition
    played = tuple(
        tuple(
            folder.load(s * description.seeds + seed, description.controllers, definition.pipeline)
            for seed in range(description.seeds)
        )
        for s in range(len(description.scenarios))
    )
    return Comparison(definition, description, played)
