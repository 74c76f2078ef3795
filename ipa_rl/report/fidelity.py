"""Fidelity as tables: for the terminal, and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_rl.judge.fidelity import FIGURES, REPLAY_SEEDS, Agreement, Replayed
from ipa_rl.report.cells import factor, markdown

CLUSTER = ("pipeline", "system", "cores", "off", "PAS x 100", "off", "over SLA %", "dropped", "paid", "close")
SIMULATORS = ("pipeline", "controller", "utility", "cores", "violations %", "p99 s")


def cluster_rows(cluster: Sequence[Replayed]) -> list[list[str]]:
    """Rows under CLUSTER: replayed / measured."""
    rows = []
    for one in cluster:
        replayed, measured = one.outcome, one.replay.measured
        rows.append(
            [
                one.replay.pipeline,
                one.replay.system,
                f"{replayed.cores:.2f} / {measured.cores:.2f}",
                f"{100 * one.cores_off:+.1f} %",
                f"{replayed.pas_x100:.2f} / {measured.pas_x100:.2f}",
                f"{one.pas_off:+.2f}",
                f"{replayed.seconds_over_sla_pct:.2f} / {measured.seconds_over_sla_pct:.2f}",
                f"{replayed.dropped:.0f} / {measured.dropped:.0f}",
                f"{one.paid_cores:.2f}",
                "yes" if one.is_close else "no",
            ]
        )
    return rows


def simulator_rows(simulators: Sequence[Agreement]) -> list[list[str]]:
    """Rows under SIMULATORS: fluid / request-level."""
    rows = []
    for one in simulators:
        pairs = ([f"{factor(name) * value:.2f}" for value in one.figures[name]] for name in FIGURES)
        rows.append([one.pipeline, one.controller, *map(" / ".join, pairs)])
    return rows


def fidelity_page(simulators: Sequence[Agreement], cluster: Sequence[Replayed], windows: int) -> str:
    """Both tables as a page."""
    lines = [
        "# Fidelity",
        "",
        "Written by `ipa-rl fidelity`; [what the figures mean](../explanation/fidelity.md).",
        "",
        "## The paper's systems: request-level replay against the authors' cluster",
        "",
        f"Bursty window, means over {REPLAY_SEEDS} seeds, replayed / measured. Cores and PAS x 100: of what "
        "was decided, by step, as the authors count; over SLA: share of the seconds; paid: all cores that "
        "the replay allocated. Close: cores within 5 % and PAS within one point.",
        "",
        *markdown(CLUSTER, cluster_rows(cluster)),
        "",
        "## Fluid against request-level",
        "",
        f"Validation part, {windows} windows of 20 minutes, fluid / request-level.",
        "",
        *markdown(SIMULATORS, simulator_rows(simulators)),
    ]
    return "\n".join(lines) + "\n"
