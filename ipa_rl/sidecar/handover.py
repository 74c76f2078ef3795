"""What a leader leaves to whoever leads next: how often another writer has set back what was asked for."""

from __future__ import annotations

import json
import logging

from ipa_rl.live.set_backs import SetBacks
from ipa_rl.sidecar.leader import Elector

LOG = logging.getLogger(__name__)


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
