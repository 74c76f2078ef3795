"""What is not asked for now, as it did not come about: caps on replicas that end by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipa_rl.environment.definition import Definition
from ipa_rl.objective import Cap, capped
from ipa_rl.pipeline import Configuration, Stage

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a change may take.

    It is given up after ``start_ups`` start-up delays in which not one more replica became ready, ``least_s``
    at least, and not asked for again for ``back_off_s`` (at least as long as was waited), doubled at each
    failure in a row up to ``most_back_off_s``. What then serves for as long as was waited has a clean record.
    """

    start_ups: float = 5.0
    least_s: float = 45.0
    back_off_s: float = 120.0
    most_back_off_s: float = 3600.0

    def limit_s(self, start_up_s: float) -> float:
        """The longest wait without progress."""
        return max(self.start_ups * start_up_s, self.least_s)

    def pause_s(self, start_up_s: float, failures: int) -> float:
        """How long it is not tried again after so many failures in a row."""
        first_s = max(self.back_off_s, self.limit_s(start_up_s))
        doubled_s = first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        return max(min(doubled_s, self.most_back_off_s), first_s)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Until ``until_s`` (monotonic) no more replicas than the cap's are asked for.

    ``failures``: in a row. ``told``: why, in words; empty for what is left out only because of another.
    """

    cap: Cap
    until_s: float
    failures: int = 0
    told: str = ""


class BackOff:
    """What is given up of a pipeline, and the environment that is left. ``now``: monotonic seconds.

    Something is left to ask for of every stage.
    """

    def __init__(self, definition: Definition, now: Callable[[], float]) -> None:
        self._whole, self._restricted, self._now = definition, definition, now
        self._failures: dict[tuple[str, str, int | None], int] = {}
        self._given_up: list[GivenUp] = []

    @property
    def definition(self) -> Definition:
        """The environment within what can be delivered."""
        caps = tuple(one.cap for one in self._given_up)
        if caps != self._restricted.problem.caps:
            self._restricted = self._whole.with_problem(caps=caps) if caps else self._whole
        return self._restricted

    @property
    def told(self) -> tuple[GivenUp, ...]:
        """What was said to be given up."""
        return tuple(one for one in self._given_up if one.told)

    def end(self) -> None:
        """What has been given up for long enough may be asked for again."""
        self._given_up = [one for one in self._given_up if one.until_s > self._now()]

    def failed(self, stage: Stage, variant: str, batch: int | None) -> int:
        """One more failure; how many there were in a row."""
        key = (stage.name, variant, batch)
        self._failures[key] = self._failures.get(key, 0) + 1
        return self._failures[key]

    def succeeded(self, stage: Stage, variant: str, batch: int) -> None:
        """The next failure is the first again."""
        for key in ((stage.name, variant, None), (stage.name, variant, batch)):
            self._failures.pop(key, None)

    def add(self, stage: Stage, found: Sequence[GivenUp]) -> bool:
        """Give up all of these of a stage, or nothing where nothing would be left to ask for of it."""
        if self._leaves_nothing(stage, [*self._given_up, *found]):
            return False
        self._given_up += found
        return True

    def most(self, stage: Stage, variant: str, batch: int) -> int:
        """Most replicas that are asked for."""
        return self._most(stage, variant, batch, self._given_up)

    def excess(self, configuration: Configuration) -> str:
        """What of a configuration is given up, in words; empty where nothing is."""
        pairs = zip(self._whole.pipeline.stages, configuration.stages, strict=True)
        return ", ".join(
            f"{one.replicas} x {one.variant} b{one.batch} of {stage.name}"
            for stage, one in pairs
            if one.replicas > self.most(stage, one.variant, one.batch)
        )

    def _most(self, stage: Stage, variant: str, batch: int, given_up: Sequence[GivenUp]) -> int:
        caps = (one.cap for one in given_up)
        return capped(caps, stage.name, variant, batch, self._whole.problem.max_replicas)

    def _leaves_nothing(self, stage: Stage, given_up: Sequence[GivenUp]) -> bool:
        pairs = ((variant.name, batch) for variant in stage.variants for batch in variant.batches)
        return not any(self._most(stage, *pair, given_up) for pair in pairs)

    def remembered(self) -> dict[str, Any]:
        """What must survive a restart: back-offs as the seconds that are left of them."""
        return {
            "failures": [[*key, count] for key, count in self._failures.items()],
            "given_up": [entry_of(one, self._now()) for one in self._given_up],
        }

    def remember(self, kept: Mapping[str, Any]) -> None:
        """Go on from what survived. Raises KeyError, TypeError or ValueError where it is no such thing."""
        failures = {(str(s), str(v), batch): int(count) for s, v, batch, count in kept["failures"]}
        given_up = [
            GivenUp(
                Cap(str(one["stage"]), str(one["variant"]), one["batch"], int(one["replicas"])),
                self._now() + float(one["left_s"]),
                int(one["failures"]),
                str(one["told"]),
            )
            for one in kept["given_up"]
        ]
        if not any(self._leaves_nothing(stage, given_up) for stage in self._whole.pipeline.stages):
            self._failures, self._given_up = failures, given_up


def entry_of(one: GivenUp, now_s: float) -> dict[str, Any]:
    """For the decision log and the state."""
    cap = {"stage": one.cap.stage, "variant": one.cap.variant, "batch": one.cap.batch}
    left_s = one.until_s - now_s
    return {**cap, "replicas": one.cap.replicas, "failures": one.failures, "left_s": left_s, "told": one.told}
