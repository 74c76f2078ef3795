"""Sections of a card on training: how it went, by seed; other preferences; ablation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.documents import check_json, read_json
from ipa_rl.files import exists
from ipa_rl.judge.stress import MOST_TIMES
from ipa_rl.report.cells import bracketed, markdown, shown


class _Told(BaseModel):
    """What the card writes as it stands in the file: a number that is written as text is a fault."""

    model_config = ConfigDict(strict=True)


class _Figures(_Told):
    utility: float
    pas_x100: float
    cores: float
    violations: float


class _Named(_Figures):
    name: str


class _Checkpoint(_Figures):
    step: int
    wall_s: float


class _Training(_Told):
    """What is told of training.json."""

    rival: _Named | None = None
    program: _Figures | None = None
    chosen_step: int
    checkpoints: Annotated[list[_Checkpoint], Field(min_length=1)]

    @model_validator(mode="after")
    def _knows_the_chosen(self) -> Self:
        if self.chosen_step not in [one.step for one in self.checkpoints]:
            raise ValueError("chosen_step is none of the checkpoints")
        if (self.rival is None) != (self.program is None):
            raise ValueError("give rival and program together, or neither")
        return self


class _Seed(_Figures):
    """What is told of a row of seeds.json; agents of which one checkpoint a seed was judged have no step."""

    seed: int
    step: int | None = None
    passed_s: float | None
    draws: int
    overruns: list[str]
    shipped: bool


class _FineTuning(_Told):
    """What is told of fine-tuning.json."""

    states: int
    windows: int
    before: _Figures
    after: _Figures
    gain: float
    gain_95: Annotated[list[float], Field(min_length=2, max_length=2)]
    took_s: float


_FORMS: dict[str, type[Any]] = {
    "training.json": _Training,
    "seeds.json": list[_Seed],
    "fine-tuning.json": _FineTuning,
}


def read_beside(folder: Path, name: str) -> Any:
    """A JSON file beside the policy; None where there is none. Raises InputError where it is broken."""
    path, fix = folder / name, "write it again, or delete it"
    if not exists(path):
        return None
    content = read_json(path, fix)
    if name in _FORMS:
        check_json(content, _FORMS[name], path, fix)
    return content


def beaten_at(training: dict[str, Any], rival: str) -> dict[str, Any] | None:
    """The first checkpoint with more utility than "rival" or "program"; None where there is none."""
    bar = training[rival]["utility"]
    return next((c for c in training["checkpoints"] if c["utility"] > bar), None)


def training_section(folder: Path) -> list[str]:
    """How the shipped seed was trained and chosen, and the other seeds."""
    training, seeds = read_beside(folder, "training.json"), read_beside(folder, "seeds.json")
    if training is None:
        return []
    chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
    rival = training.get("rival")
    text = (
        f"Step {chosen['step']:,} of {training['checkpoints'][-1]['step']:,} was chosen. In the fluid "
        f"simulator: utility {chosen['utility']:.3f}"
    )
    lines = ["## Training", ""]
    if (folder / "curve.png").is_file():
        lines += ["![Validation utility and violations over training steps, by seed](curve.png)", ""]
    if rival is None:
        return [*lines, f"{text}, the highest; there were no tuned opponents to compare it with."]
    passed = f"{_passed(training, 'program', 'best program')}; {_passed(training, 'rival', 'best opponent')}"
    lines += [
        f"{text}, best opponent (`{rival['name']}`) {rival['utility']:.3f}, best program "
        f"{training['program']['utility']:.3f}. {passed[0].upper()}{passed[1:]}.",
        "",
        "The rule: of the checkpoints that violate no more than the best opponent and are at most "
        f"{PAS_TOLERANCE:g} points of PAS below it, the one with the highest utility; if there are none, the "
        "same beside the best program; if there are none again, the highest utility of all.",
    ]
    return lines + (_seeds(seeds) if seeds else [])


def fine_tuning_section(folder: Path) -> list[str]:
    """What fitting the policy for any pipeline to this one came to on the validation part."""
    found = read_beside(folder, "fine-tuning.json")
    if found is None:
        return []
    columns = ("utility", "pas_x100", "cores", "violations")
    rows = [
        [label, *(shown(found[name], figure, 3 if figure == "utility" else 2) for figure in columns)]
        for label, name in (("universal", "before"), ("fine-tuned", "after"))
    ]
    return [
        "## Training",
        "",
        f"{found['states']:,} states under its own load, in {found['took_s']:.0f} s. It is kept because it "
        f"has more utility on {found['windows']} windows of the validation part, request by request, by more "
        f"than chance: {found['gain']:+.3f} {bracketed(found['gain_95'], 'utility', 3, '+')}.",
        "",
        *markdown(["", "utility", "PAS x 100", "cores", "violations %"], rows),
    ]


def _passed(training: dict[str, Any], rival: str, label: str) -> str:
    first = beaten_at(training, rival)
    if first is None:
        return f"the {label} was never passed"
    return f"the {label} was passed at step {first['step']:,}, after {first['wall_s']:.0f} s"


def _seeds(rows: list[dict[str, Any]]) -> list[str]:
    """All candidates: of each seed one checkpoint, or several, which are told apart by their steps."""
    count = len({one["seed"] for one in rows})
    several = len(rows) > count
    parts = f" in each of {len(rows) // count} equal parts of its run" if several else ""
    columns = [
        "utility",
        "PAS x 100",
        "cores",
        "violations %",
        "passes the program after, s",
        "overruns",
        "choice",
    ]
    table = markdown(
        ["seed and step" if several else "seed", *columns],
        (
            [
                f"{one['seed']}, {one['step']:,}" if several else f"{one['seed']}",
                shown(one, "utility", 3),
                shown(one, "pas_x100"),
                shown(one, "cores"),
                shown(one, "violations", 3),
                "-" if one["passed_s"] is None else f"{one['passed_s']:.0f}",
                "; ".join(one["overruns"]) or "none",
                "shipped" if one["shipped"] else "",
            ]
            for one in rows
        ),
    )
    return [
        "",
        f"{count} seeds were trained. Of each seed this rule chose one checkpoint{parts}, which was then "
        "judged request by request on the validation part. The same rule chose among those that overrun the "
        f"best opponent (more than {MOST_TIMES:g} times its violations) in the fewest scenarios of the "
        f"stress suite, on {rows[0]['draws']} draws of each, other ones than are reported:",
        "",
        *table,
    ]


def front_section(folder: Path) -> list[str]:
    """What the same policy does under other preferences."""
    front = read_beside(folder, "front.json")
    if not front:
        return []
    rows = []
    for one in front["rows"]:
        agent, program, paired = one["agent"], one["program"], one["paired"]["utility"]
        less = 100 * (agent["cores"] / program["cores"] - 1)
        rows.append(
            [
                f"{one['alpha']:g}",
                f"{one['beta']:g}",
                f"{shown(agent, 'pas_x100')} / {shown(program, 'pas_x100')}",
                f"{shown(agent, 'cores')} / {shown(program, 'cores')} ({less:+.0f} %)",
                f"{shown(agent, 'violations')} / {shown(program, 'violations')}",
                f"{shown(agent, 'utility', 3)} / {shown(program, 'utility', 3)}",
                f"{paired['difference']:+.3f} {bracketed(paired['interval_95'], 'utility', 3, '+')}",
            ]
        )
    lines = ["## One policy, other preferences", ""]
    if (folder / "front.png").is_file():
        lines += ["![PAS over cores of agent and program, by preference](front.png)", ""]
    return [
        *lines,
        f"{front['who']}, not trained again, asked for other alpha / beta, beside the program tuned for each "
        f"on the validation part. {front['windows']} windows of the {front['part']} part; policy / program.",
        "",
        *markdown(["alpha", "beta", "PAS x 100", "cores", "violations %", "utility", "difference"], rows),
    ]


def search_section(folder: Path) -> list[str]:
    """The trials of the search for hyperparameters, best first."""
    found = read_beside(folder, "search.json")
    if not found:
        return []
    trials = found["trials"]
    names = [name for name in trials[0]["changes"] if name not in ("seed", "ppo.total_steps")]
    return [
        "## Search",
        "",
        f"{len(trials)} trials of {found['steps']:,} steps with Optuna, best first; trial 0 has the "
        "hyperparameters that were in the file at the time. Score: utility of the chosen checkpoint on the "
        "validation part in the fluid simulator, minus its violations beyond the best opponent's "
        "(`ipa-rl search`).",
        "",
        *markdown(
            ["trial", "score", *names],
            (
                [f"{one['number']}", f"{one['score']:.4f}", *(_value(one["changes"][name]) for name in names)]
                for one in trials
            ),
        ),
    ]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ablation_section(folder: Path) -> list[str]:
    """What each part of the learner is worth."""
    table = read_beside(folder, "ablation.json")
    if not table:
        return []
    return [
        "## Ablation",
        "",
        f"One change a row, {table['seeds']} seeds of {table['steps']:,} steps each; chosen checkpoints on "
        "the validation part in the fluid simulator, mean and range (`ipa-rl ablate`).",
        "",
        *markdown(
            ["change", "utility", "PAS x 100", "cores", "violations %"],
            (
                [
                    row["change"],
                    f"{row['utility']:.3f} {bracketed((row['lowest'], row['highest']), 'utility', 3)}",
                    *(shown(row, figure) for figure in ("pas_x100", "cores", "violations")),
                ]
                for row in table["rows"]
            ),
        ),
    ]
