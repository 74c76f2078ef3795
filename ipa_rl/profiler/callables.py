"""A Python callable as a replica, in a fresh process with its own threads and processors."""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path
from typing import Any

from ipa_rl.errors import InputError
from ipa_rl.profiler.processes import end_process, last_line, peak_memory_mb, start_process
from ipa_rl.profiler.replica import Place, Round, Start

_WORKER = Path(__file__).with_name("worker.py")
_REMEDIES = {
    "factory": ("target.callable", "name a module:function that can be imported from the job's folder"),
    "sample": ("target.sample", "name a module:function that can be imported from the job's folder"),
    "items": ("target.sample", "give a list of n items when called with n, see {log}"),
    "load": ("variants", "correct the factory, see {log}"),
    "call": ("target.callable", "give a list with one answer for each item, see {log}"),
}


class CallableReplica:
    """``factory(variant, cores)`` in a process; its calls are made there, one after the other."""

    saturating = 1

    def __init__(self, place: Place) -> None:
        """Start it and load the model. Raises InputError where that fails."""
        self._place = place
        target = place.stage.target
        reference = target.callable or ""
        sample = target.sample or f"{reference.partition(':')[0]}:sample"
        began_s = time.perf_counter()
        words = [sys.executable, "-P", str(_WORKER)]
        self._process = start_process(words, place.processors, place.folder, place.logs, talks=True)
        order = {"callable": reference, "sample": sample, "variant": place.variant, "cores": place.cores}
        try:
            ready = self._ask(order)
        except BaseException:
            self.close()
            raise
        self._load_s = float(ready["load_s"])
        self._start_up_s = time.perf_counter() - began_s

    def run(self, batch: int, in_flight: int, seconds: float) -> Round:
        """Full batches one after the other; ``in_flight`` beyond 1 would only wait for each other."""
        answer = self._ask({"batch": batch, "seconds": seconds}, seconds)
        return Round(tuple(answer["latencies_s"]), answer["throughput_rps"])

    def started(self) -> Start:
        """Start-up, load time and peak memory of the process."""
        place = self._place
        memory_mb = peak_memory_mb(self._process.pid)
        return Start(place.stage.name, place.variant, place.cores, self._start_up_s, self._load_s, memory_mb)

    def close(self) -> None:
        """End the process."""
        end_process(self._process)

    def _ask(self, order: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
        """One line there, one line back. Raises InputError for faults, silence and an early end."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise RuntimeError("the process was started without pipes")
        try:
            asked.write(json.dumps(order).encode() + b"\n")
            asked.flush()
        except BrokenPipeError:
            raise self._ended(order) from None
        ready, _, _ = select.select([answers], [], [], seconds + self._place.timeout_s)
        if not ready:
            problem = f"no answer within {self._place.timeout_s:g} s{_at(order)}"
            raise self._place.fault(problem, "raise measuring.timeout_s, or lower the batch size")
        line = answers.readline()
        if not line:
            raise self._ended(order)
        answer: dict[str, Any] = json.loads(line)
        if "fault" in answer:
            field, fix = _REMEDIES[answer["part"]]
            problem, fix = f"{answer['fault']}{_at(order)}", fix.format(log=self._place.logs)
            of_all = answer["part"] in ("factory", "sample")
            raise self._place.fault(problem, fix, field=field, of_all=of_all)
        return answer

    def _ended(self, order: dict[str, Any]) -> InputError:
        status = self._process.wait()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        said = last_line(self._place.logs)
        problem = f"the process ended with {how}{_at(order)}" + (f", last words: {said}" if said else "")
        return self._place.fault(problem, f"see {self._place.logs}; a smaller batch needs less memory")


def _at(order: dict[str, Any]) -> str:
    return f" at batch {order['batch']}" if "batch" in order else ""
