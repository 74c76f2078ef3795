"""The record that leader election is held over (`ipa_rl.sidecar.leader`), as a cluster keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in the lease. ``holder`` is empty where it was released.

    ``acquired``, ``renewed``: when, by the holder's clock. ``transitions``: how often the holder changed.
    ``handover``: what the holder leaves to whoever leads next, a short text.
    """

    holder: str
    lease_s: float
    acquired: datetime
    renewed: datetime
    transitions: int = 0
    handover: str = ""


class LockError(RuntimeError):
    """The record could not be read or written; tried again later."""
