"""What became of requests, by interval, and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_rl.demo.application import Sample
from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.digits.load import DigitRequest
from ipa_rl.demo.outcomes import Outcomes, by_interval, figures, read_turn
from ipa_rl.demo.serving import REPLICAS, REQUESTS, RUN, Turn
from ipa_rl.environment.definition import Definition
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.workload.open_loop import write_csv

SMALL = Configuration((StageConfig("conv8x2", 1, 1), StageConfig("conv4x1", 1, 1)))


def test_requests_without_an_answer_violate_and_have_no_latency(digits: Definition) -> None:
    outcomes = Outcomes(
        due_s=np.array([0.0, 1.0, 11.0, 12.0]),
        latency_s=np.array([0.5, 9.0, np.nan, 0.7]),
        right=np.array([1.0, 0.0, np.nan, 1.0]),
        cores=np.array([2.0, 4.0]),
        batches=np.array([2.0, 2.0]),
        replicas=np.ones((2, 2)),
    )
    found = figures(digits, outcomes)
    assert (found["violated_pct"], found["cores"], found["served"]) == (50.0, 3.0, 3.0)
    assert found["pas_x100"] == pytest.approx(200 / 3)
    assert found["mean_s"] == pytest.approx((0.5 + 9.0 + 0.7) / 3)
    weights = digits.weights
    expected = weights.alpha * 2 / 3 - weights.beta * 3.0 - weights.delta * 2.0 - weights.rho * 0.5
    assert found["utility"] == pytest.approx(expected)
    steps = by_interval(digits, outcomes)
    assert steps["violated_pct"].tolist() == [50.0, 50.0]
    assert steps["mean_s"].tolist() == pytest.approx([4.75, 0.7])


def test_a_turn_is_read_back_as_it_was_served(digits: Definition, tmp_path: Path) -> None:
    turn = Turn(Controller.autoscaler, 1, tmp_path)
    served = DigitRequest(0.5, 0.5, 1.0, "served", 3, 3, "conv8x2", "conv4x1")
    wrong, dropped = replace(served, due_s=12.0, digit=4), replace(served, outcome="dropped", digit=None)
    write_csv(tmp_path / REQUESTS, DigitRequest, [served, wrong, dropped])
    samples = [
        Sample(100.0 + t, stage, variant, 1, 1 + (t >= 11), 1, 1 + (t >= 11))
        for t in range(20)
        for stage, variant in (("detect", "conv8x2"), ("classify", "conv4x1"))
    ]
    write_csv(tmp_path / REPLICAS, Sample, samples)
    (tmp_path / RUN).write_text(json.dumps({"begin_s": 100.0, "seed": 1}), encoding="utf-8")
    found = read_turn(digits, turn, 20)
    assert found.start == SMALL
    assert [one.stages[0].replicas for one in found.configurations] == [1, 2]
    assert found.outcomes.cores.tolist() == pytest.approx([2.0, 3.8])
    assert found.outcomes.replicas.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (found.dropped, found.failed) == (1, 0)
    assert figures(digits, found.outcomes)["pas_x100"] == 50.0
    assert np.isnan(found.planned_rps).all()
