"""What the profiler needs of a replica, whatever it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ipa_rl.errors import InputError
from ipa_rl.profiler.job import JobStage


class TargetError(InputError):
    """The target of a stage is wrong, so that none of its variants can be measured."""


@dataclass(frozen=True, slots=True)
class Round:
    """A stretch of full batches. ``latencies_s``: of its calls, or of evenly spaced ones where they are many.

    ``throughput_rps``: items a second.
    """

    latencies_s: tuple[float, ...]
    throughput_rps: float


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a variant. ``start_up_s``: from the start of its process until it can answer.

    ``load_s``: the part that loads the model, where it can be told apart. ``memory_mb``: most memory held by
    its processes. None where it cannot be measured.
    """

    stage: str
    variant: str
    cores: int
    start_up_s: float | None
    load_s: float | None
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Place:
    """What a replica is started for, and the words to name it in a fault.

    ``cores``: units of the stage's resource; ``processors``: those that its process may use. ``file``: the
    job's; ``folder``: relative paths and modules start there; ``logs``: what it prints.
    """

    stage: JobStage
    variant: str
    cores: int
    processors: int
    batches: tuple[int, ...]
    file: Path | None
    folder: Path
    logs: Path
    timeout_s: float

    def fault(self, problem: str, fix: str, *, field: str = "target", of_all: bool = False) -> InputError:
        """A fault of this replica in one line; ``of_all``: one that every variant of the stage would meet."""
        told, where = " ".join(problem.split()), f"stages.{self.stage.name}.{field}"
        if of_all:
            return TargetError(told, file=self.file, field=where, fix=fix)
        subject = f"variant {self.variant} on {self.cores} {self.stage.resource}"
        return InputError(f"{subject}: {told}", file=self.file, field=where, fix=fix)


class Replica(Protocol):
    """A started replica of one variant on some cores."""

    @property
    def saturating(self) -> int:
        """Full batches in flight that keep it busy without a pause; 1 where one does."""
        ...

    def run(self, batch: int, in_flight: int, seconds: float) -> Round:
        """Full batches, that many at a time, for at least so long. Raises InputError where it fails."""
        ...

    def started(self) -> Start:
        """How it started, and the memory it has needed so far."""
        ...

    def close(self) -> None:
        """End it."""
        ...
