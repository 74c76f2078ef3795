"""What a step is to people: a line of the process log, Events of the stages' objects."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from ipa_rl.live.cluster import Applied, ClusterError
from ipa_rl.sidecar.decision_log import loggable
from ipa_rl.sidecar.explain import reason_in_words
from ipa_rl.sidecar.orders import Order
from ipa_rl.sidecar.rollouts import GivenUp

LOG = logging.getLogger(__name__)

_Event = tuple[str, str, str, Literal["Normal", "Warning"]]
"""The arguments of `EventSink.record_event`."""


class EventSink(Protocol):
    """Where Kubernetes Events go."""

    def record_event(
        self, stage: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """One Event about the object of a stage. Raises ClusterError where it is not taken."""
        ...


class Announcer:
    """Tells of steps. ``events``: None where none are wanted; ``stages``: their names."""

    def __init__(self, events: EventSink | None, stages: Sequence[str]) -> None:
        self._events, self._stages = events, tuple(stages)
        self._refused: set[str] = set()
        self._unknown: list[str] = []

    def stepped(self, entry: Mapping[str, Any]) -> None:
        """The step in the process log; ``entry`` is the decision log's."""
        keys = ("step", "mode", "by", "fallback", "load_rps", "planned_rps", "why_not", "guard")
        told = {key: entry[key] for key in (*keys, "refused", "set_back") if entry[key] not in ("", [], None)}
        doubted = not entry["stale"] and entry["load_problem"]
        told |= {"load_problem": doubted} if doubted else {}
        changes = [f"{c['stage']}: {c['knob']} {c['before']} -> {c['after']}" for c in entry["changes"]]
        troubled = entry["acted"] and bool(entry["refused"] or entry["set_back"])
        level = logging.WARNING if troubled or doubted or entry["by"] == "held" else logging.INFO
        LOG.log(level, "stepped", extra=loggable({**told, "changes": changes}))

    def unknown(self, stages: list[str]) -> None:
        """Say once that shadow mode compares nothing, as the profile does not know what stages ask for."""
        if stages and stages != self._unknown:
            names, fix = ", ".join(stages), "set both in the object, as the profile names them"
            LOG.warning("nothing is compared: variant or batch size of %s is not known; fix: %s", names, fix)
        self._unknown = stages

    def ordered(self, order: Order) -> None:
        """One Event a stage for what a person ordered."""
        self._record([(stage, order.event, order.reason, "Normal") for stage in self._stages])

    def changed(self, entry: Mapping[str, Any], applied: Applied, given_up: Sequence[GivenUp]) -> None:
        """One Event a changed stage, with the reason in words; one for what is refused anew or given up."""
        reason, changes = reason_in_words(entry), dict[str, list[str]]()
        for one in applied.changes:
            changes.setdefault(one.stage, []).append(f"{one.knob} {one.before} -> {one.after}")
        told: list[_Event] = [
            (stage, "Adapted", f"{', '.join(words)}: {reason}", "Normal") for stage, words in changes.items()
        ]
        lines = [("SetBack", line) for line in applied.set_back]
        lines += [("Refused", line) for line in set(applied.refused) - self._refused]
        for event, line in lines:
            stage, _, words = line.partition(": ")
            told += [(stage, event, words, "Warning")] if stage in self._stages else []
        told += [(late.cap.stage, "GaveUp", late.told, "Warning") for late in given_up]
        self._record(told)
        self._refused = set(applied.refused)

    def _record(self, told: Sequence[_Event]) -> None:
        if self._events is None:
            return
        try:
            for one in told:
                self._events.record_event(*one)
        except ClusterError as error:
            LOG.warning("the Event was not recorded: %s", error)
