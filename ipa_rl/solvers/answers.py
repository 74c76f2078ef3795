"""What a solver answers: an optimum, or why there is none and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass

from ipa_rl.pipeline import Configuration


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best configuration for a load."""

    configuration: Configuration
    objective: float
    load_rps: float

    @property
    def to_run(self) -> Configuration:
        """What runs at that load: the optimum."""
        return self.configuration

    @property
    def served_rps(self) -> float:
        """The load that it serves: all."""
        return self.load_rps


@dataclass(frozen=True, slots=True)
class Repair:
    """The least change that makes a load feasible.

    ``extra_cores``: (stage, cores) beyond what the replica limit allows; ``sla_s``: the SLA that suffices.
    One of the two alone is enough when it is the only one given, or when ``either`` is set; otherwise
    both are needed. ``extra_units``: (resource, units) beyond its limit that the cheapest configuration takes
    then, needed in any case.
    """

    extra_cores: tuple[tuple[str, float], ...]
    sla_s: float | None
    either: bool = False
    extra_units: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        cores = " and ".join(f"{n:g} more cores at {stage}" for stage, n in self.extra_cores)
        sla = f"an SLA of {self.sla_s:.4g} s" if self.sla_s is not None else ""
        units = " and ".join(f"{n:g} more of {resource}" for resource, n in self.extra_units)
        own = (" or " if self.either else " and ").join(part for part in (cores, sla) if part)
        return " and ".join(part for part in (units, own) if part)


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No configuration serves the load within the SLA and the limits.

    ``binding``: names of the stages that lack capacity at the replica limit, or of the resources that there
    is not enough of, or "SLA".
    ``serves_most``: the configuration that serves the highest load, ``served_rps``, within them; where the
    SLA cannot be met at any load, the one that serves the most with the least latency.
    """

    load_rps: float
    binding: tuple[str, ...]
    serves_most: Configuration
    served_rps: float
    repair: Repair

    @property
    def to_run(self) -> Configuration:
        """What runs at that load nevertheless: the configuration that serves the most."""
        return self.serves_most


Answer = Optimum | Infeasible
