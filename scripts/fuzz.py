"""Broken inputs of every kind, and what came of them: fine, one line, or a finding.

    python scripts/fuzz.py --inputs 100000 --seed 1
    python scripts/fuzz.py --inputs 1 --seed 4711 --only policy

Inputs are whole examples, broken by chance; the n-th is made by the seed ``seed + n`` alone, so that one is
repeated by its own. Fine: it was taken. InputError: it was told in one line. Everything else is a finding:
another error, more than 2 s, more than 1 GB. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import io
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from fuzz_entrances import ENTRANCES  # noqa: E402 - threads are counted when numpy is imported
from fuzz_kinds import KINDS  # noqa: E402

from ipa_rl.errors import InputError  # noqa: E402

SLOW_S, HANGS_S, MOST_BYTES = 2.0, 120.0, 1 << 30
OUTCOMES = ("fine", "InputError", "other", "slow", "big")


@dataclass(frozen=True)
class Finding:
    """What came of an input. ``told``: the last lines of what was raised."""

    kind: str
    seed: int
    outcome: str
    told: str = ""


def play(kind: str, seed: int, folder: Path) -> Finding:
    """One input, broken by its seed and played."""
    begin_s = time.process_time()
    told, outcome = "", "fine"
    try:
        with redirect_stdout(_Utf8()), redirect_stderr(_Utf8()):
            _played(kind, Random(f"{kind} {seed}"), folder)
    except InputError as error:
        outcome, told = "InputError", str(error)
        if not told.isprintable() or len(told) > 1500:
            outcome = "other"
    except MemoryError:
        outcome, told = "big", traceback.format_exc(-4)
    except BaseException:
        outcome, told = "other", traceback.format_exc(-4)
    taken_s = time.process_time() - begin_s
    if outcome in ("fine", "InputError") and taken_s > SLOW_S:
        outcome, told = "slow", f"{taken_s:.1f} s; {told}"
    return Finding(kind, seed, outcome, told)


def _played(kind: str, rng: Random, folder: Path) -> None:
    if kind in ENTRANCES:
        ENTRANCES[kind](rng)
        return
    one = KINDS[kind]
    path = folder / kind / one.file
    path.write_bytes(rng.choice(one.mutations)((folder / f"{kind}.whole").read_bytes(), rng))
    one.play(folder / kind)


class _Utf8(io.TextIOWrapper):
    """Printed text that is thrown away, but has to be text that a terminal can be sent."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="strict")


def prepare(kinds: Sequence[str], folder: Path) -> None:
    """The examples and entrances, each played once, so that everything is imported and compiled."""
    for kind in kinds:
        if kind in ENTRANCES:
            play(kind, 0, folder)
            continue
        (folder / kind).mkdir()
        KINDS[kind].example(folder / kind)
        shutil.copy(folder / kind / KINDS[kind].file, folder / f"{kind}.whole")
        with redirect_stdout(_Utf8()), redirect_stderr(_Utf8()):
            KINDS[kind].play(folder / kind)


def work(jobs: Connection, examples: Path) -> None:
    """In a process of its own: play what comes, each input within its memory."""
    with tempfile.TemporaryDirectory(dir=examples.parent) as place:
        folder = Path(place) / "examples"
        shutil.copytree(examples, folder)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
        while (job := jobs.recv()) is not None:
            kind, seed = job
            jobs.send(play(kind, seed, folder))


class Worker:
    """A process that plays one input at a time, and is replaced where one never ends or ends it."""

    def __init__(self, examples: Path) -> None:
        self.examples = examples
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=work, args=(theirs, self.examples))
        self.process.start()
        theirs.close()
        self.job: tuple[str, int] | None = None

    def give(self, job: tuple[str, int]) -> None:
        """Play this next."""
        self.job, self.since_s = job, time.monotonic()
        self.pipe.send(job)

    def taken(self) -> Finding:
        """What came of it."""
        assert self.job is not None
        try:
            found: Finding = self.pipe.recv()
        except EOFError:
            self.process.join()
            found = Finding(*self.job, "other", f"the process ended: {self.process.exitcode}")
            self._start()
        self.job = None
        return found

    def hung(self) -> Finding | None:
        """What is told of an input that does not end."""
        if self.job is None or time.monotonic() - self.since_s < HANGS_S:
            return None
        found = Finding(*self.job, "slow", f"did not end within {HANGS_S:g} s")
        os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self._start()
        return found

    def end(self) -> None:
        """No more inputs."""
        self.pipe.send(None)
        self.process.join()


def play_all(inputs: Iterator[tuple[str, int]], examples: Path, processes: int) -> Iterator[Finding]:
    """All inputs in so many processes, as they are done."""
    workers = [Worker(examples) for _ in range(processes)]
    while True:
        for worker in workers:
            if worker.job is None and (job := next(inputs, None)) is not None:
                worker.give(job)
        busy = [worker for worker in workers if worker.job is not None]
        if not busy:
            break
        ready = wait([worker.pipe for worker in busy], timeout=1.0)
        for worker in busy:
            found = worker.taken() if worker.pipe in ready else worker.hung()
            if found is not None:
                yield found
    for worker in workers:
        worker.end()


def drawn(kinds: Sequence[str], count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Kinds and seeds of the inputs, each kind by its weight."""
    weights = [1.0 if kind in ENTRANCES else KINDS[kind].weight for kind in kinds]
    chance = Random(seed)
    for n in range(count):
        yield chance.choices(kinds, weights)[0], seed + n


def main() -> int:
    """Play them all, tell the findings as they come, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[*KINDS, *ENTRANCES], help="one kind of input")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    kinds = [chosen.only] if chosen.only else [*KINDS, *ENTRANCES]
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    begin_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ipa-rl-fuzz-") as place:
        examples = Path(place) / "whole"
        examples.mkdir()
        prepare(kinds, examples)
        inputs = drawn(kinds, chosen.inputs, chosen.seed)
        for found in play_all(inputs, examples, chosen.processes):
            counts[found.kind][found.outcome] += 1
            if found.outcome not in ("fine", "InputError"):
                print(
                    f"{found.outcome}: --only {found.kind} --seed {found.seed} --inputs 1\n{found.told}",
                    flush=True,
                )
    print(f"{'':16}" + "".join(f"{name:>12}" for name in OUTCOMES))
    for kind, count in counts.items():
        print(f"{kind:16}" + "".join(f"{count[name]:12,}" for name in OUTCOMES))
    total = sum((count for count in counts.values()), Counter[str]())
    print(f"{'all':16}" + "".join(f"{total[name]:12,}" for name in OUTCOMES))
    print(f"{total.total():,} inputs in {time.monotonic() - begin_s:.0f} s")
    return 1 if total.total() > total["fine"] + total["InputError"] else 0


if __name__ == "__main__":
    sys.exit(main())
