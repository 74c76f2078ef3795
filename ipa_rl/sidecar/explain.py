"""The decision log as an account to read: what was seen, chosen and done, and what the program would have.

Lines that cannot be read, of a log that was cut off or edited, are named and left out.
"""

from __future__ import annotations

import glob
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_rl.errors import InputError, quoted
from ipa_rl.files import is_file, read_lines
from ipa_rl.json_text import parse
from ipa_rl.sidecar.decision_log import VERSION, Entry, loggable

WIDTH = 80
_INDENT = 12
_LONGEST_LINE = 1_000_000

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "time": str, "step": int, "mode": str, "leader": bool, "load_rps": (int, float, type(None)),
    "stages": list, "by": str, "fallback": str, "decision": list, "guard": list, "configuration": list,
    "acted": bool, "why_not": str, "changes": list, "waiting": list, "refused": list, "worth": dict,
    "program": (dict, type(None)),
}  # fmt: skip
"""What a line of a step must hold to be read."""


@dataclass(frozen=True)
class Fault:
    """A line that was left out, and why."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


@dataclass(frozen=True)
class Log:
    """The lines of a log that can be read, oldest first, and those that cannot."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]


def read_log(path: Path) -> Log:
    """The log, older files that it was rotated into first. Raises InputError where there is none."""
    fix = "give the decision_log.path of the sidecar's settings"
    if not is_file(path):
        raise InputError("is not a file", file=path, fix=fix)
    entries: list[Entry] = []
    faults: list[Fault] = []
    for file in [*_rotated(path), path]:
        for number, text in enumerate(read_lines(file, _LONGEST_LINE, fix), start=1):
            if not text.strip():
                continue
            try:
                entries.append(_entry(text))
            except ValueError as error:
                faults.append(Fault(file.name, number, str(error)))
    return Log(tuple(entries), tuple(faults))


def _rotated(path: Path) -> list[Path]:
    """Older files, oldest first."""
    found = [
        (int(one.suffix[1:]), one)
        for one in path.parent.glob(f"{glob.escape(path.name)}.*")
        if re.fullmatch(r"\.[0-9]{1,9}", one.suffix) and is_file(one)
    ]
    return [one for _, one in sorted(found, reverse=True)]


def _entry(text: bytes) -> Entry:
    """One line, checked. Raises ValueError with what is wrong."""
    content = loggable(parse(text))
    if not isinstance(content, dict):
        raise ValueError("is not an object")
    if content.get("version") != VERSION:
        raise ValueError(f"has version {quoted(content.get('version'))}; only {VERSION} can be read")
    if "failed" in content:
        return content
    for name, kind in _TYPES.items():
        if name not in content or not isinstance(content[name], kind):
            raise ValueError(f"{name} is missing or of the wrong type")
    try:
        list(account(content))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"cannot be explained ({type(error).__name__}: {error})") from error
    return content


def account(entry: Entry) -> Iterator[str]:
    """One step in lines of at most 80 columns."""
    if "failed" in entry:
        yield from _headed(f"{entry['time']}  the step failed ({entry['failed']})", "")
        yield from _headed("  problem", str(entry["problem"]))
        return
    who = "leader" if entry["leader"] else "not the leader"
    yield f"{entry['time']}  step {entry['step']}, {entry['mode']}, {who}"
    yield from _headed("  seen", _seen(entry))
    for stage in entry["stages"]:
        yield from _headed("", _stage(stage))
    for one in [*(entry.get("service") or ()), *(entry.get("starts") or ())]:
        yield from _headed("  measured", str(one["told"]))
    for one in entry.get("overdue") or ():
        yield from _headed("  overdue", str(one["told"]))
    for one in entry.get("given_up") or ():
        yield from _headed("  given up", f"{one['told']}, {_number(one['left_s'])} s of it left")
    yield from _headed("  forecast", _forecast(entry))
    yield from _headed("  chosen", _chosen(entry))
    yield from _configured(entry, entry["decision"])
    yield from _planned(entry)
    yield from _shared(entry)
    for edit in entry["guard"]:
        yield from _headed("  guard", edit)
    yield from _done(entry)
    yield from _program(entry)
    yield from _shadow(entry)


def _headed(head: str, text: str) -> Iterator[str]:
    """A head and its text, folded, aligned behind it."""
    if not text:
        yield head[:WIDTH]
        return
    lines = textwrap.wrap(text, WIDTH - _INDENT, break_long_words=True) or [""]
    yield head.ljust(_INDENT) + lines[0]
    yield from (" " * _INDENT + line for line in lines[1:])


