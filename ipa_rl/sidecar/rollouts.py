"""Orders are not facts: what was asked for and does not become ready is told, and after a while given up.

Every step sees what the ready replicas serve. A stage waits while fewer of them serve what is asked for than
were asked for; the wait begins anew whenever one more does. It is *overdue* once it lasts longer than the
start-up delay of the profile: from then on accounts go by what serves. After a few start-up delays it is
*given up*: agents and the program do not ask for it again until a back-off is over, which doubles with every
failure in a row. What serves goes on serving.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.documents import NonNegative, StrictModel
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import Records
from ipa_rl.live.cluster import StageSeen
from ipa_rl.objective import Cap, capped
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.core_budget import rate_rps

_MOST_DOUBLINGS = 30


class Patience(StrictModel):
    """How long a change may take.

    It is given up after ``start_ups`` start-up delays in which not one more replica became ready, ``least_s``
    at least, and not asked for again for ``back_off_s`` (at least as long as was waited), doubled at each
    failure in a row up to ``most_back_off_s``. What then serves for as long as was waited has a clean record.
    """

    start_ups: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 5.0
    least_s: NonNegative = 45.0
    back_off_s: NonNegative = 120.0
    most_back_off_s: NonNegative = 3600.0

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

    def entry(self, now_s: float) -> dict[str, Any]:
        """For the decision log and the state: what is left of it."""
        left = {"failures": self.failures, "left_s": self.until_s - now_s, "told": self.told}
        return {**asdict(self.cap), **left}


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
            "given_up": [one.entry(self._now()) for one in self._given_up],
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


@dataclass(frozen=True)
class BackOffCheckedAgent:
    """An agent that asks for nothing that was given up: the program answers within the rest instead.

    ``program``: the whole one; ``back_off``: what is given up now.
    """

    agent: Agent
    program: ProgramAgent
    back_off: BackOff

    @property
    def name(self) -> str:
        """The agent's."""
        return self.agent.name

    def decide(self, state: State) -> Decision:
        """The agent's decision, where all of it can be delivered."""
        decision = self.agent.decide(state)
        excess = self.back_off.excess(decision.configuration)
        if not excess:
            return decision
        within = replace(self.program, definition=self.back_off.definition).decide(state)
        return replace(within, fallback=f"given up: {excess}")


@dataclass(frozen=True, slots=True)
class Overdue:
    """A stage that should serve by now: ``ready`` of ``replicas`` do. ``why``: the cluster's words."""

    stage: str
    variant: str
    batch: int
    replicas: int
    ready: int
    waited_s: float
    start_up_s: float
    why: str

    def __str__(self) -> str:
        what = f"{self.stage}: {self.ready} of {self.replicas} replicas serve {self.variant} b{self.batch}"
        text = f"{what} after {self.waited_s:.0f} s (start-up delay {self.start_up_s:.3g} s)"
        return f"{text}: {self.why}" if self.why else text


@dataclass
class _Wait:
    """A wait without progress: how many replicas had come before, when it is too long, how long it is.

    ``until_s``: it was given up until then, and is too long again only a whole wait later.
    """

    came: int
    limit_s: float
    waited_s: float = 0.0
    until_s: float = -math.inf


@dataclass
class _Record:
    """What is remembered of a stage.

    ``served``: variant and batch size that were last seen to serve; ``ready``: replicas that serve now.
    ``ordered``: what we asked for last, None where we did not. ``pending``: what the last step left waiting.
    ``waits``: by variant, and batch size where only that does not come. ``whole_s``: for how long all that is
    asked for has served.
    """

    served: tuple[str, int] | None = None
    ready: int = 0
    ordered: StageConfig | None = None
    pending: StageConfig | None = None
    waits: dict[tuple[str, int | None], _Wait] = field(default_factory=dict)
    whole_s: float = 0.0
    overdue: Overdue | None = None

    def see(self, stage: Stage, seen: StageSeen) -> None:
        """What serves now; it is what served last where the profile does not know it, or nobody does."""
        self.ready = seen.ready
        known = next((one for one in stage.variants if one.name == seen.variant), None)
        if seen.ready and known is not None and seen.batch in known.batches:
            self.served = (known.name, seen.batch)

    def came(self, seen: StageSeen, wanted: StageConfig) -> int:
        """Ready replicas that serve what is wanted; those that nobody knows of serve what served last."""
        variant, batch = self.served or (None, None)
        serving = seen.serving or ((seen.variant, seen.batch, seen.ready),)
        known = ((v or variant, b or batch, n) for v, b, n in serving)
        return sum(n for v, b, n in known if (v, b) == (wanted.variant, wanted.batch))

    def missing(self, wanted: StageConfig) -> tuple[str, int | None]:
        """What does not come: the variant, or only this batch size of a variant that serves."""
        variant, batch = self.served or (None, None)
        return wanted.variant, wanted.batch if variant == wanted.variant and batch != wanted.batch else None


