"""Where jobs run: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.progress import Report

_ANSWERS_WITHIN_S = 5.0

A = TypeVar("A")
R = TypeVar("R")


class Pool(Protocol):
    """Applies a function to many arguments."""

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        """(position of the argument, result), in the order in which they are done.

        The function and its arguments must pickle.
        """
        ...


def in_order(
    pool: Pool, function: Callable[[A], R], arguments: Sequence[A], report: Report, part: str
) -> list[R]:
    """All results, in the order of the arguments; ``part``: what the report calls the work."""
    found: dict[int, R] = {}
    for position, result in pool.each(function, arguments):
        found[position] = result
        report.advance(part, len(found), len(arguments))
    return [found[position] for position in range(len(arguments))]


class Here:
    """One after the other, in this process."""

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        """(position of the argument, result)."""
        for position, argument in enumerate(arguments):
            yield position, function(argument)


class Processes:
    """Side by side in processes of this machine, with one thread each: those of others would only wait."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read where numpy is imported, so by a process

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        """(position of the argument, result); an interruption ends the processes at once.

        Raises InputError where a process was killed, as for want of memory.
        """
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(self.workers, context, initializer=_begin_worker)
        try:
            with _interruptions_held():
                futures = {executor.submit(function, one): i for i, one in enumerate(arguments)}
            for done in as_completed(futures):
                yield futures[done], done.result()
        except BrokenProcessPool as error:
            fix = "give fewer --workers, or free memory; the same command goes on"
            raise InputError("a worker process was killed", field="--workers", fix=fix) from error
        except BaseException:
            for process in list((executor._processes or {}).values()):
                process.terminate()
            raise
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


class Ray:
    """On a Ray cluster: ``address`` as ray.init takes it ("auto", "ray://host:10001"), "local" to start one.

    The nodes need the same version of ipa-rl.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def each(self, function: Callable[[A], R], arguments: Sequence[A]) -> Iterator[tuple[int, R]]:
        """(position of the argument, result). Raises InputError where the cluster cannot be reached."""
        ray = _connected(self.address)
        try:
            remote = ray.remote(_apply)
            left = {remote.remote(function, one): i for i, one in enumerate(arguments)}
            while left:
                (done, *_), _ = ray.wait(list(left), num_returns=1)
                yield left.pop(done), ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # told as in this process, without the worker's traceback
        finally:
            ray.shutdown()


def _apply(function: Callable[[A], R], argument: A) -> R:
    return function(argument)


def _connected(address: str) -> Any:
    """Ray, on that cluster, which is tried for an answer first: Ray itself goes on trying for minutes."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray as untyped
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    ray: Any = untyped
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host:
            socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as error:
        problem = f"no Ray cluster answers at {address}"
        raise InputError(problem, field="--ray", fix='give its address, or "local" to start one') from error
    return ray


@contextmanager
def _interruptions_held() -> Iterator[None]:
    """Interruptions wait for the end. Processes that are started meanwhile never get Ctrl-C.

    It is the parent's, though a terminal sends it to all processes; one that is just being started has no
    other way to leave it alone than a mask that it inherits.
    """
    if threading.current_thread() is not threading.main_thread():  # where none is raised
        yield
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {one: signal.signal(one, lambda number, _: received.append(number)) for one in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for one, handler in handlers.items():
            signal.signal(one, handler)
        if received:
            signal.raise_signal(received[0])


def _begin_worker() -> None:
    """End with the parent, even where it is killed."""

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def make_pool(workers: int | None, ray_address: str | None) -> Pool:
    """The pool that the arguments ask for; by default one process for each core."""
    if ray_address is not None:
        return Ray(ray_address)
    workers = workers or len(os.sched_getaffinity(0))
    return Here() if workers == 1 else Processes(workers)
