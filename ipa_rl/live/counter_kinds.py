"""Whether a metric counts requests at all: by what its server says of it, by its name, and by what it does.

A metric that does not is refused, with what to ask for instead: read as a counter, a histogram's buckets
count each request several times, and a gauge falls as if its process had restarted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from ipa_rl.live.counters import Series

_SUFFIX = re.compile(r"_(total|count|sum|bucket|created|gcount|gsum|info)$")
_RATE = re.compile(r"^(i?rate|increase|i?delta|deriv|avg|rps|qps)(\d+[a-z]+)?$")

_FALLS, _SHARE, _MOST = 3, 0.15, 0.4
"""What falls so often, and in that share of the times that it moves, is no counter; what is said to be one
and falls as after restarts only from the larger share on."""

_NO_COUNTER = ("gauge", "info", "stateset", "gaugehistogram")
_OF_MANY = ("histogram", "summary")


def refusal(series: Sequence[Series], kinds: Callable[[str], set[str]]) -> str:
    """Why these are no counters of requests, and the fix; empty where nothing speaks against them.

    ``kinds``: what a server says that a metric is, empty where it does not know.
    """
    by_name: dict[str, list[Series]] = {}
    for one in series:
        by_name.setdefault(one.labels.get("__name__", ""), []).append(one)
    for name, some in by_name.items():
        if found := _named(name, some, kinds) if name else "":
            return found
        if found := _fickle(name, some, bool(name) and "counter" in _kinds(name, kinds)):
            return found
    return ""


def _kinds(name: str, kinds: Callable[[str], set[str]]) -> set[str]:
    """Of the metric, or of the family that it is a part of."""
    return kinds(name) or kinds(_SUFFIX.sub("", name))


def _named(name: str, series: Sequence[Series], kinds: Callable[[str], set[str]]) -> str:
    """What name, labels and the server's own word say against a metric."""
    family = _SUFFIX.sub("", name)
    suffix = name.removeprefix(family)
    bounds = {one.labels["le"] for one in series if "le" in one.labels}
    own, known = kinds(name), _kinds(name, kinds)
    counts = "counter" in own
    kind = next((one for one in _NO_COUNTER if one in known), "")
    whole = next((one for one in _OF_MANY if one in own), "")
    count = f"use {family}_count"
    against = [
        (bool(bounds - {"+Inf"}), "counts each request once a bucket", count),
        (any("quantile" in one.labels for one in series), "holds quantiles of a summary", count),
        (suffix in ("_sum", "_gsum") and not counts, "adds up what was measured, not requests", count),
        (suffix == "_created" and not counts, "is the time at which a counter began", f"use {family}_total"),
        (bool(kind) and not counts, f"is a {kind}, no counter", _AS_QUERY),
        (bool(whole) and not counts, f"is a {whole}, no counter", count),
        (not known and _is_rate(name), "is a rate already, no counter", _AS_QUERY),
    ]
    return next((f"{name} {why}; fix: {fix}" for holds, why, fix in against if holds), "")


_AS_QUERY = "where its value is requests a second, give it as query, not as counter"


def _is_rate(name: str) -> bool:
    """Whether a name says so: of a recording rule (level:metric:operations), or of what a server reckons.

    >>> [_is_rate(one) for one in ("job:requests:rate5m", "requests_per_second", "rate_limited_total")]
    [True, True, False]
    """
    if name.endswith("_per_second"):
        return True
    words = name.rsplit(":", 1)[-1].split("_") if ":" in name else name.split("_")[-1:]
    return any(_RATE.match(word) for word in words)


def _fickle(name: str, series: Sequence[Series], said_to_count: bool) -> str:
    """What a metric does that no counter does: it falls again and again.

    Of one that is said to be a counter, processes that restart again and again are taken for that: then it
    falls to what was counted since.
    """
    for one in series:
        steps = np.diff(one.values)
        falls = steps < 0
        moves = int((steps != 0).sum())
        if falls.sum() < _FALLS or falls.sum() < _SHARE * moves:
            continue
        usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
        restarts = falls.sum() < _MOST * moves and (one.values[1:][falls] <= 2.0 * usual).mean() > 0.5
        if not (said_to_count and restarts):
            what = f"{name or 'the counter'} falls in {int(falls.sum())} of {len(steps)} scrapes"
            fix = "count at one address a process, or give what is no counter as query"
            return f"{what}: it is no counter, or several processes answer under one address; fix: {fix}"
    return ""
