"""What benchmarks do not measure and users must say: accuracy, start-up delay, and what models ran on."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ipa_rl.errors import InputError, quoted
from ipa_rl.limits import LONGEST_DELAY_S
from ipa_rl.pipeline import CORES, MOST_UNITS
from ipa_rl.profiles.benchmarks.readings import Hardware

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """By variant; under "" for all that are not named."""

    accuracy: Mapping[str, float] = field(default_factory=dict)
    start_up_s: Mapping[str, float] = field(default_factory=dict)
    cores: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, accuracy: Sequence[str], start_up: Sequence[str], cores: Sequence[str]) -> Told:
        """From options, each a value or NAME=VALUE,NAME=VALUE. Raises InputError."""
        return cls(
            _by_name(accuracy, "--accuracy", _fraction, "give a fraction (0.76) or percent (76%)"),
            _by_name(start_up, "--start-up", _seconds, f"give seconds, {LONGEST_DELAY_S:g} at most"),
            _by_name(cores, "--cores", _whole, "give a whole number, 1 or more"),
        )

    def check_names(self, variants: Collection[str]) -> None:
        """Raise InputError where a value is given for a variant that there is not."""
        options = {"--accuracy": self.accuracy, "--start-up": self.start_up_s, "--cores": self.cores}
        for option, values in options.items():
            for name in values.keys() - {"", *variants}:
                fix = f"use {', '.join(variants)}"
                raise InputError(f"{quoted(name)} is not a variant", field=option, fix=fix)


def placement_of(text: str) -> Hardware | None:
    """Of an option's value, NAME or NAME=UNITS; None for cores. Raises InputError."""
    name, has_units, count = (part.strip() for part in text.partition("="))
    try:
        units = float(count if has_units else 1)
    except ValueError:
        units = math.nan
    if not name or not 0 < units <= MOST_UNITS or (has_units and name == CORES):
        fix = "name what a replica ran on (l4), with its units if they are not 1 (l4=2)"
        raise InputError(f"is {quoted(text)}", field="--resource", fix=fix)
    return None if name == CORES else Hardware(name, units)


def missing(values: Mapping[str, object], variants: Iterable[str]) -> list[str]:
    """Variants without a value."""
    return [] if "" in values else [name for name in variants if name not in values]


def value_of(values: Mapping[str, T], variant: str) -> T:
    """A variant's value: its own, or that of all."""
    return values[variant if variant in values else ""]


def _by_name(texts: Iterable[str], option: str, parsed: Callable[[str], T], fix: str) -> dict[str, T]:
    values: dict[str, T] = {}
    for one in (part.strip() for text in texts for part in text.split(",")):
        name, _, value = one.rpartition("=")
        if name in values:
            what = f"{name} is given twice" if name else "is given twice for all"
            raise InputError(what, field=option, fix="give it once")
        try:
            values[name] = parsed(value.strip())
        except ValueError:
            raise InputError(f"is {quoted(one)}", field=option, fix=fix) from None
    return values


def _fraction(text: str) -> float:
    value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    if not 0.0 < value <= 1.0:
        raise ValueError
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= LONGEST_DELAY_S:
        raise ValueError
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
