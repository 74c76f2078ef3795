"""Sections of a card on training: how it went, by seed; other preferences; ablation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ipa_rl.agents.opponents import PAS_TOLERANCE
from ipa_rl.documents import check_json, read_json
from ipa_rl.files import exists
from ipa_rl.judge.stress import MOST_TIMES
from ipa_rl.report.curves import beaten_at


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
            raise ValueError("rival and program stand together")
        return self


class _Seed(_Figures):
    """What is told of a row of seeds.json; agents of which one checkpoint a seed was judged have no step."""

    seed: int
    step: int | None = None
    passed_s: float | None
    overruns: list[str]
    shipped: bool


_FORMS: dict[str, type[Any]] = {"training.json": _Training, "seeds.json": list[_Seed]}


def read_beside(folder: Path, name: str) -> Any:
    """A JSON file beside the policy; None where there is none. Raises InputError where it is broken."""
    path, fix = folder / name, "write it again, or delete it"
    if not exists(path):
        return None
    content = read_json(path, fix)
    if name in _FORMS:
        check_json(content, _FORMS[name], path, fix)
    return content


def training_section(folder: Path) -> list[str]:
    """How the shipped seed was trained and chosen, and the other seeds."""
    training, seeds = read_beside(folder, "training.json"), read_beside(folder, "seeds.json")
    if training is None:
        return []
    chosen = next(c for c in training["checkpoints"] if c["step"] == training["chosen_step"])
    lines = ["## Training", ""]
    if (folder / "curve.png").is_file():
        lines += ["![Validation utility and violations over training steps, by seed](curve.png)", ""]
    rival = training.get("rival")
    text = (
        f"Step {chosen['step']:,} of {training['checkpoints'][-1]['step']:,} was chosen. In the fluid "
        f"simulator: utility {chosen['utility']:.3f}"
    )
    if rival is None:
        return [*lines, f"{text}, the highest; no opponents were tuned to hold it against."]
    lines += [
        f"{text}, best opponent (`{rival['name']}`) "
        f"{rival['utility']:.3f}, best program {training['program']['utility']:.3f}. {_beaten(training)}",
        "",
        "The rule: the highest utility of the checkpoints that violate no more than the best opponent and "
        f"are at most {PAS_TOLERANCE:g} points of PAS below it; where there is none, of those that do so "
        "beside the best program, and where there is none either, of all.",
    ]
    return lines + (_seeds(seeds) if seeds else [])


def _beaten(training: dict[str, Any]) -> str:
    parts = []
    for rival, label in (("program", "the best program"), ("rival", "the best opponent")):
        first = beaten_at(training, rival)
        if first is None:
            parts.append(f"{label} was never passed")
        else:
            parts.append(
                f"{label} was passed at step {first['step']:,}, {first['wall_s']:.0f} s from nothing"
            )
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _seeds(rows: list[dict[str, Any]]) -> list[str]:
    """All candidates: of each seed one checkpoint, or several, which are told apart by their steps."""
    count = len({one["seed"] for one in rows})
    several = len(rows) > count
    parts = f", in each of {len(rows) // count} equal parts of its run," if several else ""
    lines = [
        "",
        f"{count} seeds were trained. The checkpoint that this rule chooses of each{parts} was judged "
        "request by request, on the validation part. The same rule then chose between those that overrun "
        f"the best opponent (violate more than {MOST_TIMES:g} times as much) in the fewest scenarios of the "
        "stress suite, on as many draws as are reported, but others:",
        "",
        f"| seed{' and step' if several else ''} | utility | PAS x 100 | cores | violations % "
        "| passes the program after, s | overruns | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        after = "-" if one["passed_s"] is None else f"{one['passed_s']:.0f}"
        lines.append(
            f"| {one['seed']}{', {:,}'.format(one['step']) if several else ''} "
            f"| {one['utility']:.3f} | {one['pas_x100']:.2f} "
            f"| {one['cores']:.2f} | {100 * one['violations']:.3f} | {after} "
            f"| {'; '.join(one['overruns']) or 'in none'} | {'shipped' if one['shipped'] else ''} |"
        )
    return lines


def front_section(folder: Path) -> list[str]:
    """What the same agent does under other preferences."""
    front = read_beside(folder, "front.json")
    if not front:
        return []
    lines = ["## One policy, other preferences", ""]
    if (folder / "front.png").is_file():
        lines += ["![PAS over cores of agent and program, by preference](front.png)", ""]
    lines += [
        f"The same agent asked for other alpha / beta, not trained again; the program tuned for each on the "
        f"validation part. {front['windows']} windows of the {front['part']} part; agent / program.",
        "",
        "| alpha | beta | PAS x 100 | cores | violations % | utility | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in front["rows"]:
        agent, program, paired = one["agent"], one["program"], one["paired"]["utility"]
        low, high = paired["interval_95"]
        less = 100 * (agent["cores"] / program["cores"] - 1)
        lines.append(
            f"| {one['alpha']:g} | {one['beta']:g} | {agent['pas_x100']:.2f} / {program['pas_x100']:.2f} "
            f"| {agent['cores']:.2f} / {program['cores']:.2f} ({less:+.0f} %) "
            f"| {100 * agent['violations']:.2f} / {100 * program['violations']:.2f} "
            f"| {agent['utility']:.3f} / {program['utility']:.3f} "
            f"| {paired['difference']:+.3f} [{low:+.3f}, {high:+.3f}] |"
        )
    return lines


def search_section(folder: Path) -> list[str]:
    """The trials of the search for hyperparameters, best first."""
    found = read_beside(folder, "search.json")
    if not found:
        return []
    trials = found["trials"]
    names = [name for name in trials[0]["changes"] if name not in ("seed", "ppo.total_steps")]
    lines = [
        "## Search",
        "",
        f"{len(trials)} trials of {found['steps']:,} steps by Optuna, best first; trial 0: the file of then. "
        "Score: utility of the chosen checkpoint on the validation part in the fluid simulator, less what it "
        "violates beyond the best opponent (`ipa-rl search`).",
        "",
        f"| trial | score | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for one in trials:
        values = " | ".join(_value(one["changes"][name]) for name in names)
        lines.append(f"| {one['number']} | {one['score']:.4f} | {values} |")
    return lines


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def ablation_section(folder: Path) -> list[str]:
    """What each part of the learner is worth."""
    table = read_beside(folder, "ablation.json")
    if not table:
        return []
    lines = [
        "## Ablation",
        "",
        f"One change a row, {table['seeds']} seeds each of {table['steps']:,} steps; chosen checkpoints on "
        "the validation part in the fluid simulator, mean and range (`ipa-rl ablate`).",
        "",
        "| change | utility | PAS x 100 | cores | violations % |",
        "|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        spread = f"{row['utility']:.3f} [{row['lowest']:.3f}, {row['highest']:.3f}]"
        lines.append(
            f"| {row['change']} | {spread} | {row['pas_x100']:.2f} | {row['cores']:.2f} "
            f"| {100 * row['violations']:.2f} |"
        )
    return lines
