"""The autoscaler settles at its target."""

from __future__ import annotations

import numpy as np

from ipa_rl.agents.autoscaler import Autoscaler
from ipa_rl.agents.program import cheap_variants, fixed_variants
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window
from tests.scenarios import VIDEO


def test_the_autoscaler_settles_at_its_target_and_waits_before_it_goes_down() -> None:
    low = fixed_variants(VIDEO, cheap_variants(VIDEO))
    scaler = Autoscaler("hpa", low, target=0.5, stabilisation_s=60.0)
    loads = np.concatenate([np.full(HISTORY_STEPS + 200, 30), np.full(200, 3)])
    played = play(VIDEO, scaler, Scenario(Window("step", loads, HISTORY_STEPS)))
    replicas = played.configured[:, 0, 2]
    stage = low.pipeline.stages[0].variant(cheap_variants(VIDEO)[0])
    batch = stage.batches.index(scaler._base.stages[0].batch)
    utilisation = 30 / (replicas[15] * stage.throughput_rps[batch])
    assert 0.5 / 1.11 - 0.5 / replicas[15] <= utilisation <= 0.5 * 1.11
    assert replicas[24] == replicas[19]  # the load fell at step 20; it holds on for a minute
    assert replicas[-1] < replicas[19]
