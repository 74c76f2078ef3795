"""The LSTM forecaster of the paper: the last 2 minutes in, the maximum of the next 20 s out.

One LSTM layer and a linear output, as in the paper (arXiv 2308.12871, section 4.5 and the released code's
25 units), trained on the train part; the weights with the lowest error on the validation part are kept.
Needs ``ipa-rl[train]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.arrays import Wanted, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.errors import MissingExtraError
from ipa_rl.progress import Report
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import HORIZON_S, Loads, Part, load_trace, starts, true_maxima

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("torch", "train") from error

UNITS = 25
SCALE_RPS = 30.0
_BATCH = 512


class Network(nn.Module):
    """Loads (batch, HISTORY_S) in units of SCALE_RPS -> the maximum to come (batch,), in the same."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, UNITS, batch_first=True)
        self.output = nn.Linear(UNITS, 1)

    def forward(self, loads: torch.Tensor) -> torch.Tensor:
        """The forecast, as a correction to the mean of the last 10 s."""
        states, _ = self.lstm(loads[..., None])
        recent = loads[:, -10:].mean(dim=1)
        correction: torch.Tensor = self.output(states[:, -1]).squeeze(1)
        return recent + correction


@dataclass(frozen=True)
class Lstm:
    """The trained network as a Forecaster."""

    network: Network

    def forecast(self, history_rps: Loads, clock_s: float) -> float:
        """The expected maximum of the next 20 s, never negative."""
        return float(self.forecast_many(np.asarray(history_rps[-HISTORY_S:])[None])[0])

    def forecast_many(self, histories_rps: NDArray[Any]) -> NDArray[np.float64]:
        """Forecasts (histories,) after each of ``histories_rps`` (histories, HISTORY_S)."""
        inputs = torch.as_tensor(histories_rps / SCALE_RPS, dtype=torch.float32)
        with torch.no_grad():
            outputs = self.network(inputs).numpy() * SCALE_RPS
        return np.asarray(np.maximum(outputs, 0.0), dtype=np.float64)


def weights_path() -> Path:
    """Where the shipped weights are."""
    return resources.folder("profiles") / "trace" / "lstm.npz"


@cache
def load_lstm(path: Path | None = None) -> Lstm:
    """The trained forecaster. Raises InputError where the weights are missing or do not fit."""
    path = path or weights_path()
    network = Network()
    fix = "train it: ipa-rl forecast train"
    wanted: Wanted = {name: ("f4", tuple(value.shape)) for name, value in network.state_dict().items()}
    arrays = read_arrays(path, partial(misfit, wanted=wanted), "file of LSTM weights", fix)
    check_finite(arrays, path, fix)
    network.load_state_dict({name: torch.as_tensor(arrays[name]) for name in wanted})
    return Lstm(network)


def save_lstm(lstm: Lstm, path: Path) -> None:
    """Write the weights as plain arrays."""
    write_arrays({name: value.numpy() for name, value in lstm.network.state_dict().items()}, path)


def samples(part: Part, every_s: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Histories (samples, HISTORY_S) and the maxima that followed, in units of SCALE_RPS."""
    at = starts(part, HORIZON_S, HISTORY_S)[::every_s]
    loads = load_trace()
    views = np.lib.stride_tricks.sliding_window_view(loads, HISTORY_S)
    inputs = torch.as_tensor(views[at - HISTORY_S] / SCALE_RPS, dtype=torch.float32)
    targets = torch.as_tensor(true_maxima(loads, at) / SCALE_RPS, dtype=torch.float32)
    return inputs, targets


def train_lstm(seed: int, epochs: int, report: Report) -> Lstm:
    """Train on the train part by mean absolute error; keep the epoch that is best on validation."""
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    inputs, targets = samples("train", every_s=10)
    check_inputs, check_targets = samples("validation", every_s=20)
    best = (float("inf"), {name: value.clone() for name, value in network.state_dict().items()})
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            loss = nn.functional.l1_loss(network(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            error = float(nn.functional.l1_loss(network(check_inputs), check_targets))
        if error < best[0]:
            best = (error, {name: value.clone() for name, value in network.state_dict().items()})
        report.advance("LSTM", epoch + 1, epochs)
    network.load_state_dict(best[1])
    return Lstm(network)
