"""Orders are not facts: what was asked for and does not become ready is told, and after a while given up.

Every step sees what the ready replicas serve. A stage waits while fewer of them serve what is asked for than
were asked for; the wait starts again whenever one more does. It is *overdue* once it lasts longer than the
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
from ipa_rl.agents.protocol import Decision, State
from ipa_rl.documents import NonNegative, StrictModel
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import Records
from ipa_rl.live.cluster import StageSeen
from ipa_rl.objective import Cap, capped
from ipa_rl.pipeline import Configuration, Stage, StageConfig
from ipa_rl.sidecar.model_estimate import capacity_rps, rate_rps, replicas_for

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
    """What is ``given_up`` of a pipeline, and the environment that is left. ``now``: monotonic seconds.

    Something is left to ask for of every stage.
    """

    def __init__(self, definition: Definition, now: Callable[[], float]) -> None:
        self._whole, self._restricted, self._now = definition, definition, now
        self._failures: dict[tuple[str, str, int | None], int] = {}
        self.given_up: list[GivenUp] = []

    @property
    def definition(self) -> Definition:
        """The environment within what can be delivered."""
        caps = tuple(one.cap for one in self.given_up)
        if caps != self._restricted.problem.caps:
            self._restricted = self._whole.with_problem(caps=caps) if caps else self._whole
        return self._restricted

    def end(self) -> None:
        """What has been given up for long enough may be asked for again."""
        self.given_up = [one for one in self.given_up if one.until_s > self._now()]

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
        if self._leaves_nothing(stage, [*self.given_up, *found]):
            return False
        self.given_up += found
        return True

    def most(self, stage: Stage, variant: str, batch: int, given_up: Sequence[GivenUp] | None = None) -> int:
        """Most replicas that are asked for, by what is given up now or by ``given_up``."""
        caps = (one.cap for one in (self.given_up if given_up is None else given_up))
        return capped(caps, stage.name, variant, batch, self._whole.problem.max_replicas)

    def excess(self, configuration: Configuration) -> str:
        """What of a configuration is given up, in words; empty where nothing is."""
        pairs = zip(self._whole.pipeline.stages, configuration.stages, strict=True)
        return ", ".join(
            f"{one.replicas} x {one.variant} b{one.batch} of {stage.name}"
            for stage, one in pairs
            if one.replicas > self.most(stage, one.variant, one.batch)
        )

    def checked(self, program: ProgramAgent, state: State, decision: Decision) -> Decision:
        """An agent's decision; where it asks for what was given up, the program's within the rest."""
        excess = self.excess(decision.configuration)
        if not excess:
            return decision
        rest = replace(program, definition=self.definition).decide(state)
        return replace(rest, fallback=f"given up: {excess}")

    def _leaves_nothing(self, stage: Stage, given_up: Sequence[GivenUp]) -> bool:
        pairs = ((variant.name, batch) for variant in stage.variants for batch in variant.batches)
        return not any(self.most(stage, *pair, given_up) for pair in pairs)

    def remembered(self) -> dict[str, Any]:
        """What must survive a restart: back-offs as the seconds that are left of them."""
        return {
            "failures": [[*key, count] for key, count in self._failures.items()],
            "given_up": [one.entry(self._now()) for one in self.given_up],
        }

    def remember(self, kept: Mapping[str, Any]) -> None:
        """Go on from what survived. Raises KeyError, TypeError or ValueError where it is unreadable."""
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
            self._failures, self.given_up = failures, given_up


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

    stage: Stage
    served: tuple[str, int] | None = None
    ready: int = 0
    ordered: StageConfig | None = None
    pending: StageConfig | None = None
    waits: dict[tuple[str, int | None], _Wait] = field(default_factory=dict)
    whole_s: float = 0.0
    overdue: Overdue | None = None

    def see(self, seen: StageSeen) -> None:
        """What serves now; it is what served last where the profile does not know it, or nobody does."""
        self.ready = seen.ready
        known = next((one for one in self.stage.variants if one.name == seen.variant), None)
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

    def serves(self, asked: StageConfig) -> StageConfig:
        """What really serves of it: the same, but where that is overdue."""
        late = self.overdue
        if late is None or (late.variant, late.batch) != (asked.variant, asked.batch):
            return asked
        return StageConfig(*(self.served or (asked.variant, asked.batch)), self.ready)


class Rollouts:
    """What the cluster delivers of what it is asked for. ``now``: monotonic seconds.

    In a step `look` comes first and `ordered` last; ``back_off`` says meanwhile what not to ask for.
    """

    def __init__(
        self, definition: Definition, patience: Patience, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.back_off = BackOff(definition, now)
        self._start_up_scale = definition.timing.start_up_scale
        self._patience, self._now = patience, now
        self._records = [_Record(stage) for stage in definition.pipeline.stages]
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
        for record, one, known in zip(self._records, seen, asked, strict=True):
            wanted = (None if one.problem else record.ordered) or known
            before, record.pending, record.overdue = record.pending, None, None
            record.see(one)
            if wanted is None or one.desired == 0:
                record.waits.clear()
            elif record.came(one, wanted) >= min(wanted.replicas, one.desired):
                record.waits.clear()
                record.whole_s += passed_s
                if record.whole_s >= self._patience.limit_s(self._start_up_s(record.stage, wanted.variant)):
                    self.back_off.succeeded(record.stage, wanted.variant, wanted.batch)
            else:
                same = (wanted.variant, wanted.batch)
                again = before is not None and (before.variant, before.batch) == same
                late = self._waits(record, one, wanted, passed_s if again else 0.0)
                found += [self._give_up(record, one, wanted, late)] if late is not None and free else []
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
        pairs = zip(self._records, stages, strict=True)
        return tuple(None if one is None else self._within(record, one) for record, one in pairs)

    def deliverable(self, configuration: Configuration) -> Configuration:
        """A configuration likewise."""
        pairs = zip(self._records, configuration.stages, strict=True)
        return Configuration(tuple(self._within(record, one) for record, one in pairs))

    def facts(self, fleet: Records) -> Records:
        """FLEET records by stage; where a stage is overdue, what serves is what was last seen to."""
        found = fleet.copy()
        for record, seen in zip(self._records, found, strict=True):
            if record.overdue is not None and record.served is not None:
                seen["active"] = record.stage.index(record.served[0])
                seen["batch"] = record.stage.variants[0].batches.index(record.served[1])
        return found

    def served(self, configuration: Configuration) -> Configuration:
        """What really serves of a configuration: the same but for stages in which it is overdue."""
        pairs = zip(self._records, configuration.stages, strict=True)
        return Configuration(tuple(record.serves(one) for record, one in pairs))

    def entry(self) -> dict[str, Any]:
        """For the decision log: what is overdue and what is given up, both in words too."""
        overdue = [asdict(one) | {"told": str(one)} for one in self.overdue if one]
        given_up = [one.entry(self._looked_s) for one in self.back_off.given_up if one.told]
        return {"overdue": overdue, "given_up": given_up}

    def _waits(
        self, record: _Record, seen: StageSeen, wanted: StageConfig, passed_s: float
    ) -> Overdue | None:
        """Note that what is wanted does not all serve yet; what is overdue for too long."""
        record.pending, record.whole_s = wanted, 0.0
        came, missing = record.came(seen, wanted), record.missing(wanted)
        start_up_s = self._start_up_s(record.stage, wanted.variant)
        limit_s = self._patience.limit_s(start_up_s)
        if missing in record.waits and came > record.waits[missing].came:
            record.waits.clear()
        wait = record.waits.setdefault(missing, _Wait(came, limit_s))
        if self._looked_s < wait.until_s:
            wait.limit_s = wait.waited_s + limit_s
        wait.waited_s += passed_s
        if wait.waited_s <= start_up_s:
            return None
        record.overdue = Overdue(
            record.stage.name,
            wanted.variant,
            wanted.batch,
            min(wanted.replicas, seen.desired),
            came,
            wait.waited_s,
            start_up_s,
            seen.trouble,
        )
        return record.overdue if wait.waited_s >= wait.limit_s else None

    def _give_up(self, record: _Record, seen: StageSeen, wanted: StageConfig, late: Overdue) -> GivenUp:
        """What did not come is not asked for from now on, nor what would meet the same.

        Where something else serves, the stage first goes back to that, so that it carries the load before
        another variant is tried. Where nothing would be left to ask for, the order stands.
        """
        stage, missing = record.stage, record.missing(wanted)
        failures = self.back_off.failed(stage, *missing)
        limit_s = self._patience.limit_s(late.start_up_s)
        pause_s = self._patience.pause_s(late.start_up_s, failures)
        until_s = self._looked_s + pause_s
        record.waits[missing] = _Wait(late.ready, late.waited_s + limit_s, late.waited_s, until_s)
        serving = record.served if seen.ready else None
        same = serving == (wanted.variant, wanted.batch)
        what = f"at most {seen.ready} are asked for" if same else "not asked for again"
        cap = Cap(stage.name, *missing, seen.ready if same else 0)
        found = [GivenUp(cap, until_s, failures, f"{late}; {what} for {pause_s:.0f} s")]
        if seen.unschedulable or seen.current < seen.desired:  # no room, so none for a larger one either
            found += _all_but(stage, serving, stage.variant(wanted.variant).cost_cores, until_s)
        if serving is not None and not same:
            found += _all_but(stage, serving, 0, self._looked_s + limit_s)
        if not self.back_off.add(stage, found):
            told = f"{late}; nothing else is left to ask for, so the wait goes on"
            found = [GivenUp(Cap(stage.name, *missing, wanted.replicas), until_s, failures, told)]
            self.back_off.add(stage, found)
        return found[0]

    def _within(self, record: _Record, wanted: StageConfig) -> StageConfig:
        stage, served = record.stage, record.served
        most = self.back_off.most(stage, wanted.variant, wanted.batch)
        if wanted.replicas <= most:
            return wanted
        if most > 0:
            return replace(wanted, replicas=most)
        if served is None or not (limit := self.back_off.most(stage, *served)):
            return wanted
        needed = replicas_for(capacity_rps(stage, wanted), rate_rps(stage, StageConfig(*served, 1)))
        return StageConfig(*served, min(needed, limit))

    def _start_up_s(self, stage: Stage, name: str) -> float:
        """Seconds until a variant should serve, started anew or in place."""
        variant = stage.variant(name)
        started_s = variant.start_up_s * self._start_up_scale
        return max(started_s, variant.reload_s) if math.isfinite(variant.reload_s) else started_s


def _all_but(stage: Stage, serving: tuple[str, int] | None, cores: float, until_s: float) -> list[GivenUp]:
    """All that needs new replicas of so many cores or more."""
    pairs = ((one, batch) for one in stage.variants if one.cost_cores >= cores for batch in one.batches)
    caps = (Cap(stage.name, one.name, batch, 0) for one, batch in pairs if (one.name, batch) != serving)
    return [GivenUp(cap, until_s) for cap in caps]
