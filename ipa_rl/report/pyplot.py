"""matplotlib as all pictures use it: to files only, open frames, one legend below."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipa_rl.errors import MissingExtraError


def load_pyplot() -> Any:
    """pyplot, drawing to files only. Raises MissingExtraError where matplotlib is not installed."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # without a home it keeps its fonts for this process alone, and advises
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    finally:
        log.setLevel(level)
    return pyplot


def literal(text: str) -> str:
    """Text that matplotlib shows as it is, where it would read dollar signs as mathematics."""
    return text.replace("$", r"\$")


def title(axis: Any, text: str) -> None:
    """At the left; the frame is open above and at the right."""
    axis.set_title(text, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Any, axes: Sequence[Any], columns: int) -> None:
    """One legend below all axes, each label once."""
    lines = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        lines.values(), lines.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def save(figure: Any, path: Path, dpi: int = 110) -> None:
    """Write a figure to a file, and forget it."""
    figure.savefig(path, dpi=dpi)
    load_pyplot().close(figure)


def label_logarithmic(axis: Any) -> None:
    """Numbers at a logarithmic axis, three at least, whatever part of a decade it shows."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    ticks = [tick for tick in LogLocator(subs=(1, 2, 5)).tick_values(low, high) if low <= tick <= high]
    if len(ticks) < 3:
        even = MaxNLocator(5, min_n_ticks=3).tick_values(low, high)
        ticks = [tick for tick in even if max(low, 1e-12) <= tick <= high]
    axis.set_ticks(ticks)
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
