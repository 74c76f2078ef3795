"""Trains the models, and measures how often each is right on digits that it has not seen.

A detector is right about a canvas where it says the digit's place to within a pixel, or that there is none. A
classifier is right where it reads the digit in the crop at its true place; a canvas without a digit counts as
read, because the answer is the detector's then. So the product of the two is what can be expected of a whole
pipeline, up to canvases that are hard for both stages.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ipa_rl.arrays import write_arrays
from ipa_rl.demo.digits import SIZES
from ipa_rl.demo.digits.data import MARGIN, NONE, PLACES, Canvases, Images, Labels, crop, make_canvases
from ipa_rl.demo.digits.models import Classifier, Detector, make_network
from ipa_rl.files import write_text

TRAINED_ON, MEASURED_ON = 10_000, 5_000
SEED = 0
_BATCH = 64
_DISPLACEMENTS = 2
_LEARNING_RATE, _DECAY = 4e-3, 1e-2
_EPOCHS = {"detect": 4, "classify": 8}


def train_all(folder: Path, report: Callable[[str], None]) -> None:
    """Train every variant of both stages and write weights and accuracies into a folder.

    One thread and fixed seeds: on the same processor and library the same weights. ``report`` takes a line a
    variant.
    """
    torch.set_num_threads(1)
    learned = make_canvases("train", TRAINED_ON, SEED)
    held_out = make_canvases("held-out", MEASURED_ON, SEED)
    tasks = {"detect": detection(learned), "classify": classification(learned, SEED)}
    accuracy: dict[str, dict[str, float]] = {stage: {} for stage in tasks}
    for stage, task in tasks.items():
        arrays: dict[str, NDArray[np.float32]] = {}
        for name, size in SIZES[stage].items():
            torch.manual_seed(SEED)
            network = make_network(stage, size)
            fit(network, *task, _EPOCHS[stage])
            right = is_located(network, held_out) if stage == "detect" else is_read(network, held_out)
            accuracy[stage][name] = round(float(right.mean()), 4)
            arrays |= {f"{name}/{key}": value.numpy() for key, value in network.state_dict().items()}
            report(f"{stage} {name}: {accuracy[stage][name]:.4f}")
        write_arrays(arrays, folder / f"{stage}.npz", compressed=True)
    content = {"canvases": MEASURED_ON, "seed": SEED, "stages": accuracy}
    write_text(json.dumps(content, indent=2) + "\n", folder / "accuracies.json")


def detection(canvases: Canvases) -> tuple[Images, Labels]:
    """What a detector learns: canvases, and the place as one number; PLACES^2: there is no digit."""
    rows, columns = canvases.places.T
    classes = np.where(canvases.labels == NONE, PLACES * PLACES, rows * PLACES + columns)
    return canvases.images, classes


def classification(canvases: Canvases, seed: int) -> tuple[Images, Labels]:
    """What a classifier learns: crops, and their digits.

    Crops are at places displaced by up to the margin, as detectors are off by so much.
    """
    rng = np.random.default_rng(seed)
    own = np.repeat(np.flatnonzero(canvases.labels != NONE), _DISPLACEMENTS)
    off = rng.integers(-MARGIN, MARGIN + 1, size=(len(own), 2))
    places = np.clip(canvases.places[own] + off, 0, PLACES - 1)
    crops = [crop(canvases.images[i], (row, column)) for i, (row, column) in zip(own, places, strict=True)]
    return np.stack(crops), canvases.labels[own]


def fit(network: nn.Module, images: Images, labels: Labels, epochs: int) -> None:
    """AdamW on the cross-entropy, the learning rate rising once and falling (Smith and Topin 2018)."""
    inputs, classes = torch.from_numpy(images), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_DECAY)
    steps = epochs * (len(classes) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(classes))
        for begin in range(0, len(classes) - _BATCH + 1, _BATCH):
            own = order[begin : begin + _BATCH]
            loss = nn.functional.cross_entropy(network(inputs[own]), classes[own])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    network.eval()


def is_located(network: Detector | Classifier, canvases: Canvases) -> NDArray[np.bool_]:
    """Where a detector is right, (canvases,)."""
    best = _best(network, canvases.images)
    rows, columns = canvases.places.T
    near = (abs(best // PLACES - rows) <= MARGIN) & (abs(best % PLACES - columns) <= MARGIN)
    said_none = best == PLACES * PLACES
    return np.asarray(np.where(canvases.labels == NONE, said_none, near & ~said_none), dtype=np.bool_)


def is_read(network: Detector | Classifier, canvases: Canvases) -> NDArray[np.bool_]:
    """Where a classifier is right at the true place, (canvases,)."""
    own = np.flatnonzero(canvases.labels != NONE)
    crops = [crop(canvases.images[i], (canvases.places[i, 0], canvases.places[i, 1])) for i in own]
    right = np.ones(len(canvases), dtype=np.bool_)
    right[own] = _best(network, np.stack(crops)) == canvases.labels[own]
    return right


def _best(network: nn.Module, inputs: Images) -> Labels:
    with torch.inference_mode():
        whole = torch.from_numpy(inputs)
        parts: list[Tensor] = [network(whole[k : k + 256]).argmax(1) for k in range(0, len(whole), 256)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.int64)


def main() -> None:
    """``python -m ipa_rl.demo.digits.train [FOLDER]``; without a folder the shipped weights are replaced."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.perf_counter()
    train_all(folder, lambda line: print(f"{time.perf_counter() - began_s:6.0f} s  {line}", flush=True))


if __name__ == "__main__":
    main()
