"""What a simulated cluster lives through: arrivals, and what goes wrong meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.workload.trace import Window


@dataclass(frozen=True)
class Disturbance:
    """How the world differs from what controllers were told; times in seconds since the window's start.

    ``start_up_scale``, ``service_scale``: factors on start-up delays and latencies. ``outage_at_s``: when
    ``outage_share`` of every stage's ready replicas fails. ``gap_s``: begin and end of a stretch of which
    no loads are reported, not from the first second on.
    """

    start_up_scale: float = 1.0
    service_scale: float = 1.0
    outage_at_s: float | None = None
    outage_share: float = 0.5
    gap_s: tuple[int, int] | None = None


@dataclass(frozen=True)
class Scenario:
    """A window of arrivals, and what goes wrong in it."""

    window: Window
    disturbance: Disturbance = Disturbance()

    @property
    def name(self) -> str:
        """That of the window."""
        return self.window.name

    def world(self, definition: Definition) -> Definition:
        """The environment as it really is here; ``definition`` is what controllers were told."""
        told = definition.timing
        return replace(
            definition,
            timing=replace(
                told,
                start_up_scale=told.start_up_scale * self.disturbance.start_up_scale,
                service_scale=told.service_scale * self.disturbance.service_scale,
            ),
        )

    def needs_requests(self) -> bool:
        """Whether the fluid simulator cannot play it."""
        return self.disturbance.outage_at_s is not None or self.window.times_s is not None


def check_fluid(scenario: Scenario) -> None:
    """Raises InputError where the fluid simulator cannot play the scenario."""
    if scenario.needs_requests():
        raise InputError(
            f"the fluid simulator knows neither outages nor times of single requests ({scenario.name})",
            field="--fluid",
            fix="leave it out",
        )
