"""Replays with one stage's throughput scaled: which missing measurement could explain a difference?

    python scripts/replay_what_if.py audio-qa qa 1.6

Prints mean cores and PAS x 100 of the paper's systems as profiled, scaled, and measured on the cluster.
"""

import argparse
from dataclasses import replace

from ipa_rl.environment.definition import Definition
from ipa_rl.judge.fidelity import load_replays, play_replay
from ipa_rl.pipeline import Stage, Variant


def faster(variant: Variant, factor: float) -> Variant:
    """The variant with its throughput multiplied and its latencies divided."""
    return replace(
        variant,
        latency_mean_s=tuple(latency / factor for latency in variant.latency_mean_s),
        latency_p99_s=tuple(latency / factor for latency in variant.latency_p99_s),
        throughput_rps=tuple(factor * rate for rate in variant.throughput_rps),
    )


def scaled(definition: Definition, stage: str, factor: float) -> Definition:
    """The environment with all variants of a stage faster."""

    def one(found: Stage) -> Stage:
        if found.name != stage:
            return found
        return replace(found, variants=tuple(faster(variant, factor) for variant in found.variants))

    stages = tuple(one(found) for found in definition.pipeline.stages)
    return definition.with_problem(pipeline=replace(definition.pipeline, stages=stages))


def main() -> None:
    """Print one line a system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("stage")
    parser.add_argument("factor", type=float)
    arguments = parser.parse_args()
    print(
        f"{'system':10} {'cores':>8} {'scaled':>8} {'measured':>9} {'PAS':>8} {'scaled':>8} {'measured':>9}"
    )
    for replay in load_replays(arguments.pipeline):
        as_profiled = play_replay(replay).outcome
        definition = scaled(replay.definition, arguments.stage, arguments.factor)
        changed = play_replay(replace(replay, definition=definition)).outcome
        measured = replay.measured
        print(
            f"{replay.system:10} {as_profiled.cores:8.2f} {changed.cores:8.2f} {measured.cores:9.2f} "
            f"{as_profiled.pas_x100:8.2f} {changed.pas_x100:8.2f} {measured.pas_x100:9.2f}"
        )


if __name__ == "__main__":
    main()
