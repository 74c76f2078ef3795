"""What the live dashboard shows: the last hour of the decision log, as JSON for `ipa_rl/sidecar/page`.

It knows the entries of the decision log and nothing else of the controller or its cluster.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

import ipa_rl
from ipa_rl.environment.definition import Definition
from ipa_rl.sidecar.decision_log import Entry, loggable
from ipa_rl.sidecar.explain import kind_of, reason_in_words
from ipa_rl.sidecar.orders import Orders

HOUR_MS = 3_600_000
RECENT_POINTS = 360
"""The newest steps are all kept; of those before, for the rest of the hour, one every ten seconds."""
COARSE_MS = 10_000
ROWS = 200
"""Rows of the log that are kept; steps in which nothing new happened share one."""

Point: TypeAlias = tuple[float | None, ...]

_CONTENDERS = ("present", "program", "agent")
_FIGURES = ("pas_x100", "cores", "p99_s", "violations", "utility")
COLUMNS = (
    "load_rps", "planned_rps", "forecast_rps", "latency_p99_s",
    *(f"{who}_{figure}" for who in _CONTENDERS for figure in _FIGURES),
)  # fmt: skip
"""Figures of every step, null where they are not known. Those of contenders are simulated: see Shadow."""


class Dashboard:
    """An EntryLog that keeps one hour in bounded memory. Written by the loop, read by any thread.

    ``about``: what does not change, see `about`. ``pressable``: whether there are buttons.
    """

    def __init__(self, about: Entry, orders: Orders, pressable: bool) -> None:
        self._about, self._orders, self._pressable = about, orders, pressable
        self._run = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._written = 0
        self._last: Entry | None = None
        self._failed: Entry | None = None
        self._recent: deque[tuple[int, Point]] = deque(maxlen=RECENT_POINTS)
        self._coarse: deque[tuple[int, Point]] = deque(maxlen=HOUR_MS // COARSE_MS)
        self._rows: deque[dict[str, Any]] = deque(maxlen=ROWS)
        self._hour: tuple[str, bytes] = ("", b"")

    def write(self, entry: Entry) -> None:
        """One step, made or failed."""
        entry = loggable(entry)
        with self._lock:
            self._written += 1
            self._failed = entry if "failed" in entry else None
            self._last = self._last if self._failed else entry
            at_ms = round(datetime.fromisoformat(entry["time"]).timestamp() * 1000)
            self._keep(at_ms, _point(entry))
            self._note(_row(entry))

    def content(self, have: str = "") -> bytes:
        """The page's JSON, without the hour where ``have``, the last ``tag`` seen, is still the same."""
        with self._lock:
            tag = f"{self._run}-{self._written}"
            if self._hour[0] != tag:
                shown: Entry = {"about": self._about, "last": self._last, "failed": self._failed}
                lists = {"series": self._series(), "log": list(reversed(self._rows))}
                self._hour = (tag, _json({**shown, **lists}))
            hour = self._hour[1]
        order = self._orders.current
        now = {
            "tag": tag,
            "time_ms": round(time.time() * 1000),
            "buttons": self._pressable,
            "order": asdict(order) if order else None,
        }
        return b'{"now":%b,"hour":%b}' % (_json(now), b"null" if have == tag else hour)

    def _keep(self, at_ms: int, point: Point) -> None:
        if self._recent and at_ms < self._recent[-1][0]:  # the clock was set back
            self._recent.clear()
            self._coarse.clear()
        self._recent.append((at_ms, point))
        if not self._coarse or at_ms - self._coarse[-1][0] >= COARSE_MS:
            self._coarse.append((at_ms, point))

    def _note(self, row: dict[str, Any]) -> None:
        """Add a row, or prolong the last one where nothing else has happened."""
        before = self._rows[-1] if self._rows else None
        written = row.get("acted") and row["changes"]  # else the same again is no news
        if before is not None and not written and _sameness(before) == _sameness(row):
            row |= {"since": before["since"], "count": before["count"] + 1}
            self._rows.pop()
        self._rows.append(row)

    def _series(self) -> dict[str, Sequence[float | None]]:
        """Column by column, oldest first."""
        if not self._recent:
            return {"time_ms": [], **{name: [] for name in COLUMNS}}
        first, last = self._recent[0][0], self._recent[-1][0]
        points = chain((one for one in self._coarse if one[0] < first), self._recent)
        kept = [one for one in points if one[0] >= last - HOUR_MS]
        columns = zip(*(point for _, point in kept), strict=True)
        return {"time_ms": [at_ms for at_ms, _ in kept], **dict(zip(COLUMNS, columns, strict=True))}


def about(definition: Definition, agent: str, interval_s: float) -> dict[str, Any]:
    """What the page says of the pipeline and its controller that does not change."""
    shown, graph = ("name", "accuracy", "units", "resource"), definition.pipeline.graph
    stages = [
        {
            "name": stage.name,
            "depth": graph.depths[s],
            "comes": graph.told(s),
            "variants": [{key: getattr(one, key) for key in shown} for one in stage.variants],
        }
        for s, stage in enumerate(definition.pipeline.stages)
    ]
    return {
        "environment": definition.name,
        "agent": agent,
        "version": ipa_rl.__version__,
        "interval_s": interval_s,
        "sla_s": definition.problem.sla_s,
        "stages": stages,
    }


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")


def _point(entry: Entry) -> Point:
    """One value a column."""
    if "failed" in entry:
        return (None,) * len(COLUMNS)
    accounts = (entry.get("shadow") or {}).get("accounts", {})
    contenders = (accounts.get(who, {}).get(figure) for who in _CONTENDERS for figure in _FIGURES)
    seen = (entry[name] for name in ("load_rps", "planned_rps", "forecast_rps", "latency_p99_s"))
    return (*seen, *contenders)


def _row(entry: Entry) -> dict[str, Any]:
    """A line of the log: what happened and why."""
    row = {"since": entry["time"], "until": entry["time"], "count": 1}
    if "failed" in entry:
        return row | {"failed": entry["failed"], "reason": entry["problem"]}
    names = ("step", "mode", "by", "fallback", "acted", "why_not", "guard", "changes", "waiting", "refused")
    return row | {name: entry[name] for name in names} | {"reason": reason_in_words(entry)}


def _sameness(row: Entry) -> tuple[Any, ...]:
    """Rows that agree in this tell the same; figures within a reason may differ."""
    if "failed" in row:
        return row["failed"], row["reason"]
    told = (row["mode"], row["by"], kind_of(row["fallback"]), row["why_not"])
    return (*told, row["changes"], row["waiting"], row["refused"], bool(row["guard"]))
