"""An environment of the digits pipeline with service times of about the right size, not measured ones."""

from __future__ import annotations

from pathlib import Path

import yaml

from ipa_rl.demo.digits import SIZES, STAGES, models
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition

BATCHES = (1, 2, 4, 8)
_HEAD = "variant,cores,batch,load_rps,latency_mean_s,latency_p99_s,throughput_rps,kind,series,source,note"


def write_environment(folder: Path) -> Path:
    """Write profile and environment; the path of the environment's YAML."""
    profile = folder / "digits"
    profile.mkdir()
    stages = [_write_stage(profile, name) for name in STAGES]
    pipeline = {"source": "assumed", "threshold_rps": 4, "batches": list(BATCHES), "stages": stages}
    (profile / "pipeline.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    environment = {
        "pipeline": "digits",
        "source": "assumed",
        "sla_s": 2.0,
        "weights": {"alpha": 10, "beta": 1, "delta": 1.0e-6, "normalize_accuracy": False},
        "limits": {"max_replicas": 4, "drop_limit_s": 3, "batch_timeout_s": 0.1},
        "adaptation_interval_s": 10,
        "load_window_s": 30,
        "workload": {"load": "twitter", "part": "train", "episode_s": 600, "scale": 0.5},
        "reward": {"shaping": True, "scale": 1.0},
    }
    path = folder / "digits.yaml"
    path.write_text(yaml.safe_dump(environment), encoding="utf-8")
    return path


def digits_definition(folder: Path) -> Definition:
    """The environment, loaded."""
    return load_definition(write_environment(folder))


def _write_stage(profile: Path, name: str) -> dict[str, object]:
    lines = [_HEAD]
    for k, variant in enumerate(SIZES[name]):
        for batch in BATCHES:
            mean_s = 0.01 * 2**k * (0.5 + 0.5 * batch)
            lines.append(
                f"{variant},1,{batch},1000,{mean_s},{1.5 * mean_s},{batch / mean_s},measured,,assumed,"
            )
    (profile / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    variants = [
        {
            "name": variant,
            "accuracy": accuracy,
            "parameters_millions": 0.01,
            "start_up_s": 5.0,
            "base_cores": 1,
        }
        for variant, accuracy in models.accuracies()[name].items()
    ]
    return {"name": name, "stage_sla_s": 1.0, "accuracy_metric": "share answered right", "variants": variants}