class Rollouts:
    """What the cluster delivers of what it is asked for. ``now``: monotonic seconds.

    In a step `look` comes first and `ordered` last; ``back_off`` says meanwhile what not to ask for.
    """

    def __init__(
        self, definition: Definition, patience: Patience, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.back_off = BackOff(definition, now)
        self._definition, self._patience, self._now = definition, patience, now
        self._stages = definition.pipeline.stages
        self._records = [_Record() for _ in self._stages]
        self._looked_s = now()

    def look(
        self, seen: Sequence[StageSeen], asked: Sequence[StageConfig | None], free: bool = True
    ) -> list[GivenUp]:
        """What is given up now.

        ``asked``: by the cluster's objects, None where that is not known; ``free``: nobody wants it kept.
        """
        now_s = self._now()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        self.back_off.end()
        found = []
        for s, (one, wanted) in enumerate(zip(seen, asked, strict=True)):
            order = None if one.problem else self._records[s].ordered
            too_long = self._wait(s, one, order or wanted, passed_s)
            found += [self._give_up(s, one)] if too_long and free else []
        return found

    def ordered(self, stages: Sequence[StageConfig | None]) -> None:
        """What was written just now, None for a stage that was left alone."""
        for record, order in zip(self._records, stages, strict=True):
            if order is not None and order != record.ordered:
                record.pending = order
            record.ordered = order

    @property
    def overdue(self) -> tuple[Overdue | None, ...]:
        """By stage what should serve by now and does not."""
        return tuple(record.overdue for record in self._records)

    def within(self, stages: Sequence[StageConfig | None]) -> tuple[StageConfig | None, ...]:
        """The same with what serves in the place of what is given up, and as much capacity of it."""
        return tuple(None if one is None else self._within(s, one) for s, one in enumerate(stages))

    def deliverable(self, configuration: Configuration) -> Configuration:
        """A configuration likewise."""
        return Configuration(tuple(self._within(s, one) for s, one in enumerate(configuration.stages)))

    def facts(self, fleet: Records) -> Records:
        """FLEET records by stage; where a stage is overdue, what serves is what was last seen to."""
        found = fleet.copy()
        for stage, record, seen in zip(self._stages, self._records, found, strict=True):
            if record.overdue is not None and record.served is not None:
                seen["active"] = stage.index(record.served[0])
                seen["batch"] = stage.variants[0].batches.index(record.served[1])
        return found

    def served(self, configuration: Configuration) -> Configuration:
        """What really serves of a configuration: the same but for stages in which it is overdue."""
        pairs = zip(self._records, configuration.stages, strict=True)
        return Configuration(tuple(_serving(record, one) for record, one in pairs))

    def entry(self) -> dict[str, Any]:
        """For the decision log: what is overdue and what is given up, both in words too."""
        overdue = [asdict(one) | {"told": str(one)} for one in self.overdue if one]
        return {"overdue": overdue, "given_up": [one.entry(self._looked_s) for one in self.back_off.told]}

    def _wait(self, s: int, seen: StageSeen, wanted: StageConfig | None, passed_s: float) -> bool:
        """Whether the stage waits for too long."""
        record, stage = self._records[s], self._stages[s]
        before, record.pending, record.overdue = record.pending, None, None
        record.see(stage, seen)
        if wanted is None or seen.desired == 0:
            record.waits.clear()
            return False
        came, target = record.came(seen, wanted), min(wanted.replicas, seen.desired)
        if came >= target:
            self._serves(s, wanted, passed_s)
            return False
        record.pending, record.whole_s = wanted, 0.0
        start_up_s, missing = self._start_up_s(stage, wanted.variant), record.missing(wanted)
        if missing in record.waits and came > record.waits[missing].came:
            record.waits.clear()
        limit_s = self._patience.limit_s(start_up_s)
        wait = record.waits.setdefault(missing, _Wait(came, limit_s))
        if self._looked_s < wait.until_s:
            wait.limit_s = wait.waited_s + limit_s
        if before is not None and (before.variant, before.batch) == (wanted.variant, wanted.batch):
            wait.waited_s += passed_s
        if wait.waited_s > start_up_s:
            figures = (target, came, wait.waited_s, start_up_s)
            record.overdue = Overdue(stage.name, wanted.variant, wanted.batch, *figures, seen.trouble)
        return record.overdue is not None and wait.waited_s >= wait.limit_s

    def _serves(self, s: int, wanted: StageConfig, passed_s: float) -> None:
        """All that is asked for serves; after a while that counts as a success."""
        record, stage = self._records[s], self._stages[s]
        record.waits.clear()
        record.whole_s += passed_s
        if record.whole_s >= self._patience.limit_s(self._start_up_s(stage, wanted.variant)):
            self.back_off.succeeded(stage, wanted.variant, wanted.batch)

    def _give_up(self, s: int, seen: StageSeen) -> GivenUp:
        """What did not come is not asked for from now on, nor what would meet the same.

        Where something else serves, the stage first goes back to that, so that it carries the load before
        another variant is tried. Where nothing would be left to ask for, the order stands.
        """
        record, stage = self._records[s], self._stages[s]
        overdue, wanted = record.overdue, record.pending
        assert overdue is not None
        assert wanted is not None
        missing = record.missing(wanted)
        failures = self.back_off.failed(stage, *missing)
        limit_s = self._patience.limit_s(overdue.start_up_s)
        pause_s = self._patience.pause_s(overdue.start_up_s, failures)
        serving = record.served if seen.ready else None
        same = serving == (wanted.variant, wanted.batch)
        what = f"no more than {seen.ready} are asked for" if same else "not asked for again"
        cap = Cap(stage.name, *missing, seen.ready if same else 0)
        until_s = self._looked_s + pause_s
        record.waits[missing] = _Wait(overdue.ready, overdue.waited_s + limit_s, overdue.waited_s, until_s)
        found = GivenUp(cap, until_s, failures, f"{overdue}; {what} for {pause_s:.0f} s")
        with_it: list[GivenUp] = []
        if seen.unschedulable or seen.current < seen.desired:  # no room, so none for a larger one either
            with_it += _all_but(stage, serving, stage.variant(wanted.variant).cores, until_s)
        if serving is not None and not same:
            with_it += _all_but(stage, serving, 0, self._looked_s + limit_s)
        if self.back_off.add(stage, [found, *with_it]):
            return found
        told = f"{overdue}; nothing else is left to ask for, so it is waited for"
        kept = GivenUp(Cap(stage.name, *missing, wanted.replicas), until_s, failures, told)
        self.back_off.add(stage, [kept])
        return kept

    def _within(self, s: int, wanted: StageConfig) -> StageConfig:
        stage, served = self._stages[s], self._records[s].served
        most = self.back_off.most(stage, wanted.variant, wanted.batch)
        if wanted.replicas <= most:
            return wanted
        if most > 0:
            return replace(wanted, replicas=most)
        if served is None or not (limit := self.back_off.most(stage, *served)):
            return wanted
        rate = rate_rps(stage, wanted) / rate_rps(stage, StageConfig(*served, 1))
        return StageConfig(*served, min(max(math.ceil(wanted.replicas * rate - 1e-9), 1), limit))

    def _start_up_s(self, stage: Stage, name: str) -> float:
        """Seconds until a variant should serve, started anew or in place."""
        variant = stage.variant(name)
        started_s = variant.start_up_s * self._definition.timing.start_up_scale
        return max(started_s, variant.reload_s) if math.isfinite(variant.reload_s) else started_s


def _all_but(stage: Stage, serving: tuple[str, int] | None, cores: int, until_s: float) -> list[GivenUp]:
    """All that needs new replicas of so many cores or more."""
    pairs = ((one, batch) for one in stage.variants if one.cores >= cores for batch in one.batches)
    caps = (Cap(stage.name, one.name, batch, 0) for one, batch in pairs if (one.name, batch) != serving)
    return [GivenUp(cap, until_s) for cap in caps]


def _serving(record: _Record, asked: StageConfig) -> StageConfig:
    late = record.overdue
    if late is None or (late.variant, late.batch) != (asked.variant, asked.batch):
        return asked
    return StageConfig(*(record.served or (asked.variant, asked.batch)), record.ready)
