"""Fitting of the quantile forecasters; needs ``ipa-rl[train]``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray, compiled
from ipa_rl.progress import Report
from ipa_rl.workload.clock import HOUR_S, REFERENCE_S, clock_table
from ipa_rl.workload.quantiles import (
    HISTORY_S,
    HORIZONS_S,
    QUANTILES,
    SHAPE_ENTRIES,
    load_shape,
    reference_load,
)
from ipa_rl.workload.trace import Part, load_trace, starts, true_maxima

try:
    import torch
except ImportError as error:
    raise MissingExtraError("torch", "train") from error

_BATCH = 4096
_RATE = 3e-3


@compiled
def _features(
    loads: FloatArray, at: NDArray[np.int64], clock: FloatArray, out: FloatArray, reference_rps: FloatArray
) -> None:
    for row in range(at.shape[0]):
        history = loads[at[row] - HISTORY_S : at[row]]
        reference_rps[row] = reference_load(history, REFERENCE_S)
        out[row, 0] = 1.0
        out[row, 1] = 1.0 / np.sqrt(reference_rps[row])
        load_shape(history, reference_rps[row], clock[at[row] % HOUR_S], out[row, 2:])


def samples(part: Part, every_s: int) -> tuple[FloatArray, FloatArray]:
    """Features (samples, 2 + SHAPE_ENTRIES), and true maxima by horizon relative to the reference load."""
    at = starts(part, max(HORIZONS_S), HISTORY_S)[::every_s]
    loads = load_trace().astype(np.float64)
    features, reference_rps = np.zeros((len(at), 2 + SHAPE_ENTRIES)), np.zeros(len(at))
    _features(loads, at, clock_table(), features, reference_rps)
    maxima = np.stack([true_maxima(loads, at, horizon_s) for horizon_s in HORIZONS_S], axis=1)
    return features, maxima / reference_rps[:, None]


def fit_quantiles(seed: int, epochs: int, report: Report) -> FloatArray:
    """Coefficients (horizons, quantiles, 2 + SHAPE_ENTRIES): pinball loss on train, shifted on validation."""
    torch.manual_seed(seed)
    inputs, targets = (torch.as_tensor(one, dtype=torch.float32) for one in samples("train", every_s=7))
    levels = torch.tensor(QUANTILES)
    weights = torch.zeros(len(HORIZONS_S), len(QUANTILES), inputs.shape[1])
    weights[..., 0] = 1.0
    weights.requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            expected = torch.einsum("nf,hqf->nhq", inputs[batch], weights)
            over = targets[batch][..., None] - expected
            loss = torch.maximum(levels * over, (levels - 1.0) * over).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        report.advance("quantiles", epoch + 1, epochs)
    return calibrated(weights.detach().numpy().astype(np.float64))


def calibrated(coefficients: FloatArray) -> FloatArray:
    """The same, each shifted by the constant that makes it cover its share of the validation part."""
    features, targets = samples("validation", every_s=7)
    shifted = coefficients.copy()
    for h in range(len(HORIZONS_S)):
        for q, level in enumerate(QUANTILES):
            short = targets[:, h] - features @ coefficients[h, q]
            shifted[h, q, 0] += np.quantile(short, level)
    return shifted


def coverage(coefficients: FloatArray, part: Part) -> FloatArray:
    """Share of a part's maxima that do not exceed each forecast, (horizons, quantiles)."""
    features, targets = samples(part, every_s=7)
    expected = np.einsum("nf,hqf->nhq", features, coefficients)
    return np.asarray((targets[..., None] <= expected + 1e-12).mean(axis=0), dtype=np.float64)
