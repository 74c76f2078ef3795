"""Fitting of the quantile forecasters; needs ``ipa-rl[train]``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray, compiled
from ipa_rl.progress import Report
from ipa_rl.workload.clock import REFERENCE_STEPS, season_of
from ipa_rl.workload.quantiles import QUANTILES, SHAPE_ENTRIES, load_shape
from ipa_rl.workload.steps import (
    HISTORY_STEPS,
    HORIZONS_STEPS,
    history_by_step,
    least_rps,
    maxima_ahead,
    reference_load,
)
from ipa_rl.workload.workload import Part, Workload

try:
    import torch
except ImportError as error:
    raise MissingExtraError("torch", "train") from error

_BATCH = 4096
_RATE = 3e-3


_SAMPLES = 170_000
"""Most histories that are fitted to, evenly spread."""


@compiled
def _features(
    loads: FloatArray,
    at: NDArray[np.int64],
    step_s: int,
    least_rps: float,
    clock: FloatArray,
    out: FloatArray,
    reference_rps: FloatArray,
) -> None:
    history = np.empty(HISTORY_STEPS)
    for row in range(at.shape[0]):
        history_by_step(loads, at[row], step_s, history)
        reference_rps[row] = reference_load(history, REFERENCE_STEPS, least_rps)
        out[row, 0] = 1.0
        out[row, 1] = 1.0 / np.sqrt(reference_rps[row] / least_rps)
        load_shape(history, reference_rps[row], clock[row], out[row, 2:])


def samples(workload: Workload, part: Part, step_s: int) -> tuple[FloatArray, FloatArray]:
    """Features (samples, 2 + SHAPE_ENTRIES), and true maxima by horizon relative to the reference load."""
    at = workload.starts(part, max(HORIZONS_STEPS) * step_s, HISTORY_STEPS * step_s)
    at = at[:: max(len(at) // _SAMPLES, 1)]
    loads, season = workload.loads.astype(np.float64), season_of(workload)
    clock = season.table(step_s)[season.position(workload.clocks_s(at))]
    features, reference_rps = np.zeros((len(at), 2 + SHAPE_ENTRIES)), np.zeros(len(at))
    _features(loads, at, step_s, least_rps(step_s), clock, features, reference_rps)
    maxima = np.stack([maxima_ahead(loads, at, horizon, step_s) for horizon in HORIZONS_STEPS], axis=1)
    return features, maxima / reference_rps[:, None]


def fit_quantiles(workload: Workload, step_s: int, seed: int, epochs: int, report: Report) -> FloatArray:
    """Coefficients (horizons, quantiles, 2 + SHAPE_ENTRIES): pinball loss on train, shifted on validation."""
    torch.manual_seed(seed)
    inputs, targets = (
        torch.as_tensor(one, dtype=torch.float32) for one in samples(workload, "train", step_s)
    )
    levels = torch.tensor(QUANTILES)
    weights = torch.zeros(len(HORIZONS_STEPS), len(QUANTILES), inputs.shape[1])
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
    return calibrated(weights.detach().numpy().astype(np.float64), workload, step_s)


def calibrated(coefficients: FloatArray, workload: Workload, step_s: int) -> FloatArray:
    """The same, each shifted by the constant that makes it cover its share of the validation part."""
    features, targets = samples(workload, "validation", step_s)
    shifted = coefficients.copy()
    for h in range(len(HORIZONS_STEPS)):
        for q, level in enumerate(QUANTILES):
            short = targets[:, h] - features @ coefficients[h, q]
            shifted[h, q, 0] += np.quantile(short, level)
    return shifted


def coverage(coefficients: FloatArray, workload: Workload, step_s: int, part: Part) -> FloatArray:
    """Share of a part's maxima that do not exceed each forecast, (horizons, quantiles)."""
    features, targets = samples(workload, part, step_s)
    expected = np.einsum("nf,hqf->nhq", features, coefficients)
    return np.asarray((targets[..., None] <= expected + 1e-12).mean(axis=0), dtype=np.float64)
