"""The card of the policy for any pipeline, from what `ipa-rl build` played for the pipelines that ship.

    ipa-rl build --out runs/agents
    python scripts/universal_card.py runs/agents

Writes agents/universal/card.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents.opponents import Opponent, best_foreseeing, best_program, best_real
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.universal import UNIVERSAL
from ipa_rl.files import write_text
from ipa_rl.judge.comparison import Comparison, read_comparison
from ipa_rl.report.cells import bracketed, markdown

ROLES = (
    ("best program", best_program),
    ("program, perfect forecast", best_foreseeing),
    ("best opponent", best_real),
)


def rows(played: Comparison, opponents: list[Opponent]) -> Iterator[list[str]]:
    """Those of a pipeline, one a rival."""
    found = {row["controller"]: row for row in played.rows()}
    for label, of in ROLES:
        rival = of(opponents).name
        paired = played.paired(UNIVERSAL, rival, "utility")
        pairs = [(found[UNIVERSAL][name], found[rival][name]) for name in ("utility", "pas_x100", "cores")]
        utility, pas, cores = (f"{mine:.2f} / {other:.2f}" for mine, other in pairs)
        violated = " / ".join(f"{100 * found[one]['violations']:.2f}" for one in (UNIVERSAL, rival))
        gained = f"{paired['difference']:+.3f} {bracketed(paired['interval_95'], 'utility', 3, '+')}"
        yield [
            played.definition.name,
            f"`{rival}` ({label})",
            utility,
            gained,
            violated,
            pas,
            cores,
            holds(paired["interval_95"]),
        ]


def holds(interval: list[float] | tuple[float, float]) -> str:
    """Whether the utility is higher, by more than chance."""
    low, high = interval
    return "yes" if low > 0 else "**no**" if high < 0 else "cannot be told"


def main() -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("agents", type=Path, help="where the agents were built")
    built = parser.parse_args().agents
    table: list[list[str]] = []
    windows = 0
    for name in resources.shipped_names("envs"):
        played = read_comparison(built / name / "test")
        windows = len(played.played)
        table += rows(played, read_opponents(built / name / "opponents.json"))
    columns = ["utility", "difference", "violations %", "PAS x 100", "cores", "higher"]
    losses = [
        f"- {row[0]}: {row[1]} has {row[3].split()[0].lstrip('-')} more utility."
        for row in table
        if row[-1] == "**no**"
    ]
    lines = [
        "# The policy for any pipeline",
        "",
        "It scores the answers of the exact optimum, was trained on made-up pipelines alone, and decides for "
        "any other without training: [what it sees, how it learns, what else was measured]"
        "(../../docs/explanation/universal.md).",
        "",
        "## Verdict",
        "",
        f"On the pipelines of the paper, none of which it met: the test part of Twitter's load, {windows} "
        "windows of 20 minutes, request by request. Each cell is its own figure / the rival's. Differences "
        "are paired by window, with 95 % bootstrap intervals. Rivals have the settings that did best on the "
        "validation part; no controller can have the perfect forecast. It comes from one run of training; "
        "what others came to on validation parts stands beside [how it learns]"
        "(../../docs/explanation/universal.md).",
        "",
        *markdown(["pipeline", "rival", *columns], table),
        "",
        "## Where it loses",
        "",
        *(losses or ["- To none of these rivals."]),
        "",
        "## Repeat it",
        "",
        "```console",
        "python scripts/train_universal.py --out runs/universal",
        "cp runs/universal/scorer.npz agents/universal/scorer.npz",
        "ipa-rl build --out runs/agents",
        "python scripts/universal_card.py runs/agents",
        "```",
        "",
        "The cards of the [pipelines](../) show it beside all opponents, under stress too.",
    ]
    write_text("\n".join(lines) + "\n", resources.folder("agents") / UNIVERSAL / "card.md")


if __name__ == "__main__":
    main()
