"""One target that is scraped more than once: by two jobs, by a pair of Prometheus, by a federation.

Its requests stand there under several sets of labels, and are to be counted once. Labels that say how
something was scraped do not tell targets apart; the address does. Values alone do not prove it: two pods
behind an even balancer count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ipa_rl.live.counters import Series

_EXPORTED = "exported_"
"""What Prometheus puts before a label of the target that its own of that name hides."""

_OF_THE_SCRAPE = frozenset(
    {
        "job", "endpoint", "service", "scrape_job", "metrics_path", "monitor", "receive", "tenant_id",
        "prometheus", "prometheus_replica", "replica", "__replica__",
    }
)  # fmt: skip
"""Labels of who scraped, and by which configuration; not of what was scraped."""


def distinct(found: Sequence[Series]) -> list[Series]:
    """The series with those of one target made one, which has the samples of all its copies."""
    scrapes = {_scrape(one.labels) for one in found}
    if len(scrapes) < 2:
        return list(found)
    by_address: dict[str | None, list[Series]] = {}
    for one in found:
        beside = by_address.setdefault(_of_the_target(one.labels).get("instance"), [])
        twin = next((k for k, other in enumerate(beside) if _same(one, other)), None)
        if twin is None:
            beside.append(one)
        else:
            beside[twin] = _joined(beside[twin], one)
    return [one for beside in by_address.values() for one in beside]


def _scrape(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, value)
        for name, value in labels.items()
        if name in _OF_THE_SCRAPE or name.startswith(_EXPORTED)
    )


def _same(one: Series, other: Series) -> bool:
    """Whether both, of one address or of none, are the same counter of the same target."""
    if one.labels == other.labels or _scrape(one.labels) == _scrape(other.labels):
        return False
    first, second = _of_the_target(one.labels), _of_the_target(other.labels)
    if any(first[name] != second[name] for name in first.keys() & second.keys()):
        return False
    if "instance" not in first and first.keys() != second.keys():
        return False
    return _alike(one, other)


def _of_the_target(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as the target's own scrape would have them, without those of the scrape."""
    exported = {
        name.removeprefix(_EXPORTED): value for name, value in labels.items() if name.startswith(_EXPORTED)
    }
    own = {name: value for name, value in labels.items() if not name.startswith(_EXPORTED)}
    return {name: value for name, value in (own | exported).items() if name not in _OF_THE_SCRAPE}


def _alike(one: Series, other: Series) -> bool:
    """Whether the values are those of one counter that was read at different times."""
    inside = (one.times_s >= other.times_s[0]) & (one.times_s <= other.times_s[-1])
    if not inside.any():
        return True  # one goes on where the other ends: nothing speaks against it
    apart = np.abs(one.values[inside] - np.interp(one.times_s[inside], other.times_s, other.values))
    usual = max(float(np.diff(series.values).max(initial=0.0)) for series in (one, other))
    return bool(np.median(apart) <= usual)


def _joined(one: Series, other: Series) -> Series:
    """The one with the newer samples, and the other's samples of before and after."""
    first, second = (one, other) if one.times_s[-1] >= other.times_s[-1] else (other, one)
    more = (second.times_s < first.times_s[0]) | (second.times_s > first.times_s[-1])
    times = np.concatenate([first.times_s, second.times_s[more]])
    values = np.concatenate([first.values, second.values[more]])
    order = np.argsort(times)
    return Series(times[order], values[order], first.labels)
