"""The folder of a run: what is compared, and each job's result as soon as it is there.

``run.json`` says what runs; ``jobs/`` holds one file a job. A run that was cut off goes on with the jobs
that are missing, where the same is asked for again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

import ipa_rl
from ipa_rl.clusters import Kind
from ipa_rl.errors import InputError
from ipa_rl.evaluation.controllers import Controllers
from ipa_rl.evaluation.jobs import Job, Setup
from ipa_rl.evaluation.play import Played

_ARRAYS = tuple(field.name for field in fields(Played) if field.name != "name")


@dataclass(frozen=True)
class Description:
    """What a run compares; ``subject`` in words. ``fingerprint``: of everything that decides its figures."""

    subject: str
    environment: str
    agent: str | None
    kind: Kind
    preference: tuple[float, float] | None
    opponents: str | None
    controllers: tuple[str, ...]
    scenarios: tuple[str, ...]
    seeds: int
    fingerprint: str

    def setup(self) -> Setup:
        """The same, for those who load the controllers."""
        return Setup(
            self.environment,
            Path(self.agent) if self.agent else None,
            self.kind,
            preference=self.preference,
            opponents=Path(self.opponents) if self.opponents else None,
        )


def describe(subject: str, setup: Setup, jobs: Sequence[Job]) -> Description:
    """What these jobs, scenario by scenario and seed by seed, compare."""
    known = setup.controllers()
    seeds = 1 + max(job.seed for job in jobs)
    return Description(
        subject=subject,
        environment=setup.environment,
        agent=str(setup.agent) if setup.agent else None,
        kind=setup.kind,
        preference=setup.preference,
        opponents=str(setup.opponents) if setup.opponents else None,
        controllers=tuple(known.names()),
        scenarios=tuple(job.scenario.name for job in jobs[::seeds]),
        seeds=seeds,
        fingerprint=_fingerprint(known, setup, jobs),
    )


def _fingerprint(known: Controllers, setup: Setup, jobs: Sequence[Job]) -> str:
    """Hash of version, environment, agent, opponents, simulator, scenarios and seeds."""
    digest = hashlib.sha256(ipa_rl.__version__.encode())
    digest.update(repr((known.definition, known.opponents, setup.kind)).encode())
    for layer in known.policy.policy.layers if known.policy else ():
        for array in layer:
            digest.update(np.ascontiguousarray(array).tobytes())
    for job in jobs:
        window = job.scenario.window
        digest.update(repr((window.name, job.scenario.disturbance, job.seed)).encode())
        digest.update(window.arrivals.tobytes())
        digest.update(b"" if window.times_s is None else window.times_s.tobytes())
    return digest.hexdigest()


class RunFolder:
    """Results of the jobs of one run, on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, description: Description) -> set[int]:
        """Positions of the jobs that are done already; none where something else ran here before.

        A run that ended is not gone on with: asked for again, it runs again.
        """
        kept = self._read()
        if kept is not None and not kept["finished"] and _of(kept) == description:
            return {int(path.stem) for path in self._jobs.glob("*.npz")}
        shutil.rmtree(self._jobs, ignore_errors=True)
        self._jobs.mkdir(parents=True)
        self._write(description, finished=False)
        return set()

    def finish(self, description: Description) -> None:
        """All jobs are there."""
        self._write(description, finished=True)

    def description(self) -> Description:
        """What ran here. Raises InputError where no run ended here."""
        kept = self._read()
        fix = "give the folder that ipa-rl compare or ipa-rl evaluate wrote"
        if kept is None:
            raise InputError("holds no run", file=self.path, fix=fix)
        if not kept["finished"]:
            raise InputError("the run has not ended", file=self.path, fix="run the same command again")
        return _of(kept)

    def save(self, position: int, job: Job, played: Sequence[Played]) -> None:
        """Keep a job's result; whole or not at all."""
        arrays: dict[str, Any] = {name: np.stack([getattr(one, name) for one in played]) for name in _ARRAYS}
        window = job.scenario.window
        partial = self._jobs / f"{position}.partial"
        with partial.open("wb") as file:
            np.savez_compressed(file, loads=window.arrivals[window.history_s :], **arrays)
        partial.replace(self._jobs / f"{position}.npz")

    def load(self, position: int, names: Sequence[str]) -> tuple[Played, ...]:
        """A job's result. Raises InputError where its file is missing or broken."""
        path = self._jobs / f"{position}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError("is no result of a job", file=path, fix="run the comparison again") from error
        return tuple(
            Played(name, **{key: array[i] for key, array in arrays.items()}) for i, name in enumerate(names)
        )

    def loads(self, position: int) -> Any:
        """Requests in each second of a job's window, history left out."""
        with np.load(self._jobs / f"{position}.npz", allow_pickle=False) as file:
            return file["loads"]

    @property
    def _jobs(self) -> Path:
        return self.path / "jobs"

    def _read(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            _of(content)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return content

    def _write(self, description: Description, finished: bool) -> None:
        content = {**description.__dict__, "finished": finished}
        partial = self.path / "run.json.partial"
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path / "run.json")


def _of(content: dict[str, Any]) -> Description:
    values = {field.name: content[field.name] for field in fields(Description)}
    values["kind"] = Kind(values["kind"])
    for name in ("controllers", "scenarios", "preference"):
        values[name] = None if values[name] is None else tuple(values[name])
    return Description(**values)
