"""This machine, and processes on some of its cores: threads and processors set, ended with all children."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ipa_rl.profiles.description import Machine

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
"""What numerical libraries read when they are imported."""

_ENDS_WITHIN_S = 5.0


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine() -> Machine:
    """Processor, usable cores, memory, system and Python of this machine."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _processor() -> str:
    """Its name, where the system tells; else its architecture."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def start_process(
    words: Sequence[str], cores: int, folder: Path, log: Path, *, talks: bool = False
) -> subprocess.Popen[bytes]:
    """Start a program on that many cores in ``folder``; what it prints goes to ``log``, which begins empty.

    ``talks``: its input and output are pipes instead. It heads a process group of its own. Raises OSError
    where there is no such program.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pipe, threads = subprocess.PIPE, dict.fromkeys(THREAD_VARIABLES, str(cores))
    # Modules of the folder and of where the user is can be imported.
    places = [str(folder.resolve()), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as printed, _pinned(cores):
        return subprocess.Popen(
            list(words),
            stdin=pipe if talks else subprocess.DEVNULL,
            stdout=pipe if talks else printed,
            stderr=printed,
            cwd=folder,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(places)},
            start_new_session=True,
        )


@contextmanager
def _pinned(cores: int) -> Iterator[None]:
    """What this thread starts meanwhile runs on the first ``cores`` processors only, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(own)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def end_process(process: subprocess.Popen[bytes], within_s: float = _ENDS_WITHIN_S) -> None:
    """End a process and its group, gently first; what does not end within that time is killed."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()


def peak_memory_mb(pid: int) -> float | None:
    """Most memory held so far by a process and all below it, summed; None where the system does not say."""
    total_kb, tree = 0.0, [pid]
    for one in tree:
        place = Path(f"/proc/{one}")
        for children in place.glob("task/*/children"):
            with suppress(OSError):
                tree += [int(child) for child in children.read_text(encoding="ascii").split()]
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", (place / "status").read_text(encoding="ascii"))
            total_kb += float(found.group(1)) if found else 0.0
    return total_kb * 1024 / 1e6 if total_kb else None


def last_line(log: Path) -> str:
    """The last thing that was printed into a log; empty where nothing was."""
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip()[:160] for line in reversed(lines) if line.strip()), "")
    return ""
