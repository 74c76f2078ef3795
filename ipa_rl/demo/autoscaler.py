"""Ray Serve's own autoscaler, with the settings that serve it best.

It scales replicas and leaves variants and batch sizes alone, so both are chosen for it: the pair of variants,
the utilisation and the delay before going down that a threshold autoscaler (`ipa_rl.agents.autoscaler`) does
best with on the validation part's most eventful stretches, in the fluid simulator, which has no model of Ray
Serve's own one. Its rule is the same: replicas = what is going on / target, up soon and down late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from ipa_rl.agents.opponents import FA2_LOW, HPA, Opponent
from ipa_rl.agents.program import fixed_variants
from ipa_rl.agents.windows import play_opponent
from ipa_rl.environment.definition import Definition
from ipa_rl.judge.pools import Pool, in_order
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.pipeline import Configuration
from ipa_rl.progress import Report
from ipa_rl.workload.workload import Window

FILE = "autoscaler.json"

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9)
DELAYS_S = (10.0, 30.0, 60.0)
_FIRST_TARGET, _FIRST_DELAY_S = 0.7, 30.0

UPSCALE_DELAY_S, LOOK_BACK_S, REPORT_S = 1.0, 5.0, 1.0
"""Ray Serve's defaults are 30, 30 and 10 s, too slow for any burst here."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """``variants``: by stage. ``target``: utilisation. ``delay_s``: before going down. ``utility``: of the
    simulated autoscaler on validation.
    """

    variants: tuple[str, ...]
    target: float
    delay_s: float
    utility: float


def choose(definition: Definition, windows: Sequence[Window], pool: Pool, report: Report) -> Chosen:
    """The highest utility over the windows: variants first, at usual settings, then the settings."""

    def best(candidates: list[Chosen]) -> Chosen:
        found = in_order(pool, partial(_tried, definition, windows), candidates, report, "autoscaler")
        return max(found, key=lambda one: one.utility)

    pairs = product(*([one.name for one in stage.variants] for stage in definition.pipeline.stages))
    first = best([Chosen(pair, _FIRST_TARGET, _FIRST_DELAY_S, 0.0) for pair in pairs])
    return best([Chosen(first.variants, *settings, 0.0) for settings in product(TARGETS, DELAYS_S)])


def _tried(definition: Definition, windows: Sequence[Window], chosen: Chosen) -> Chosen:
    """The same with its utility, simulated."""
    options = {"target": chosen.target, "stabilisation_s": chosen.delay_s}
    opponent = Opponent(HPA, "", 0.0, {}, options, variants=FA2_LOW)
    baselines = definition.baselines.model_copy(update={"fa2_low": chosen.variants})
    played = play_opponent(replace(definition, baselines=baselines), opponent, windows)
    return replace(chosen, utility=played.means()["utility"])


def base(definition: Definition, chosen: Chosen) -> Configuration:
    """Variants and batch sizes, with the replicas that the train part's mean load needs."""
    known = fixed_variants(definition, chosen.variants)
    return known.best_for(known.workload.mean_rps)


def settings_of(definition: Definition, chosen: Chosen) -> dict[str, Document]:
    """``autoscaling_config`` by stage: as many requests a replica as keep it busy for the target's share."""
    configuration = base(definition, chosen)
    return {
        stage.name: {
            "min_replicas": 1,
            "max_replicas": definition.problem.max_replicas,
            "initial_replicas": one.replicas,
            "target_ongoing_requests": chosen.target * one.batch,
            "upscale_delay_s": UPSCALE_DELAY_S,
            "downscale_delay_s": chosen.delay_s,
            "look_back_period_s": LOOK_BACK_S,
            "metrics_interval_s": REPORT_S,
        }
        for stage, one in zip(definition.pipeline.stages, configuration.stages, strict=True)
    }
