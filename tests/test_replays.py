"""The paper's systems replayed against what was measured on its cluster."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_rl.judge.fidelity import CORES_AIM, PAS_AIM
from ipa_rl.judge.replays import SYSTEMS, load_replays, measured_steps, play_replay

pytestmark = pytest.mark.slow


PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_four_systems_of_a_pipeline_are_there(pipeline: str) -> None:
    assert tuple(replay.system for replay in load_replays(pipeline)) == SYSTEMS


@pytest.mark.parametrize("pipeline", ["video", "audio-qa", "sum-qa"])
def test_the_printed_steps_have_the_printed_means(pipeline: str) -> None:
    for replay in load_replays(pipeline):
        cores, scores = measured_steps(pipeline, replay.system)
        assert cores.mean() == pytest.approx(replay.measured.cores, abs=1e-3)
        assert scores.mean() == pytest.approx(replay.measured.pas_x100, abs=1e-3)


def test_video_replays_cost_and_score_what_was_measured() -> None:
    for replay in load_replays("video"):
        outcome = play_replay(replay).outcome
        assert outcome.cores == pytest.approx(replay.measured.cores, rel=CORES_AIM)
        assert outcome.pas_x100 == pytest.approx(replay.measured.pas_x100, abs=PAS_AIM)


def test_a_replay_follows_the_cluster_step_by_step() -> None:
    """Cores of the video pipeline's own controller, in most steps the very same."""
    replay = load_replays("video")[0]
    cores, _ = measured_steps("video", "ipa")
    assert np.mean(play_replay(replay).step_cores == cores) > 0.85


def test_a_replay_begins_where_the_authors_began_and_decides_from_the_second_step_on() -> None:
    replay = load_replays("video")[3]
    replayed = play_replay(replay)
    assert replayed.step_cores[0] == 6.0
    assert replayed.step_pas_x100[0] == pytest.approx(31.88, abs=0.01)
    assert replayed.step_pas_x100[1] > 40.0