def _shared(entry: Entry) -> Iterator[str]:
    """In a fleet what the pipeline may occupy, and where it gives way."""
    if not (shared := entry.get("shared")):
        return
    text = "may occupy " + ", ".join(f"{_number(units)} {name}" for name, units in shared["units"].items())
    yield from _headed("  shared", f"{text}; {shared['told']}" if shared["told"] else text)


def _seen(entry: Entry) -> str:
    if entry.get("stale") or entry["load_rps"] is None:
        text = f"load unknown ({entry.get('load_problem') or 'stale'})"
    else:
        text = f"load {_number(entry['load_rps'])} requests/s, {_number(entry.get('load_age_s'))} s old"
        text += f" ({entry['load_problem']})" if entry.get("load_problem") else ""
    queued = entry.get("queued") or []
    if any(queued):
        text += f"; {', '.join(_number(one) for one in queued)} requests wait"
    return text + ("; paused" if entry.get("paused") else "")


def _stage(stage: Entry) -> str:
    serves = f"{stage['variant']} b{stage['batch']}" if stage["variant"] else "nothing serves"
    text = f"{stage['stage']}: {serves}, {stage['ready']} of {stage['desired']} ready"
    extras = [f"{stage[name]} {name}" for name in ("restarts", "unschedulable") if stage.get(name)]
    if stage.get("problem"):
        extras.append(stage["problem"])
    return "; ".join([text, *extras])


def _forecast(entry: Entry) -> str:
    """What the program expects, by what, and how well that did in the last hour."""
    text = f"{_number(entry.get('forecast_rps'))} requests/s"
    if not (by := entry.get("forecasts")):
        return text
    text += f"; {by['told']}"
    if by["compared"]:
        text += (
            f"; last hour: off by {_number(by['mae_rps'])} requests/s, bias {_signed(by['bias_rps'])}, "
            f"{_share(by['too_low'])} too low"
        )
    return text


def _chosen(entry: Entry) -> str:
    who = _decider(entry["by"]).removeprefix("chosen ")
    text = f"{who}, planned for {_number(entry.get('planned_rps'))} requests/s"
    return f"{text} ({entry['fallback']})" if entry["fallback"] else text


def _planned(entry: Entry) -> Iterator[str]:
    """What a planner expected, and what it weighed against its choice."""
    if not (plan := entry.get("plan")):
        return
    yield from _headed("", plan["told"])
    fan = plan["fan"]
    loads = ", ".join(
        f"{_number(median)} ({_number(low)} to {_number(high)})"
        for low, median, high in zip(fan["low_rps"], fan["median_rps"], fan["high_rps"], strict=True)
    )
    until = ", ".join(_number(one) for one in fan["until_s"])
    yield from _headed("  expected", f"until {until} s from now, median (10 to 90 %): {loads} requests/s")
    head = "  against"
    for one in plan["runners_up"]:
        yield from _headed(head, one["told"])
        head = ""


def _configured(entry: Entry, stages: Sequence[Entry]) -> Iterator[str]:
    for seen, one in zip(entry["stages"], stages, strict=True):
        yield from _headed("", f"{seen['stage']}: {one['variant']} b{one['batch']} x{one['replicas']}")


def _done(entry: Entry) -> Iterator[str]:
    head = "  applied" if entry["acted"] else "  planned"
    lines = [_change(one) for one in entry["changes"]]
    lines += [f"{_change(one)} (waits)" for one in entry["waiting"]]
    for line in lines or ["nothing differs"]:
        yield from _headed(head, line)
        head = ""
    if entry["why_not"]:
        yield from _headed("  not done", entry["why_not"])
    for line in entry.get("set_back", ()):
        yield from _headed("  set back", line)
    for reason in entry["refused"]:
        yield from _headed("  refused", reason)


def _change(one: Entry) -> str:
    return f"{one['stage']}: {one['knob']} {one['before']} -> {one['after']}"


