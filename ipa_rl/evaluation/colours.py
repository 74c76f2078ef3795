"""One colour a controller, in every picture and page."""

from __future__ import annotations

from collections.abc import Sequence

_FIXED = {
    "ppo": "#0b84b5",
    "hpa": "#3d5a80",
    "fa2-low": "#edae49",
    "fa2-high": "#8f6fc0",
    "rim": "#6a994e",
    "static": "#b08968",
}
_PROGRAM, _LOOK_AHEAD, _FORESEES = "#d1495b", "#e58a3c", "#14a38b"
OTHER = "#bbbbbb"

VARIANTS = (
    "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#997700",
)  # fmt: skip
"""Variants of one stage, least accurate first (Paul Tol's bright scheme, fit for colour-blind eyes)."""


def controller_colour(name: str, others: Sequence[str] = ()) -> str:
    """Its own, that of the integer program, or grey for ``others``, which stay in the background."""
    if name in others:
        return OTHER
    if "perfect" in name:
        return _FORESEES
    return _FIXED.get(name, _LOOK_AHEAD if name.startswith("look-ahead") else _PROGRAM)
