"""The live view: a panel that stays in place, or a line an interval where there is no terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipa_rl.consoles import plain_console
from ipa_rl.demo.application import Sample
from ipa_rl.demo.digits.load import SERVED, DigitRequest
from ipa_rl.demo.settings import INTERVAL_S
from ipa_rl.jit import IntArray

WIDTH = 78
_BLOCKS = " ▁▂▃▄▅▆▇█"
_RECENT_S = 10.0


@dataclass(frozen=True)
class Moment:
    """A turn as it is now.

    ``arrivals``: of each second of the window. ``passed_s``: of these, negative before it. ``planned_rps``:
    None where nobody plans. ``stages``: their newest samples. ``told``: requests that have ended.
    """

    controller: str
    run: int
    runs: int
    arrivals: IntArray
    sla_s: float
    passed_s: float = 0.0
    planned_rps: float | None = None
    stages: Sequence[Sample] = ()
    told: Sequence[DigitRequest] = ()

    def passed(self) -> IntArray:
        """Arrivals of the seconds that have passed."""
        return self.arrivals[: max(math.floor(self.passed_s), 0)]


class View:
    """On a terminal a panel that is redrawn in place, elsewhere a line an interval, both on stderr."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4)
        self._told_s = float("-inf")
        self._ended: list[Sequence[str]] = []

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was drawn last."""
        if self._live is not None:
            self._live.stop()

    def show(self, now: Moment) -> None:
        """What is known now: the panel, and below it what has ended before; or a line, once an interval."""
        if self._live is not None:
            self._live.update(Group(panel(now), *self._table()))
        elif not 0 <= now.passed_s - self._told_s < INTERVAL_S:
            self._told_s = now.passed_s
            self._console.print(line(now), soft_wrap=True)

    def ended(self, row: Sequence[str]) -> None:
        """A turn is over; ``row``: controller, utility, PAS, cores, violations, mean and p99 latency."""
        self._ended.append(row)
        if self._live is not None:
            self._live.update(Group(*self._table()))
            return
        names = ("", "utility", "PAS", "cores", "violations %", "mean s", "p99 s")
        pairs = [f"{name} {value}".strip() for name, value in zip(names, row, strict=True)]
        self._console.print(", ".join(pairs), soft_wrap=True)

    def _table(self) -> list[RenderableType]:
        if not self._ended:
            return []
        table = Table(box=None, pad_edge=False, width=WIDTH)
        table.add_column("served so far")
        for name in ("utility", "PAS", "cores", "viol. %", "mean s", "p99 s"):
            table.add_column(name, justify="right")
        for row in self._ended:
            table.add_row(*row)
        return [table]


def _words(now: Moment) -> dict[str, str]:
    """Its figures as line and panel show them: means of the last interval, latencies of the last seconds."""
    latest = now.passed()[-INTERVAL_S:]
    served = [one for one in now.told if one.outcome == SERVED]
    since_s = now.passed_s - _RECENT_S
    recent_s = [one.latency_s for one in served if one.due_s + one.latency_s >= since_s]
    latency = "no answer yet"
    if recent_s:
        latency = f"mean {np.mean(recent_s):.2f} s, p99 {np.quantile(recent_s, 0.99):.2f} s"
    late = len(now.told) - sum(one.latency_s <= now.sla_s for one in served)
    seconds = len(now.arrivals)
    clock = f"{min(now.passed_s, seconds):.0f} of {seconds} s"
    return {
        "clock": clock if now.passed_s >= 0 else f"begins in {-now.passed_s:.0f} s",
        "load": f"{latest.mean():.1f}" if len(latest) else "-",
        "planned": "-" if now.planned_rps is None else f"{now.planned_rps:.1f}",
        "latency": latency,
        "pas": f"{100 * np.mean([one.right for one in served]):.1f}" if served else "-",
        "cores": f"{sum(one.paid for one in now.stages)}",
        "violated": f"{100.0 * late / max(len(now.told), 1):.1f} %",
    }


def line(now: Moment) -> str:
    """A turn in one line."""
    stages = " | ".join(f"{one.variant} b{one.batch} x{one.ready}" for one in now.stages)
    words = _words(now)
    return (
        f"{now.controller} {words['clock']}: load {words['load']} rps, planned {words['planned']}, {stages}, "
        f"{words['latency']}, PAS {words['pas']}, cores {words['cores']}, violated {words['violated']}"
    )


def panel(now: Moment) -> Panel:
    """A turn as a panel of WIDTH columns."""
    words, grid = _words(now), Table.grid(padding=(0, 2))
    grid.add_column(style="dim", width=9)
    grid.add_column(no_wrap=True)
    grid.add_row("load", f"{words['load']:>5} requests/s, planned for {words['planned']}")
    top = max(int(now.arrivals.max()), 1)
    shown = now.passed()[-(WIDTH - 18) :].tolist()  # a block a second, as many as fit
    grid.add_row("", Text("".join(_BLOCKS[round(one / top * (len(_BLOCKS) - 1))] for one in shown), "cyan"))
    for one in now.stages:
        grid.add_row(one.stage, _stage(one))
    grid.add_row("latency", f"{words['latency']} (SLA {now.sla_s:g} s)")
    grid.add_row("PAS", f"{words['pas']} by the labels of {len(now.told)} requests")
    grid.add_row("cost", f"{words['cores']} cores, {words['violated']} violated")
    title = f"{now.controller}, run {now.run} of {now.runs}, {words['clock']}"
    return Panel(grid, title=title, title_align="left", width=WIDTH)


def _stage(one: Sample) -> Text:
    starting = one.paid - one.ready
    text = Text(f"{one.variant:<9} batch {one.batch}  ")
    text.append("■" * one.ready, style="green")
    text.append("□" * starting, style="yellow")
    text.append(f" {one.ready} ready" + (f", {starting} starting" if starting else ""))
    return text
