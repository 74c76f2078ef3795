"""Which of several copies of the controller acts: election over a record that all can read and write.

As client-go's leaderelection does it. A candidate takes the lease over only after it has watched the record
stay unchanged for the whole lease time by its own monotonic clock; the times written in the record are for
people and are never compared, so clocks that differ, or that are set, do no harm. A leader counts itself as
such only until its renew deadline, which is shorter, has passed since it *began* its last good renewal. So
two never act at once as long as no clock runs lease / renew times (15 / 10) as fast as another.

The official client has an election of its own (``kubernetes.leaderelection``). It compares wall clocks,
which may be set; never releases, so that every restart waits for the lease to run out; goes on leading while
an update hangs; takes a lease without a holder for broken; and runs the work in a thread that nothing stops
when the lease is lost.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Protocol

from pydantic import BeforeValidator, Field, model_validator

from ipa_rl.documents import Positive, StrictModel
from ipa_rl.live.cluster import ClusterError, LeaseRecord
from ipa_rl.live.set_backs import SetBacks

LOG = logging.getLogger(__name__)


class Lock(Protocol):
    """Where the record is kept. Both raise ClusterError where the server does not answer or refuses."""

    def get(self) -> tuple[LeaseRecord, str] | None:
        """The record and its version; None where there is none yet."""
        ...

    def put(self, record: LeaseRecord, version: str | None) -> str | None:
        """Write the record where its version is still the given one (None: where there is none yet).

        The new version; None where another was faster.
        """
        ...


def _own_name() -> str:
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


class Election(StrictModel):
    """Over which Lease, who stands for it (by default the pod, or the process), and in what times, seconds.

    ``namespace``: by default the pod's own.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] = "ipa-rl"
    namespace: str | None = None
    identity: Annotated[str, BeforeValidator(lambda given: given or _own_name())] = Field(
        default="", validate_default=True
    )
    lease_s: Positive = 15.0
    renew_s: Positive = 10.0
    retry_s: Positive = 2.0

    @model_validator(mode="after")
    def _check(self) -> Election:
        if not self.lease_s > self.renew_s > self.retry_s:
            raise ValueError("lease_s must be longer than renew_s, and that longer than retry_s")
        return self


class Elector:
    """One candidate. `attempt` from one thread; `leads` from any.

    ``handover``: what it leaves, while it leads, to whoever leads next; None until that is said, and what
    was ``left`` by the one before stays.
    """

    def __init__(self, lock: Lock, election: Election, now: Callable[[], float] = time.monotonic) -> None:
        self.election = election
        self._lock, self._now = lock, now
        self._seen: tuple[LeaseRecord, str] | None = None
        self._seen_at = 0.0
        self._leads_until = float("-inf")
        self.handover: str | None = None

    def leads(self, for_s: float = 0.0) -> bool:
        """Whether this candidate leads now, and still will in so many seconds without another renewal."""
        return self._now() + for_s < self._leads_until

    @property
    def left(self) -> str:
        """What was left by whoever led last; empty where nothing was."""
        return self._seen[0].handover if self._seen else ""

    @property
    def holder(self) -> str:
        """Who was seen to lead last; empty where nobody was."""
        return self._seen[0].holder if self._seen else ""

    def attempt(self, takes: bool = True) -> bool:
        """Acquire or renew once; whether this candidate leads now. ``takes``: else it watches others only."""
        led = self.leads()
        try:
            self._attempt(takes)
        except ClusterError as error:
            LOG.warning("the lease could not be read or written: %s", error)
        if self.leads() != led:
            LOG.info("leads now" if self.leads() else "does not lead any more", extra={"holder": self.holder})
        return self.leads()

    def _attempt(self, takes: bool) -> None:
        began = self._now()
        found = self._lock.get()
        if found is None:
            self._seen = None
        elif self._seen is None or found[1] != self._seen[1]:
            self._seen, self._seen_at = found, self._now()
        before, version = self._seen or (None, None)
        mine = before is not None and before.holder == self.election.identity
        if not mine:
            self.handover = None
        if before is not None and before.holder and not mine:
            # Another's, until the record has not moved for its whole lease, watched by our own clock.
            lease_s = max(before.lease_s, self.election.lease_s)
            if self._now() < self._seen_at + lease_s:
                self._leads_until = float("-inf")
                return
        if not takes:
            return
        record = self._mine(mine)
        written = self._lock.put(record, version)
        if written is None:
            self._leads_until = float("-inf")  # another was faster; who it is shows at the next attempt
            return
        self._seen, self._seen_at = (record, written), self._now()
        self._leads_until = began + self.election.renew_s

    def _mine(self, renewed: bool) -> LeaseRecord:
        now = datetime.now(UTC)
        first = LeaseRecord(self.election.identity, self.election.lease_s, now, now)
        if self._seen is None:
            return first
        before = self._seen[0]
        acquired, transitions = before.acquired if renewed else now, before.transitions + (not renewed)
        handover = before.handover if self.handover is None else self.handover
        return replace(first, acquired=acquired, transitions=transitions, handover=handover)

    def release(self) -> None:
        """Give the lease up, so that another may lead at once. Does nothing where it is not ours."""
        self._leads_until = float("-inf")
        if self._seen is None or self._seen[0].holder != self.election.identity:
            return
        record = replace(self._mine(renewed=True), holder="")
        try:
            written = self._lock.put(record, self._seen[1])
        except ClusterError as error:
            LOG.warning("the lease was not released and will run out: %s", error)
            return
        if written is None:  # another leads already
            self._seen = None
            return
        self._seen, self._seen_at = (record, written), self._now()
        LOG.info("released the lease")


