"""Fitting of the quantile forecasters; needs ``ipa-rl[train]``.

A fit starts at the general table and keeps the epoch that is best on the validation part, shifted to cover
its share. So a short workload, which cannot tell much, stays near the general table, or keeps it, shifted.
The shift is by the validation part alone, which was not learned from, unless it is short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray, compiled
from ipa_rl.progress import Report
from ipa_rl.workload.clock import REFERENCE_STEPS, season_of
from ipa_rl.workload.quantiles import GENERAL, QUANTILES, SHAPE_ENTRIES, load_shape, quantiles_of
from ipa_rl.workload.steps import (
    HISTORY_STEPS,
    HORIZONS_STEPS,
    SAMPLES_A_STEP,
    history_by_step,
    least_rps,
    maxima_ahead,
    reference_load,
)
from ipa_rl.workload.workload import Part, Workload, load_workload

try:
    import torch
except ImportError as error:
    raise MissingExtraError("torch", "train") from error

_BATCH = 4096
_RATE = 3e-3


_SAMPLES = 170_000
"""Most histories that are fitted to, evenly spread."""
_SHORT_STEPS = 6000
"""A validation part with fewer steps to begin at, a hundred of the longest horizon, says little of the higher
quantiles: the shift is by train and validation together."""
_LEAST_BATCHES = 40
"""Batches of an epoch at least: where there are few samples, they are small."""


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


Samples = tuple[FloatArray, FloatArray]
"""Features (samples, 2 + SHAPE_ENTRIES), and true maxima (samples, horizons) relative to the reference."""


def samples(workload: Workload, part: Part, step_s: int) -> Samples:
    """Evenly spread over a part."""
    at = _starts(workload, part, step_s)
    at = at[:: max(len(at) // _SAMPLES, step_s // SAMPLES_A_STEP, 1)]
    loads, season = workload.loads.astype(np.float64), season_of(workload)
    clock = season.table(step_s)[season.position(workload.clocks_s(at))]
    features, reference_rps = np.zeros((len(at), 2 + SHAPE_ENTRIES)), np.zeros(len(at))
    _features(loads, at, step_s, least_rps(step_s), clock, features, reference_rps)
    maxima = np.stack([maxima_ahead(loads, at, horizon, step_s) for horizon in HORIZONS_STEPS], axis=1)
    return features, maxima / reference_rps[:, None]


def _starts(workload: Workload, part: Part, step_s: int) -> NDArray[np.int64]:
    return workload.starts(part, max(HORIZONS_STEPS) * step_s, HISTORY_STEPS * step_s)


@dataclass(frozen=True)
class FittedQuantiles:
    """Coefficients (horizons, quantiles, 2 + SHAPE_ENTRIES), and the ``epochs`` that they were fitted for.

    After 0 they are the general table's, shifted. ``loss``: pinball loss on the validation part, relative to
    the reference load.
    """

    coefficients: FloatArray
    epochs: int
    loss: float


def fit_quantiles(workload: Workload, step_s: int, seed: int, epochs: int, report: Report) -> FittedQuantiles:
    """Coefficients by the pinball loss on train, shifted on validation; the epoch that is best there."""
    torch.manual_seed(seed)
    learned, checked = samples(workload, "train", step_s), samples(workload, "validation", step_s)
    inputs, targets = (torch.as_tensor(one, dtype=torch.float32) for one in learned)
    covered = checked
    if len(_starts(workload, "validation", step_s)) < _SHORT_STEPS * step_s:
        covered = np.concatenate([learned[0], checked[0]]), np.concatenate([learned[1], checked[1]])
    levels = torch.tensor(QUANTILES)
    first_guess = _first_guess(workload)
    best = _judged(first_guess, 0, covered, checked)
    weights = torch.tensor(first_guess, dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    batch_size = min(_BATCH, max(len(inputs) // _LEAST_BATCHES, 1))
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            expected = torch.einsum("nf,hqf->nhq", inputs[batch], weights)
            over = targets[batch][..., None] - expected
            loss = torch.maximum(levels * over, (levels - 1.0) * over).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        fitted = _judged(weights.detach().numpy().astype(np.float64), epoch + 1, covered, checked)
        best = min(best, fitted, key=lambda one: one.loss)
        report.advance("quantiles", epoch + 1, epochs)
    return best


def _first_guess(workload: Workload) -> FloatArray:
    """What was fitted to GENERAL; for GENERAL itself, that the reference load stays."""
    general = load_workload(GENERAL)
    if workload.folder != general.folder:
        return quantiles_of(general, 1).coefficients
    stays = np.zeros((len(HORIZONS_STEPS), len(QUANTILES), 2 + SHAPE_ENTRIES))
    stays[..., 0] = 1.0
    return stays


def _judged(coefficients: FloatArray, epochs: int, covered: Samples, checked: Samples) -> FittedQuantiles:
    """The same, each shifted by the constant that makes it cover its share of ``covered``."""
    shifted = coefficients.copy()
    for h in range(len(HORIZONS_STEPS)):
        for q, level in enumerate(QUANTILES):
            shifted[h, q, 0] += np.quantile(covered[1][:, h] - covered[0] @ coefficients[h, q], level)
    over = checked[1][..., None] - np.einsum("nf,hqf->nhq", checked[0], shifted)
    losses = np.maximum(np.array(QUANTILES) * over, (np.array(QUANTILES) - 1.0) * over)
    return FittedQuantiles(shifted, epochs, float(losses.mean()))


def coverage(coefficients: FloatArray, workload: Workload, step_s: int, part: Part) -> FloatArray:
    """Share of a part's maxima that do not exceed each forecast, (horizons, quantiles)."""
    features, targets = samples(workload, part, step_s)
    expected = np.einsum("nf,hqf->nhq", features, coefficients)
    return np.asarray((targets[..., None] <= expected + 1e-12).mean(axis=0), dtype=np.float64)
