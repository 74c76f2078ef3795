"""Who is best, and who cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass

from ipa_rl.judge.comparison import Comparison


@dataclass(frozen=True)
class Ranked:
    """A controller's place by mean utility; controllers that share a place cannot be told apart.

    ``interval_95``: of the utility by which the best of the place is above it, paired; None for that best.
    """

    place: int
    controller: str
    utility: float
    interval_95: tuple[float, float] | None


def rank(comparison: Comparison) -> list[Ranked]:
    """Best first. Empty where there is one unit only, which shows no spread.

    A controller shares the place of the best above it as long as the paired 95 % interval of their
    difference holds 0; the first that is clear of it opens the next place. The intervals are pairwise,
    not adjusted for how many there are.
    """
    names = comparison.description.controllers
    means = {name: float(comparison.units(name, "utility").mean()) for name in names}
    if len(comparison.units(names[0], "utility")) < 2:
        return []
    ranked: list[Ranked] = []
    best, place = "", 0
    for position, name in enumerate(sorted(names, key=lambda one: -means[one]), start=1):
        interval = comparison.paired(best, name, "utility")["interval_95"] if best else None
        if interval is None or interval[0] > 0:
            best, place, interval = name, position, None
        ranked.append(Ranked(place, name, means[name], interval))
    return ranked
