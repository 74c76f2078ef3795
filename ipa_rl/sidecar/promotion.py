"""When a shadowed agent takes over, and when it hands back; remembered across restarts."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ipa_rl.documents import NonNegative, Positive, StrictModel, load_json
from ipa_rl.errors import InputError
from ipa_rl.files import exists
from ipa_rl.sidecar.shadow import PRESENT, Compared, ShadowErrors

LOG = logging.getLogger(__name__)

ACT, SHADOW = "act", "shadow"


class Promotion(StrictModel):
    """The agent takes over where its utility beat the present's by ``by``, on average for ``for_s``.

    ``more_violations``: share of requests by which it may violate the SLA more often. Nothing is taken over
    while a bound of the demotion rule is exceeded.
    """

    by: NonNegative = 0.1
    for_s: Positive = 3600.0
    more_violations: NonNegative = 0.005


class Demotion(StrictModel):
    """The agent hands back where a prediction is off by more than its bound without a break for ``for_s``."""

    load_error: Positive = 1.0
    capacity_error: Positive = 0.5
    latency_error: Positive = 1.0
    for_s: Positive = 300.0

    def exceeded(self, errors: ShadowErrors) -> list[str]:
        """Which predictions are off, in words."""
        return [
            f"{name} is {100 * off:.0f} % off (bound {100 * bound:.0f} %)"
            for name, off in asdict(errors).items()
            if off > (bound := getattr(self, f"{name}_error"))  # NaN never is
        ]


@dataclass(frozen=True, slots=True)
class _Gain:
    """One interval: its seconds, and how much higher the agent's utility and violations were."""

    seconds: float
    utility: float
    violations: float


class Rule:
    """Who is in control: ``mode`` is ACT or SHADOW, ``reason`` says why in words.

    ``configured``: the mode that the settings begin with. ``agent``: its name among the contenders.
    """

    def __init__(
        self, configured: str, agent: str, promotion: Promotion | None, demotion: Demotion | None
    ) -> None:
        self.configured, self.mode, self.reason = configured, configured, "as configured"
        self._agent, self._promotion, self._demotion = agent, promotion, demotion
        self._gains: deque[_Gain] = deque()
        self.off_s = 0.0

    @property
    def mean_gain(self) -> float:
        """How much higher the agent's utility was on average, NaN where nothing was compared yet."""
        total_s = sum(gain.seconds for gain in self._gains)
        return sum(g.seconds * g.utility for g in self._gains) / total_s if total_s else math.nan

    @property
    def compared_s(self) -> float:
        """Seconds over which the agent was compared, the length of the rule at most."""
        return sum(gain.seconds for gain in self._gains)

    def update(self, compared: Compared) -> bool:
        """An interval was compared; whether control changes hands now."""
        off = self._demotion.exceeded(compared.errors) if self._demotion else []
        self.off_s = self.off_s + compared.seconds if off else 0.0
        if self.mode == ACT:
            demoted = self._demotion is not None and self.off_s >= self._demotion.for_s
            if demoted:
                self._turn(SHADOW, f"predictions were off for {self.off_s:.0f} s: {', '.join(off)}")
            return demoted
        agent, present = compared.accounts[self._agent], compared.accounts[PRESENT]
        better, worse = agent.utility - present.utility, agent.violations - present.violations
        self._gains.append(_Gain(compared.seconds, better, worse))
        limit_s = self._promotion.for_s if self._promotion else 3600.0
        while self.compared_s - self._gains[0].seconds >= limit_s:
            self._gains.popleft()
        if self._takes_over(off):
            reason = f"utility {self.mean_gain:.3g} higher than the present's over {self.compared_s:.0f} s"
            self._turn(ACT, reason)
        return self.mode == ACT

    def _takes_over(self, off: list[str]) -> bool:
        rule = self._promotion
        if rule is None or off or self.compared_s < rule.for_s or self.mean_gain < rule.by:
            return False
        more = sum(gain.seconds * gain.violations for gain in self._gains) / self.compared_s
        return more <= rule.more_violations

    def _turn(self, mode: str, reason: str) -> None:
        self.mode, self.reason, self.off_s = mode, reason, 0.0
        self._gains.clear()

    def remembered(self) -> dict[str, Any]:
        """What must survive a restart."""
        return {
            "configured": self.configured,
            "mode": self.mode,
            "reason": self.reason,
            "off_s": self.off_s,
            "gains": [list(asdict(gain).values()) for gain in self._gains],
        }

    def remember(self, kept: Mapping[str, Any]) -> None:
        """Go on from what survived; start fresh where the settings ask for another mode than then.

        Raises KeyError, TypeError or ValueError where it is unreadable.
        """
        if kept["configured"] != self.configured:
            return
        gains = deque(_Gain(*(float(value) for value in one)) for one in kept["gains"])
        if not all(math.isfinite(value) for gain in gains for value in asdict(gain).values()):
            raise ValueError("a gain is not a number")
        if kept["mode"] not in (ACT, SHADOW):
            raise ValueError(f"no mode {kept['mode']}")
        self.mode, self.reason, self.off_s = kept["mode"], str(kept["reason"]), float(kept["off_s"])
        self._gains = gains


def load_state(path: Path) -> dict[str, Any]:
    """What was saved; empty, with a warning, where it is missing or broken."""
    if not exists(path):
        return {}
    try:
        return load_json(path, dict[str, Any], "delete it")
    except InputError as error:
        LOG.warning("the state is unreadable, starting fresh: %s", error, extra={"file": str(path)})
        return {}
