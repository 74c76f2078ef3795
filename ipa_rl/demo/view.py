"""The live view: a panel that stays in place, or a line an interval where there is no terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipa_rl.consoles import plain_console
from ipa_rl.demo.digits.load import SERVED, DigitRequest
from ipa_rl.demo.replicas import Sample
from ipa_rl.demo.settings import INTERVAL_S
from ipa_rl.jit import IntArray

WIDTH = 78
_BLOCKS = " ▁▂▃▄▅▆▇█"
_RECENT_S = 10.0


@dataclass(frozen=True)
class Moment:
    """A turn as it is now, and how its figures are written.

    ``passed_s``: of the window's ``seconds``, negative before it. ``arrivals``: of each second of the window.
    ``planned_rps``: None where nobody plans. ``stages``: their newest samples. ``told``: requests of the
    window that have ended.
    """

    controller: str
    run: int
    runs: int
    seconds: int
    passed_s: float
    arrivals: IntArray
    planned_rps: float | None
    stages: Sequence[Sample]
    told: Sequence[DigitRequest]
    sla_s: float

    @property
    def cores(self) -> int:
        """Replicas paid for, of one core each."""
        return sum(one.paid for one in self.stages)

    @property
    def clock(self) -> str:
        """Where in the window it is."""
        if self.passed_s < 0:
            return f"begins in {-self.passed_s:.0f} s"
        return f"{min(self.passed_s, self.seconds):.0f} of {self.seconds} s"

    @property
    def load(self) -> str:
        """Mean of the last interval, requests/s."""
        recent = self.passed()[-INTERVAL_S:]
        return f"{recent.mean():.1f}" if len(recent) else "-"

    @property
    def planned(self) -> str:
        """The load that is planned for."""
        return "-" if self.planned_rps is None else f"{self.planned_rps:.1f}"

    @property
    def latency(self) -> str:
        """Of requests that ended lately."""
        since_s = self.passed_s - _RECENT_S
        served = [
            one.latency_s
            for one in self.told
            if one.outcome == SERVED and one.due_s + one.latency_s >= since_s
        ]
        if not served:
            return "no answer yet"
        return f"mean {np.mean(served):.2f} s, p99 {np.quantile(served, 0.99):.2f} s"

    @property
    def pas(self) -> str:
        """PAS x 100 by the labels."""
        served = [one.right for one in self.told if one.outcome == SERVED]
        return f"{100 * np.mean(served):.1f}" if served else "-"

    @property
    def violated(self) -> str:
        """Requests that were not served within the SLA."""
        late = sum(one.outcome != SERVED or one.latency_s > self.sla_s for one in self.told)
        return f"{100.0 * late / max(len(self.told), 1):.1f} %"

    def passed(self) -> IntArray:
        """Arrivals of the seconds that have passed."""
        return self.arrivals[: max(math.floor(min(self.passed_s, self.seconds)), 0)]


class View:
    """On a terminal a panel that is drawn anew in place, elsewhere a line an interval, both on stderr."""

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


def line(now: Moment) -> str:
    """A turn in one line."""
    stages = " | ".join(f"{one.variant} b{one.batch} x{one.ready}" for one in now.stages)
    return (
        f"{now.controller} {now.clock}: load {now.load} rps, planned {now.planned}, {stages}, "
        f"{now.latency}, PAS {now.pas}, cores {now.cores}, violated {now.violated}"
    )


def panel(now: Moment) -> Panel:
    """A turn as a panel of WIDTH columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", width=9)
    grid.add_column(no_wrap=True)
    grid.add_row("load", f"{now.load:>5} requests/s, planned for {now.planned}")
    top = max(int(now.arrivals.max()), 1)
    shown = now.passed()[-(WIDTH - 18) :].tolist()  # a block a second, as many as fit
    grid.add_row("", Text("".join(_BLOCKS[round(one / top * (len(_BLOCKS) - 1))] for one in shown), "cyan"))
    for one in now.stages:
        grid.add_row(one.stage, _stage(one))
    grid.add_row("latency", f"{now.latency} (SLA {now.sla_s:g} s)")
    grid.add_row("PAS", f"{now.pas} by the labels of {len(now.told)} requests")
    grid.add_row("cost", f"{now.cores} cores, {now.violated} violated")
    title = f"{now.controller}, run {now.run} of {now.runs}, {now.clock}"
    return Panel(grid, title=title, title_align="left", width=WIDTH)


def _stage(one: Sample) -> Text:
    starting = one.paid - one.ready
    text = Text(f"{one.variant:<9} batch {one.batch}  ")
    text.append("■" * one.ready, style="green")
    text.append("□" * starting, style="yellow")
    text.append(f" {one.ready} ready" + (f", {starting} starting" if starting else ""))
    return text
