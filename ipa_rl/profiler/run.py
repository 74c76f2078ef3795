"""A whole profile: every variant on every core count in a fresh replica, batch size after batch size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.files import is_file
from ipa_rl.profiler.callables import CallableReplica
from ipa_rl.profiler.cells import MeasuredCell, measure
from ipa_rl.profiler.endpoints import EndpointReplica
from ipa_rl.profiler.folder import write_folder
from ipa_rl.profiler.job import JobStage, ProfilingJob
from ipa_rl.profiler.measurements_file import Book
from ipa_rl.profiler.processes import usable_cores
from ipa_rl.profiler.replica import Place, Replica, Start, TargetError
from ipa_rl.progress import Report


@dataclass(frozen=True)
class Outcome:
    """What was measured and what could not be. ``files``: written ones, none where a stage has no cell."""

    cells: tuple[MeasuredCell, ...]
    starts: tuple[Start, ...]
    faults: tuple[InputError, ...]
    files: tuple[Path, ...]


def profile(job: ProfilingJob, folder: Path, report: Report, file: Path | None = None) -> Outcome:
    """Measure what ``folder`` does not hold yet, and write it as a pipeline's folder.

    ``file``: where the job was read; paths and modules are relative to its folder, else to the current one.
    A variant that fails is a fault of the outcome and leaves the others alone. Interrupted, it goes on where
    it stopped. Raises InputError where the job cannot be run here, or the folder holds another.
    """
    _check_possible(job, file)
    book = Book(folder / "measured.jsonl", job)
    faults: list[InputError] = []
    for stage in job.stages:
        places = list(_places(job, stage, folder, file))
        total = sum(len(place.batches) for place in places)
        done = sum(book.has(place, batch) for place in places for batch in place.batches)
        report.advance(stage.name, done, total)
        for place in places:
            try:
                for _ in _measure_missing(place, job, book):
                    done += 1
                    report.advance(stage.name, done, total)
            except TargetError as fault:  # no other variant of the stage can be measured either
                faults.append(fault)
                break
            except InputError as fault:
                faults.append(fault)
    # An earlier job of the folder may have had more.
    places_asked = {
        (stage.name, variant.name, count)
        for stage in job.stages
        for variant in stage.variants
        for count in job.counts(stage)
    }
    asked = [
        cell
        for cell in book.cells
        if (cell.stage, cell.variant, cell.cores) in places_asked and cell.batch in job.batches
    ]
    files = write_folder(folder, job, asked, book.starts)
    return Outcome(tuple(asked), tuple(book.starts), tuple(faults), tuple(files))


def _measure_missing(place: Place, job: ProfilingJob, book: Book) -> Iterator[int]:
    """Measure what is missing of a replica's batch sizes; yields each as it is there."""
    missing = [batch for batch in place.batches if not book.has(place, batch)]
    if not missing:
        return
    if place.stage.target.is_started:
        for _ in range(job.measuring.starts - 1):
            with closing(_start(place, job)) as extra:
                book.add_start(extra.started())
    with closing(_start(place, job)) as replica:
        try:
            for batch in missing:
                book.add_cell(measure(replica, batch, job.measuring))
                yield batch
        finally:
            book.add_start(replica.started())


def _start(place: Place, job: ProfilingJob) -> Replica:
    endpoint = place.stage.target.endpoint
    if endpoint is None:
        return CallableReplica(place)
    return EndpointReplica(place, endpoint, job.measuring.batches_in_flight)


def _check_possible(job: ProfilingJob, file: Path | None) -> None:
    """Raise InputError for what is known to fail before anything is started."""
    usable = usable_cores()
    for stage in job.stages:
        target = stage.target
        if target.is_started and stage.on_cores and max(job.counts(stage)) > usable:
            problem = f"{max(job.counts(stage))} on a machine of {usable}"
            raise InputError(problem, file=file, field="cores", fix=f"measure up to {usable}")
        if target.endpoint is not None and find_spec("aiohttp") is None:
            raise MissingExtraError("aiohttp", "serving")
        body = target.http.body if target.http is not None else None
        if body is not None and not is_file(_base(file) / body):
            field, fix = f"stages.{stage.name}.target.http.body", "give a path relative to the job file"
            raise InputError(f"there is no file {body}", file=file, field=field, fix=fix)


def _base(file: Path | None) -> Path:
    return Path.cwd() if file is None else file.resolve().parent


def _places(job: ProfilingJob, stage: JobStage, folder: Path, file: Path | None) -> Iterator[Place]:
    """Every replica that must be started."""
    endpoint = stage.target.endpoint
    apart = endpoint is not None and endpoint.restarts_per_batch
    groups = [(batch,) for batch in job.batches] if apart else [job.batches]
    for number, variant in enumerate(stage.variants):
        for cores in job.counts(stage):
            for batches in groups:
                yield Place(
                    stage=stage,
                    variant=variant.name,
                    cores=cores,
                    processors=cores if stage.on_cores else usable_cores(),
                    batches=batches,
                    file=file,
                    folder=_base(file),
                    logs=folder / "logs" / f"{stage.name}-{number}-{cores}.log",
                    timeout_s=job.measuring.timeout_s,
                )
