"""What a comparison or an evaluation came to, as values: what its files hold, and what all reports show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ipa_rl.judge.comparison import Comparison, Ranked
from ipa_rl.judge.experiment import Controllers
from ipa_rl.judge.scenario import JudgedPart
from ipa_rl.judge.stress import SUITE, Endured, endured
from ipa_rl.result_files import write_json, write_rows


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Of windows ``rows`` and ``ranking``, of the stress suite ``stress``, means over its draws.

    ``rows``: one a controller, by `Comparison.rows`; ``intervals_over``: the unit of their intervals.
    """

    environment: str
    subject: str
    simulator: str
    scenarios: int
    seeds: int
    opponents_tuned: bool
    intervals_over: str
    rows: Sequence[dict[str, Any]] = ()
    ranking: Sequence[Ranked] = ()
    stress: Sequence[Endured] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; without those of windows or of the suite, whichever was not played."""
        missing = ["regret"] if getattr(self, "regret", None) is None else []
        missing += [] if self.rows else ["rows", "ranking", "intervals_over"]
        missing += [] if self.stress else ["stress"]
        return {name: value for name, value in asdict(self).items() if name not in missing}

    def write(self, folder: Path, name: str) -> list[Path]:
        """The table as ``name``.csv, all as ``name``.json; where they are."""
        csv, json = folder / f"{name}.csv", folder / f"{name}.json"
        write_rows(self.rows or [asdict(one) for one in self.stress], csv)
        write_json(self.as_json(), json)
        return [csv, json]


@dataclass(frozen=True)
class Regret:
    """Means over windows, and the share of the gap between program and bound that is closed, with 95 %."""

    bound: float
    program: float
    agent: float
    closed: float
    closed_95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Findings):
    """All controllers on so many ``windows`` of a part of the trace, and under stress.

    ``paired``: the agent's differences to each rival. ``regret``: where there is an agent, and opponents are
    tuned.
    """

    part: JudgedPart
    windows: int
    paired: Sequence[dict[str, Any]]
    stress_draws: int
    regret: Regret | None = None


def find(comparison: Comparison, known: Controllers) -> Findings:
    """What a comparison of these controllers came to."""
    description, is_suite = comparison.description, is_stress(comparison)
    return Findings(
        environment=comparison.definition.name,
        subject=description.subject,
        simulator=description.kind.value,
        scenarios=len(description.scenarios),
        seeds=description.seeds,
        opponents_tuned=known.tuned,
        intervals_over=comparison.unit,
        rows=[] if is_suite else comparison.rows(),
        ranking=[] if is_suite else comparison.ranking(),
        stress=endured(comparison) if is_suite else [],
    )


def is_stress(comparison: Comparison) -> bool:
    """Whether it is one of the stress suite."""
    return comparison.description.scenarios == tuple(stress.name for stress in SUITE)