class Campaign(threading.Thread):
    """An elector in a thread of its own, so that the lease is renewed while a step takes its time.

    ``alive``: whether the loop still turns. While it does not the lease is given up, as a copy that leads and
    does nothing keeps all others from acting. ``follows``: only who leads there stands for election here, so
    that one copy leads all pipelines of a fleet.
    """

    def __init__(self, elector: Elector, alive: Callable[[], bool] = lambda: True) -> None:
        super().__init__(name="leader-election", daemon=True)
        self.elector = elector
        self.follows: Elector | None = None
        self._alive, self._stuck = alive, False
        self._over = threading.Event()

    def stop(self) -> None:
        """Stop renewing and release the lease."""
        self._over.set()
        self.join(timeout=self.elector.election.renew_s)
        self.elector.release()

    def run(self) -> None:
        """Stand for election until the end."""
        while not self._over.is_set():
            try:
                self._turn()
            except Exception:  # outermost loop of its thread: without it nobody would ever lead again
                LOG.exception("an attempt to lead failed")
            # Up to a fifth longer, so that candidates do not write at the same moments for ever.
            self._over.wait(self.elector.election.retry_s * (1.0 + 0.2 * random.random()))

    def _turn(self) -> None:
        stuck = not self._alive()
        if stuck != self._stuck:
            LOG.warning("no step ends, giving up the lease" if stuck else "steps end again, may lead")
            self._stuck = stuck
        takes = self.follows is None or self.follows.leads()
        if stuck or not takes:
            self.elector.release()
        if not stuck:
            self.elector.attempt(takes)


def inherit(set_backs: SetBacks, elector: Elector) -> None:
    """Go on from what was left, until this copy leads and leaves something itself.

    What it asked for before it led last is forgotten, as another may have led since.
    """
    if elector.handover is not None:
        return
    set_backs.asked.clear()
    try:
        if elector.left:
            set_backs.remember(json.loads(elector.left), asked=False)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        LOG.warning("what the last leader left is unreadable, starting fresh: %s", error)


def leave(set_backs: SetBacks, elector: Elector) -> None:
    """While this copy leads: written with the next renewal of the lease, and when it is released."""
    if elector.leads():
        elector.handover = json.dumps(set_backs.remembered())
