"""Pictures of matplotlib."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot

from ipa_rl.report.pyplot import label_logarithmic


@given(st.floats(-3, 2), st.floats(0.01, 4))
def test_a_logarithmic_axis_has_three_numbers_at_least(low: float, decades: float) -> None:
    figure, axis = pyplot.subplots()
    axis.set_yscale("log")
    axis.set_ylim(10**low, 10 ** (low + decades))
    label_logarithmic(axis.yaxis)
    shown = [tick for tick in axis.get_yticks() if 10**low <= tick <= 10 ** (low + decades)]
    pyplot.close(figure)
    assert len(shown) >= 3