def _program(entry: Entry) -> Iterator[str]:
    program, own = entry["program"], entry["worth"]
    if program is None:
        return
    planned = f"for {_number(program['planned_rps'])} requests/s"
    if program["configuration"] == entry["configuration"]:
        yield from _headed("  program", f"would have chosen the same, {planned}")
    else:
        yield from _headed("  program", f"would have chosen, {planned}:")
        yield from _configured(entry, program["configuration"])
    apart = program["difference"]
    yield from _headed(
        "  worth",
        f"by the model at this load: utility {_number(own['utility'])} ({_signed(apart['utility'])} against "
        f"the program's), {own['cores']:g} cores ({_signed(apart['cores'])}), PAS "
        f"{_number(own['pas_x100'])} ({_signed(apart['pas_x100'])})",
    )


def _shadow(entry: Entry) -> Iterator[str]:
    shadow = entry.get("shadow")
    if not shadow:
        return
    parts = [
        f"{name} {_number(one['utility'])} at {_number(one['cores'])} cores, "
        f"{_share(one['violations'])} violated"
        for name, one in shadow["accounts"].items()
    ]
    yield from _headed("  shadow", f"last {shadow['seconds']} s, utility of: {'; '.join(parts)}")


def _number(value: float | None) -> str:
    return "?" if value is None or math.isnan(value) else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.2g} %"


def _signed(value: float | None) -> str:
    return "?" if value is None else f"{value:+.3g}" if abs(value) > 1e-9 else "+0"


def summary(entries: Sequence[Entry]) -> dict[str, Any]:
    """Counts over a log, and how much better than the program's the choices were on average, by the model."""
    steps = [entry for entry in entries if "failed" not in entry]
    gains = [e["program"]["difference"]["utility"] for e in steps if e["program"]]
    known = [gain for gain in gains if gain is not None]
    return {
        "steps": len(steps),
        "failed": len(entries) - len(steps),
        "acted": sum(entry["acted"] for entry in steps),
        "by": dict(Counter(entry["by"] for entry in steps)),
        "fallbacks": dict(Counter(kind_of(entry["fallback"]) for entry in steps if entry["fallback"])),
        "changes": sum(len(entry["changes"]) for entry in steps if entry["acted"]),
        "guarded": sum(bool(entry["guard"]) for entry in steps),
        "utility_above_program": sum(known) / len(known) if known else None,
    }


def summary_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A summary in lines of at most 80 columns."""
    by = ", ".join(f"{count} by {name}" for name, count in found["by"].items())
    yield from _headed("in all", f"{found['steps']} steps, {found['failed']} failed; {by or 'none decided'}")
    if found["fallbacks"]:
        reasons = ", ".join(f"{count} x {name}" for name, count in found["fallbacks"].items())
        yield from _headed("", f"fell back: {reasons}")
    yield from _headed(
        "",
        f"{found['changes']} changes made in {found['acted']} steps that acted; {found['guarded']} decisions "
        "changed by the guard",
    )
    if found["utility_above_program"] is not None:
        gain = _signed(found["utility_above_program"])
        yield from _headed("", f"utility against the program's, by the model: {gain} on average")


def reason_in_words(entry: Entry) -> str:
    """Why a step of the decision log did what it did: the load, who decided and for what, what the guard did.

    >>> reason_in_words({"load_rps": 12.0, "by": "ppo", "planned_rps": 14.5, "fallback": "", "guard": []})
    'load 12.0 requests/s, chosen by the agent ppo for 14.5'

    A load that is not known is NaN in the entry, or None where it has been through JSON.
    """
    planned_rps = entry["planned_rps"]
    load = f"{entry['load_rps']:.1f} requests/s" if _known(entry["load_rps"]) else "unknown"
    parts = [f"load {load}, {_decider(entry['by'])}"]
    if _known(planned_rps):
        parts[0] += f" for {planned_rps:.1f}"
    if entry["fallback"]:
        parts.append(entry["fallback"])
    parts += [f"guard: {edit}" for edit in entry["guard"]]
    return "; ".join(parts)


def _decider(by: str) -> str:
    known = {
        "held": "held", "program": "chosen by the integer program", "planner": "chosen by the planner"
    }  # fmt: skip
    return known.get(by, f"chosen by the agent {by}")


def _known(figure: float | None) -> bool:
    return figure is not None and not math.isnan(figure)


def kind_of(fallback: str) -> str:
    """The words at the beginning of a fallback's reason that stay the same, for counting.

    >>> kind_of("held: stale: no sample for 40 s"), kind_of("ppo failed: ValueError: x; too slow")
    ('stale', 'ppo failed')
    """
    return fallback.removeprefix("held: ").split(";")[0].split(":")[0].strip()
