"""How many jumps of the load come at the same time of the hour, on the train part.

A jump: within 25 s the load exceeds so many times the maximum of the last 30 s. Prints, for several factors,
how many seconds there are before one, and how many of them lie in the four minutes that hold most.
"""

from __future__ import annotations

import numpy as np

from ipa_rl.workload.clock import REFERENCE_STEPS
from ipa_rl.workload.steps import HISTORY_STEPS, maxima_ahead
from ipa_rl.workload.workload import load_workload

AHEAD_S, LEAST_RPS, MINUTE_S, HOUR_S = 25, 4, 60, 3600
FACTORS = (1.2, 1.4, 1.6, 2.0)


def main() -> None:
    """Print one line a factor."""
    twitter = load_workload("twitter")
    at, loads = twitter.starts("train", AHEAD_S, HISTORY_STEPS), twitter.loads
    recent = maxima_ahead(loads, at - REFERENCE_STEPS, REFERENCE_STEPS, 1)
    ahead = maxima_ahead(loads, at, AHEAD_S, 1)
    print(f"{'jump':>5} {'seconds':>8} {'share in four minutes':>22}  the minutes of the hour")
    for factor in FACTORS:
        jumps = at[(ahead > factor * recent) & (recent >= LEAST_RPS)]
        minutes = np.bincount(jumps % HOUR_S // MINUTE_S, minlength=HOUR_S // MINUTE_S)
        four = np.sort(np.argsort(-minutes)[:4])
        share = minutes[four].sum() / len(jumps)
        print(f"{factor:5.1f} {len(jumps):8d} {share:22.2f}  {', '.join(map(str, four))}")


if __name__ == "__main__":
    main()
