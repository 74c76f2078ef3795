"""What models would measure, and the files in which benchmark tools would say so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from ipa_rl.profiles.benchmarks import Told

EXCERPTS = Path(__file__).parent / "benchmarks"
TOLD = Told(accuracy={"": 0.7}, start_up_s={"": 20.0}, cores={"": 4})


@dataclass(frozen=True)
class Measured:
    """A model with ``concurrency`` requests of ``request_batch`` items in flight; latencies in seconds."""

    model: str
    concurrency: int
    request_batch: int
    mean_s: float
    p99_s: float

    @property
    def batch(self) -> int:
        return self.concurrency * self.request_batch

    @property
    def items_rps(self) -> float:
        return self.batch / self.mean_s


@st.composite
def sweeps(
    draw: st.DrawFn, most_models: int = 3, request_batches: Sequence[int] = (1, 2, 8)
) -> list[Measured]:
    """Models from 50 us to 10 minutes a request, each at ascending concurrency."""
    found = []
    for m in range(draw(st.integers(1, most_models))):
        first_s = draw(st.sampled_from([5e-5, 0.003, 0.08, 2.0, 24.0])) * draw(st.floats(1.0, 2.0))
        marginal, tail = draw(st.floats(0.0, 1.0)), draw(st.floats(1.05, 9.0))
        request_batch = draw(st.sampled_from(request_batches))
        counts = sorted(draw(st.sets(st.sampled_from([1, 2, 3, 4]), min_size=1)))
        for count in counts:
            mean_s = first_s * (1.0 + marginal * (count - 1) / 8)
            found.append(Measured(f"org/model-{m}", count, request_batch, mean_s, mean_s * tail))
    return found


def write_csv(path: Path, header: str, rows: Sequence[Sequence[object]], separator: str = ",") -> Path:
    """A table; with decimal commas where columns are not separated by commas."""
    point = "." if separator == "," else ","
    texts = [[str(value).replace(".", point) for value in row] for row in rows]
    lines = [header.replace(",", separator), *map(separator.join, texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def model_analyzer(path: Path, sweep: Sequence[Measured], separator: str = ",") -> Path:
    """Milliseconds; inferences, which are items, a second."""
    header = (
        "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,"
        "Throughput (infer/sec),p99 Latency (ms)"
    )
    rows = [
        (one.model, one.request_batch, one.concurrency, f"{one.model}_config_0", "1:CPU", 8, "Yes",
         one.items_rps, one.p99_s * 1e3)
        for one in sweep
    ]  # fmt: skip
    return write_csv(path, header, rows, separator)


def perf_analyzer(path: Path, sweep: Sequence[Measured]) -> Path:
    """Microseconds, of one model; the batch of a request is not said."""
    header = (
        "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
        "Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,"
        "p50 latency,p90 latency,p95 latency,p99 latency"
    )
    rows = []
    for one in sweep:
        us = one.mean_s * 1e6
        parts = (0, us / 4, us / 4, 0, us / 2, 0, 0)
        rows.append((one.concurrency, one.items_rps, *parts, us, us, us, one.p99_s * 1e6))
    return write_csv(path, header, rows)


def guidellm(path: Path, sweep: Sequence[Measured]) -> Path:
    """Seconds; requests of one item at a time, by turns with so many streams and at a rate."""
    benchmarks = []
    for k, one in enumerate(sweep):
        kinds: list[dict[str, object]] = [
            {"type_": "concurrent", "streams": one.concurrency},
            {"type_": "poisson", "rate": one.items_rps},
        ]
        strategy = kinds[k % 2] if one.concurrency > 1 else {"type_": "synchronous"}
        said = {"strategy": strategy, "backend": {"model": one.model}}
        latency = {"mean": one.mean_s, "percentiles": {"p50": one.mean_s, "p99": one.p99_s}}
        metrics = {
            "requests_per_second": {"successful": {"mean": one.items_rps}},
            "request_latency": {"successful": latency, "errored": {"mean": 0.0}},
        }
        benchmarks.append({"config" if k % 3 else "args": said, "metrics": metrics})
    path.write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
    return path


def inference_perf(path: Path, one: Measured) -> Path:
    """Seconds; one stage at a rate."""
    latency = {"request_latency": {"mean": one.mean_s, "p99": one.p99_s}}
    successes = {"count": 100, "latency": latency, "throughput": {"requests_per_sec": one.items_rps}}
    content = {"load_summary": {"requested_rate": one.items_rps}, "successes": successes}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def timm(accuracy: Path, speed: Path, sweep: Sequence[Measured], top1: float) -> list[Path]:
    """Percent, milliseconds a step, samples a second; weights have a tag that architectures have not."""
    models = sorted({one.model for one in sweep})
    write_csv(
        accuracy,
        "model,img_size,top1,top1_err,param_count",
        [(f"{name}.a1_in1k", 224, top1, 100 - top1, '"1,014.45"') for name in models],
    )
    rows = [(one.model, 224, one.items_rps, one.mean_s * 1e3, one.batch, 1014.45) for one in sweep]
    header = "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count"
    return [accuracy, write_csv(speed, header, rows)]
