"""The environment that was measured, as a file: what the agent learns in and the simulator predicts by."""

from __future__ import annotations

from typing import Any

import yaml

from ipa_rl.demo.profiling import Profile
from ipa_rl.demo.settings import BATCH_TIMEOUT_S, DROP_LIMIT_S, INTERVAL_S, MAX_REPLICAS, Settings
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.profiles import load_pipeline

ALPHA, BETA, DELTA = 40, 1, 1.0e-6
"""A core is worth 2.5 points of PAS x 100: the accurate models pay while the load is low, and hardly at its
peak."""

SLA_SERVICES = 3
"""The SLA: so many times as long as the largest models take for one request."""

LEAST_EPISODE_S = 60
EPISODES = 2000
"""So many of the train part's most eventful stretches are learned on."""


def write_environment(settings: Settings, profile: Profile) -> Definition:
    """Write the file; what it defines."""
    text = yaml.safe_dump(_content(settings, profile), sort_keys=False)
    settings.environment.write_text(text, encoding="utf-8")
    return load_definition(settings.environment)


def _content(settings: Settings, profile: Profile) -> dict[str, Any]:
    stages = load_pipeline(profile.folder).stages
    largest_s = sum(stage.variants[-1].latency_mean_s[0] for stage in stages)
    return {
        "pipeline": str(profile.folder.relative_to(settings.folder)),
        "source": "ipa-rl demo",
        "sla_s": round(SLA_SERVICES * largest_s, 2),
        "weights": {"alpha": ALPHA, "beta": BETA, "delta": DELTA, "normalize_accuracy": False},
        "limits": {
            "max_replicas": MAX_REPLICAS,
            "drop_limit_s": DROP_LIMIT_S,
            "batch_timeout_s": BATCH_TIMEOUT_S,
        },
        "adaptation_interval_s": INTERVAL_S,
        "reload_s": round(profile.probed.reload_s, 2),
        "load_window_s": 10,
        "workload": {
            "kind": "trace",
            "part": "train",
            "episode_s": max(settings.seconds, LEAST_EPISODE_S),
            "eventful": EPISODES,
        },
        "baselines": {
            "fa2_low": [stage.variants[0].name for stage in stages],
            "fa2_high": [stage.variants[-1].name for stage in stages],
            "rim_replicas": [2] * len(stages),
        },
    }
