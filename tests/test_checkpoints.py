"""The log of checkpoints, and which of them is chosen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.agents.opponents import PAS_TOLERANCE

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # as a training run does: the networks are small, threads only wait

from ipa_rl.training.checkpoints import (  # noqa: E402
    Checkpoint,
    best_of_parts,
    choose,
    no_worse,
    read_log,
    write_log,
)
from tests.short_training import RIVAL  # noqa: E402

pytestmark = pytest.mark.slow


checkpoints = st.builds(
    Checkpoint,
    step=st.integers(0, 10**6),
    utility=st.floats(-10, 10),
    pas_x100=st.floats(30, 40),
    cores=st.floats(2, 3),
    violations=st.floats(0, 0.01),
)


@given(st.lists(checkpoints, min_size=1))
def test_the_chosen_checkpoint_gives_nothing_up_where_one_exists(log: list[Checkpoint]) -> None:
    """Beside the first rival if it can be, beside the second if not, and only then by utility alone."""
    milder = {**RIVAL, "violations": 2 * RIVAL["violations"]}
    chosen = choose(log, (RIVAL, milder))
    eligible = [one for one in log if no_worse(one, RIVAL)] or [one for one in log if no_worse(one, milder)]
    assert all(
        one.violations <= milder["violations"] and one.pas_x100 >= RIVAL["pas_x100"] - PAS_TOLERANCE
        for one in eligible
    )
    assert chosen.utility == max(one.utility for one in eligible or log)


@given(st.lists(checkpoints, min_size=1), st.integers(1, 8))
def test_of_each_part_of_a_run_its_choice_takes_part_and_the_run_s_among_them(
    log: list[Checkpoint], parts: int
) -> None:
    found = best_of_parts(log, (RIVAL,), parts)
    assert len(found) == min(parts, len(log))
    places = [next(k for k, one in enumerate(log) if one is each) for each in found]
    assert places == sorted(places)
    assert choose(found, (RIVAL,)).utility == choose(log, (RIVAL,)).utility


def test_the_log_of_checkpoints_survives_writing_and_reading(tmp_path: Path) -> None:
    log = [Checkpoint(0, -1.0, 34.0, 2.0, 0.001), Checkpoint(10, -0.9, 34.0, 2.0, 0.001)]
    write_log(log, tmp_path / "log.json")
    assert [asdict(one) for one in read_log(tmp_path / "log.json")] == [asdict(one) for one in log]
