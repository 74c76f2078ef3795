"""How faithful loads from scraped counters are: raw samples against rate() over a window, each second.

A counter counts the paper's bursty window (Poisson within the seconds) and is sampled as Prometheus would.
Prints, by scrape interval and way: the mean error of a second's load over the last 120 s, and of the mean of
the last 10 s, both in requests a second.
"""

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.live.counter_load import measure
from ipa_rl.live.counters import Series, filled
from ipa_rl.workload.times import times_within
from ipa_rl.workload.workload import load_workload

HISTORY_STEPS = 120


def prometheus_rate(times_s: FloatArray, values: FloatArray, now_s: float, window_s: float) -> float:
    """``rate()`` as Prometheus computes it, extrapolation included; NaN for fewer than two samples."""
    inside = (times_s > now_s - window_s) & (times_s <= now_s)
    times_s, values = times_s[inside], values[inside]
    if len(times_s) < 2:
        return float("nan")
    gained, span_s = values[-1] - values[0], times_s[-1] - times_s[0]
    usual_s = span_s / (len(times_s) - 1)
    ends_s = (times_s[0] - (now_s - window_s), now_s - times_s[-1])
    extended_s = span_s + sum(end if end < 1.1 * usual_s else usual_s / 2 for end in ends_s)
    return float(gained * extended_s / span_s / window_s)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    arrivals = load_workload("twitter").named_window("bursty", 0).arrivals
    times_s = times_within(arrivals, rng)
    print(f"{'scrape':>8} {'way':>10} {'a second':>10} {'last 10 s':>10}")
    for scrape_s in (1, 5, 15):
        sampled_s = np.arange(rng.random() * scrape_s, len(arrivals), scrape_s)
        values = np.searchsorted(times_s, sampled_s).astype(np.float64)
        errors: dict[str, list[tuple[float, float]]] = {}
        for now in range(200, len(arrivals) - 1, 7):
            true = arrivals[now - HISTORY_STEPS : now]
            seen = sampled_s <= now
            histories = {
                "samples": measure([Series(sampled_s[seen], values[seen])], now, HISTORY_STEPS).loads_rps
            }
            for window_s in (max(2 * scrape_s, 2), 4 * scrape_s):
                steps = range(now - HISTORY_STEPS + 1, now + 1)
                rates = [prometheus_rate(sampled_s[seen], values[seen], at, window_s) for at in steps]
                histories[f"rate[{window_s}s]"] = np.array(rates)
            for way, history in histories.items():
                loads = filled(history)
                error = np.abs(loads - true).mean(), abs(loads[-10:].mean() - true[-10:].mean())
                errors.setdefault(way, []).append((float(error[0]), float(error[1])))
        for way, pairs in errors.items():
            second, newest = np.mean(pairs, axis=0)
            print(f"{scrape_s:>6} s {way:>10} {second:>10.2f} {newest:>10.2f}")


if __name__ == "__main__":
    main()
