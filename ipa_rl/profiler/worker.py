"""A replica of a Python callable in a process of its own, spoken to in lines of JSON on stdin and stdout.

It is run as a file and imports nothing but the standard library, so that start-up and memory are the
model's. The first line says what to load, each further one what to run; each is answered by one line. What
the model prints goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

MOST_LATENCIES = 1000
"""Latencies told of a run; where there are more, evenly spaced ones."""


class FaultError(Exception):
    """What went wrong, and in which part: factory or sample (not to be had), load, items or call."""

    def __init__(self, part: str, problem: str) -> None:
        super().__init__(problem)
        self.part = part


def find(reference: str, part: str) -> Any:
    """What ``module:name`` means."""
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        traceback.print_exc()
        raise FaultError(part, f"{reference} cannot be had: {_words(error)}") from error


def guarded(part: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result; what the user's code raises becomes a fault of that part."""
    try:
        return function(*arguments)
    except FaultError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise FaultError(part, _words(error)) from error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def check_length(part: str, values: Any, batch: int) -> None:
    """Raise FaultError unless there is one value for each item."""
    try:
        count = len(values)
    except TypeError:
        raise FaultError(part, f"gave {type(values).__name__}, not a list") from None
    if count != batch:
        raise FaultError(part, f"gave {count} values for {batch} items")


def run(predict: Callable[[Any], Any], items: Any, seconds: float) -> dict[str, Any]:
    """Call after call for at least so long."""
    latencies_s: list[float] = []
    begin_s = now_s = time.perf_counter()
    while not latencies_s or now_s - begin_s < seconds:
        before_s = time.perf_counter()
        answers = predict(items)
        now_s = time.perf_counter()
        latencies_s.append(now_s - before_s)
    check_length("call", answers, len(items))
    throughput_rps = len(items) * len(latencies_s) / (now_s - begin_s)
    kept = latencies_s[:: 1 + len(latencies_s) // MOST_LATENCIES]
    return {"latencies_s": kept, "throughput_rps": throughput_rps}


def serve(asked: Any, answer: Callable[[dict[str, Any]], None]) -> None:
    """Load, then answer until there is nothing more to read."""
    task = json.loads(asked.readline())
    factory = find(task["callable"], "factory")
    sample = find(task["sample"], "sample")
    before_s = time.perf_counter()
    predict = guarded("load", factory, task["variant"], task["cores"])
    answer({"load_s": time.perf_counter() - before_s})
    inputs: dict[int, Any] = {}
    for line in asked:
        order = json.loads(line)
        batch = order["batch"]
        if batch not in inputs:
            inputs = {batch: guarded("items", sample, batch)}
            check_length("items", inputs[batch], batch)
        answer(guarded("call", run, predict, inputs[batch], order["seconds"]))


def main() -> None:
    """Keep stdout for answers, give the model stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    try:
        serve(sys.stdin, answer)
    except FaultError as fault:
        answer({"part": fault.part, "fault": str(fault)})
        sys.exit(1)


if __name__ == "__main__":
    main()
