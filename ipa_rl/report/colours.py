"""How controllers and variants look in pictures and pages: never two of one picture alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.pipeline import Pipeline

_FIXED = {
    "ppo": "#0b84b5",
    "fine-tuned": "#0b84b5",
    "universal": "#5f7f9f",
    "hpa": "#3d5a80",
    "fa2-low": "#edae49",
    "fa2-high": "#8f6fc0",
    "rim": "#6a994e",
    "static": "#b08968",
}
_PROGRAM, _FORESEES = "#d1495b", "#14a38b"
SLA, LOAD = "#cc3311", "#999999"
WORKLOAD, GAP = "#0b84b5", "#808080"
PART_COLOURS = {"train": "#4477aa", "validation": "#cc8800", "test": "#228833"}
OTHERS = ("#d1495b", "#6a994e", "#edae49", "#8f6fc0", "#b08968", "#14a38b", "#aa3377", "#997700")
"""Lines of other workloads beside one."""
_VARIANTS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#997700")
"""Paul Tol's bright scheme, fit for colour-blind eyes."""

_DASHES = ("dash", "dot", "dashdot", "longdash", "solid")
_SYMBOLS = ("square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star")
_PATTERNS = ("", "/", "x", ".", "-", "|", "\\", "+")
_PLAIN_VARIANTS = 10
"""So many variants are told apart by colour alone; further ones have patterns as well."""


@dataclass(frozen=True)
class Style:
    """Of a controller: colour, dash of its lines, symbol of its points, by plotly's names."""

    colour: str
    dash: str = "solid"
    symbol: str = "circle"


@dataclass(frozen=True)
class Fill:
    """Of a variant: colour, and pattern by plotly's names, empty for none."""

    colour: str
    pattern: str = ""


def controller_styles(names: Sequence[str], program: str) -> dict[str, Style]:
    """A style for each controller; ``program``: the integer program that pictures begin with.

    Those that every comparison holds look the same in all of them; the others are told apart by colour, dash
    and symbol.
    """
    foresees = next((name for name in names if name.startswith("ip perfect")), "")
    fixed = {**_FIXED, program: _PROGRAM, foresees: _FORESEES}
    others = [name for name in names if name not in fixed]
    colours = distinct_colours(len(others), (*fixed.values(), SLA, LOAD))
    styles = {name: Style(fixed[name]) for name in names if name in fixed}
    for k, (name, colour) in enumerate(zip(others, colours, strict=True)):
        styles[name] = Style(colour, _DASHES[k % len(_DASHES)], _SYMBOLS[k % len(_SYMBOLS)])
    return {name: styles[name] for name in names}


def variant_fills(pipeline: Pipeline) -> list[list[Fill]]:
    """A fill for each variant of each stage."""
    counts = [len(stage.variants) for stage in pipeline.stages]
    total = sum(counts)
    colours = [*_VARIANTS, *distinct_colours(max(total - len(_VARIANTS), 0), _VARIANTS)][:total]
    patterns = (_PATTERNS[k // _PLAIN_VARIANTS % len(_PATTERNS)] for k in range(total))
    fills = map(Fill, colours, patterns)
    return [list(islice(fills, count)) for count in counts]


@lru_cache(maxsize=16)
def distinct_colours(count: int, taken: tuple[str, ...]) -> tuple[str, ...]:
    """So many colours, as far as can be from each other and from those that are taken, to the eye.

    One after the other the farthest in OKLab, among colours that can be seen on white and on black.
    """
    candidates = _candidates(hues=max(72, count))
    lab = oklab(candidates)
    nearest = np.full(len(lab), np.inf)
    rgb = [list(bytes.fromhex(colour.removeprefix("#"))) for colour in taken]
    for one in oklab(np.array(rgb).reshape(-1, 3) / 255):
        nearest = np.minimum(nearest, np.linalg.norm(lab - one, axis=1))
    found = []
    for _ in range(count):
        k = int(nearest.argmax())
        found.append("#" + "".join(f"{round(255 * value):02x}" for value in candidates[k].tolist()))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[k], axis=1))
    return tuple(found)


def _candidates(hues: int) -> FloatArray:
    """sRGB colours (candidates, 3) of medium lightness."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.45, 0.8, 8),
        np.linspace(0.05, 0.2, 5),
        np.linspace(0, 2 * np.pi, hues, endpoint=False),
        indexing="ij",
    )
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1).reshape(-1, 3)
    cubed = (lab @ _FROM_LAB.T) ** 3
    linear = cubed @ _FROM_CONES.T
    shown = linear[((linear >= 0) & (linear <= 1)).all(axis=1)]
    return np.asarray(np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055))


def oklab(colours: FloatArray) -> FloatArray:
    """sRGB colours (n, 3) in OKLab (Ottosson, 2020), where distances are as the eye sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(linear @ np.linalg.inv(_FROM_CONES).T)
    return np.asarray(cones @ np.linalg.inv(_FROM_LAB).T)


_FROM_LAB = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_FROM_CONES = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
