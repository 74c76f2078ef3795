"""The live view: a panel that stays in place, or a line an interval where there is no terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ipa_rl.consoles import plain_console
from ipa_rl.demo.digits.load import SERVED, Asked
from ipa_rl.demo.replicas import Sample
from ipa_rl.demo.settings import INTERVAL_S
from ipa_rl.jit import IntArray

WIDTH = 78
_BLOCKS = " ▁▂▃▄▅▆▇█"
_RECENT_S = 10.0


@dataclass(frozen=True)
class Now:
    """A turn as it is now.

    ``passed_s``: of the window's ``seconds``, negative before it. ``arrivals``: of each second of the window.
    ``planned_rps``: None where nobody plans. ``stages``: their newest samples; ``paid``: replicas paid for.
    ``told``: requests of the window that have ended.
    """

    controller: str
    run: int
    runs: int
    seconds: int
    passed_s: float
    arrivals: IntArray
    planned_rps: float | None
    stages: Sequence[Sample]
    paid: int
    told: Sequence[Asked]
    sla_s: float

    @property
    def load_rps(self) -> float:
        """Mean of the last interval; NaN before the window."""
        end = int(min(self.passed_s, self.seconds))
        recent = self.arrivals[max(end - INTERVAL_S, 0) : max(end, 0)]
        return float(recent.mean()) if len(recent) else math.nan

    def recent(self) -> list[Asked]:
        """Requests that ended lately."""
        since_s = self.passed_s - _RECENT_S
        return [one for one in self.told if one.due_s + one.latency_s >= since_s]


class View(Protocol):
    """Is shown a turn, again and again."""

    def show(self, now: Now) -> None:
        """What is known now."""
        ...

    def ended(self, row: Sequence[str]) -> None:
        """A turn is over; ``row``: controller, utility, PAS, cores, violations, mean and p99 latency."""
        ...


class Lines:
    """A line an interval on stderr."""

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._told_s = float("-inf")

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, now: Now) -> None:
        """One line, once an interval."""
        if 0 <= now.passed_s - self._told_s < INTERVAL_S:
            return
        self._told_s = now.passed_s
        self._console.print(line(now), soft_wrap=True)

    def ended(self, row: Sequence[str]) -> None:
        """The figures in one line."""
        names = ("", "utility", "PAS", "cores", "violations %", "mean s", "p99 s")
        pairs = [f"{name} {value}".strip() for name, value in zip(names, row, strict=True)]
        self._console.print(", ".join(pairs), soft_wrap=True)


class Screen:
    """A panel that is drawn anew in place."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or plain_console(stderr=True), refresh_per_second=4)
        self._ended: list[Sequence[str]] = []

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave what was drawn last."""
        self._live.stop()

    def show(self, now: Now) -> None:
        """The panel, and what has ended before below it."""
        self._live.update(Group(panel(now), *self._table()))

    def ended(self, row: Sequence[str]) -> None:
        """One row more; the panel goes."""
        self._ended.append(row)
        self._live.update(Group(*self._table()))

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


def make_view() -> Screen | Lines:
    """The panel on a terminal, lines elsewhere."""
    return Screen() if plain_console(stderr=True).is_terminal else Lines()


def line(now: Now) -> str:
    """A turn in one line."""
    stages = " | ".join(f"{one.variant} b{one.batch} x{one.ready}" for one in now.stages)
    latency = _latency(now.recent())
    return (
        f"{now.controller} {_clock(now)}: load {_load(now)} rps, planned {_planned(now)}, {stages}, "
        f"{latency}, PAS {_pas(now.told)}, cores {now.paid}, violated {_violated(now):.1f} %"
    )


def panel(now: Now) -> Panel:
    """A turn as a panel of WIDTH columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", width=9)
    grid.add_column(no_wrap=True)
    grid.add_row("load", f"{_load(now):>5} requests/s, planned for {_planned(now)}")
    grid.add_row("", Text(_course(now), style="cyan"))
    for one in now.stages:
        grid.add_row(one.stage, _stage(one))
    grid.add_row("latency", f"{_latency(now.recent())} (SLA {now.sla_s:g} s)")
    grid.add_row("PAS", f"{_pas(now.told)} by the labels of {len(now.told)} requests")
    grid.add_row("cost", f"{now.paid} cores, {_violated(now):.1f} % violated")
    title = f"{now.controller}, run {now.run} of {now.runs}, {_clock(now)}"
    return Panel(grid, title=title, title_align="left", width=WIDTH)


def _clock(now: Now) -> str:
    if now.passed_s < 0:
        return f"begins in {-now.passed_s:.0f} s"
    return f"{min(now.passed_s, now.seconds):.0f} of {now.seconds} s"


def _load(now: Now) -> str:
    return "-" if math.isnan(now.load_rps) else f"{now.load_rps:.1f}"


def _planned(now: Now) -> str:
    return "-" if now.planned_rps is None else f"{now.planned_rps:.1f}"


def _stage(one: Sample) -> Text:
    starting = one.paid - one.ready
    text = Text(f"{one.variant:<9} batch {one.batch}  ")
    text.append("■" * one.ready, style="green")
    text.append("□" * starting, style="yellow")
    text.append(f" {one.ready} ready" + (f", {starting} starting" if starting else ""))
    return text


def _course(now: Now) -> str:
    """Loads of the seconds that have passed, a block each; as many as fit."""
    passed = now.arrivals[: max(int(min(now.passed_s, now.seconds)), 0)]
    shown = passed[-(WIDTH - 18) :]
    top = max(int(now.arrivals.max()), 1)
    return "".join(_BLOCKS[round(one / top * (len(_BLOCKS) - 1))] for one in shown.tolist())


def _latency(recent: Sequence[Asked]) -> str:
    served = [one.latency_s for one in recent if one.outcome == SERVED]
    if not served:
        return "no answer yet"
    return f"mean {np.mean(served):.2f} s, p99 {np.quantile(served, 0.99):.2f} s"


def _pas(told: Sequence[Asked]) -> str:
    served = [one for one in told if one.outcome == SERVED]
    return f"{100 * np.mean([one.right for one in served]):.1f}" if served else "-"


def _violated(now: Now) -> float:
    late = sum(one.outcome != SERVED or one.latency_s > now.sla_s for one in now.told)
    return 100.0 * late / len(now.told) if now.told else 0.0
