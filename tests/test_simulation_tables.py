"""What the compiled loops know of a pipeline."""

from __future__ import annotations

import numpy as np

from ipa_rl.simulation import FluidSimulator
from ipa_rl.simulation.tables import build_variants, starting_as_seen
from ipa_rl.simulation.transitions import start
from tests.scenarios import VIDEO


def test_start_ups_take_as_many_times_longer_as_those_that_are_under_way() -> None:
    simulator = FluidSimulator(VIDEO.problem, VIDEO.timing)
    simulator.reset(0, VIDEO.rows_for(8.0))
    fleet, variants = simulator.fleet[0], build_variants(VIDEO.problem, VIDEO.timing)
    assert starting_as_seen(variants, fleet) is variants
    usual_s = variants["start_up_s"][1, fleet["target"][1]]
    start(fleet[1], 1, 0.5 * usual_s)
    assert starting_as_seen(variants, fleet) is variants
    start(fleet[1], 1, 3.0 * usual_s)
    np.testing.assert_allclose(starting_as_seen(variants, fleet)["start_up_s"], 3.0 * variants["start_up_s"])
    start(fleet[0], 1, 1e12)  # stuck
    np.testing.assert_allclose(starting_as_seen(variants, fleet)["start_up_s"], 3.0 * variants["start_up_s"])
