"""The LSTM forecaster of the paper: the last 120 steps in, the maximum of the next 20 out.

One LSTM layer and a linear output, as in the paper (arXiv 2308.12871, section 4.5 and the released code's
25 units), trained on the train part; the weights with the lowest error on the validation part are kept.
Needs ``ipa-rl[train]``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ipa_rl.arrays import Wanted, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.jit import FloatArray
from ipa_rl.progress import Report
from ipa_rl.workload.steps import HISTORY_STEPS, HORIZON_STEPS, SAMPLES_A_STEP, Loads, by_step, maxima_ahead
from ipa_rl.workload.workload import Part, Workload

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("torch", "train") from error

UNITS = 25
_BATCH = 512
_LEAST_BATCHES = 40
"""Batches of an epoch at least: where there are few samples, they are small."""
_PATIENCE = 4
_SAMPLES = 120_000
"""Most histories that are learned from, evenly spread; half as many are checked on."""


class Network(nn.Module):
    """Loads (batch, HISTORY_STEPS) -> the maximum to come (batch,), both relative to a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, UNITS, batch_first=True)
        self.output = nn.Linear(UNITS, 1)

    def forward(self, loads: torch.Tensor) -> torch.Tensor:
        """The forecast, as a correction to the mean of the last 10 steps."""
        states, _ = self.lstm(loads[..., None])
        recent = loads[:, -10:].mean(dim=1)
        correction: torch.Tensor = self.output(states[:, -1]).squeeze(1)
        return recent + correction


@dataclass(frozen=True)
class Lstm:
    """The trained network as a Forecaster; ``scale_rps``: what its loads are relative to."""

    network: Network
    scale_rps: float
    step_s: int

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The expected maximum of the next HORIZON_STEPS, never negative."""
        recent = np.asarray(history_rps[-HISTORY_STEPS * self.step_s :], dtype=np.float64)
        return float(self.forecast_many(recent[None])[0])

    def forecast_many(self, histories_rps: Loads) -> FloatArray:
        """Forecasts (histories,) after each of ``histories_rps`` (histories, seconds)."""
        recent = by_step(histories_rps, self.step_s)[:, -HISTORY_STEPS:]
        inputs = torch.as_tensor(recent / self.scale_rps, dtype=torch.float32)
        with torch.no_grad():
            outputs = self.network(inputs).numpy() * self.scale_rps
        return np.asarray(np.maximum(outputs, 0.0), dtype=np.float64)


FIX = "fit it: ipa-rl workload fit FOLDER --lstm"


@lru_cache(maxsize=8)
def lstm_of(workload: Workload, step_s: int) -> Lstm:
    """What was trained on a workload at a step. Raises InputError where nothing was, or it does not fit."""
    path = workload.fitted(f"lstm-{step_s}s.npz")
    if path is None:
        raise InputError(f"{workload.name} has no LSTM forecaster", field="forecaster", fix="use another")
    kept = read_lstm(path, step_s)
    return replace(kept, scale_rps=workload.scale * kept.scale_rps)


def read_lstm(path: Path, step_s: int) -> Lstm:
    """Weights that were kept. Raises InputError where they are missing or do not fit."""
    network = Network()
    wanted: Wanted = {name: ("f4", tuple(value.shape)) for name, value in network.state_dict().items()}
    scale: Wanted = {"scale_rps": ("f8", ())}
    arrays = read_arrays(path, partial(misfit, wanted=wanted | scale), "file of LSTM weights", FIX)
    check_finite(arrays, path, FIX)
    if not arrays["scale_rps"] > 0:
        raise InputError("is not positive", file=path, field="scale_rps", fix=FIX)
    network.load_state_dict({name: torch.as_tensor(arrays[name]) for name in wanted})
    return Lstm(network, float(arrays["scale_rps"]), step_s)


def save_lstm(lstm: Lstm, workload: Workload) -> None:
    """Keep the weights in the workload's folder, as plain arrays."""
    path = workload.fitted(f"lstm-{lstm.step_s}s.npz")
    assert path is not None
    weights = {name: value.numpy() for name, value in lstm.network.state_dict().items()}
    write_arrays(weights | {"scale_rps": np.float64(lstm.scale_rps)}, path)
    lstm_of.cache_clear()


def samples(
    workload: Workload, part: Part, step_s: int, scale_rps: float, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Histories (samples, HISTORY_STEPS) and the maxima that followed, relative to the scale."""
    at = workload.starts(part, HORIZON_STEPS * step_s, HISTORY_STEPS * step_s)
    at = at[:: max(len(at) // most, step_s // SAMPLES_A_STEP, 1)]
    sums = np.concatenate([[0.0], np.cumsum(workload.loads, dtype=np.float64)])
    histories = np.diff(sums[at[:, None] - step_s * np.arange(HISTORY_STEPS, -1, -1)]) / step_s
    inputs = torch.as_tensor(histories / scale_rps, dtype=torch.float32)
    maxima = maxima_ahead(workload.loads, at, HORIZON_STEPS, step_s)
    return inputs, torch.as_tensor(maxima / scale_rps, dtype=torch.float32)


def train_lstm(workload: Workload, step_s: int, seed: int, epochs: int, report: Report) -> Lstm:
    """Train on the train part by mean absolute error; keep the epoch that is best on validation.

    It ends after _PATIENCE epochs without a better one.
    """
    scale_rps = 4.0 * max(float(workload.part("train").mean()), 1e-9)
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    inputs, targets = samples(workload, "train", step_s, scale_rps, _SAMPLES)
    check_inputs, check_targets = samples(workload, "validation", step_s, scale_rps, _SAMPLES // 2)
    batch_size = min(_BATCH, max(len(inputs) // _LEAST_BATCHES, 1))
    best = (float("inf"), 0, {name: value.clone() for name, value in network.state_dict().items()})
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            loss = nn.functional.l1_loss(network(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            error = float(nn.functional.l1_loss(network(check_inputs), check_targets))
        if error < best[0]:
            best = (error, epoch, {name: value.clone() for name, value in network.state_dict().items()})
        if epoch - best[1] >= _PATIENCE:
            break
        report.advance("LSTM", epoch + 1, epochs)
    network.load_state_dict(best[2])
    return Lstm(network, scale_rps, step_s)
