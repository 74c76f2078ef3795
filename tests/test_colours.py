"""How controllers and variants look: never two of one picture alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.agents.opponents import untuned
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.experiment import controllers
from ipa_rl.pipeline import Pipeline
from ipa_rl.report.colours import LOAD, SLA, controller_styles, distinct_colours, oklab, variant_fills

VIDEO = load_definition("video")
NAMES = ["ppo", *(one.name for one in untuned())]


def test_controllers_of_a_comparison_have_colours_of_their_own() -> None:
    known = controllers(VIDEO, None)
    for names, program in ((known.names(), known.program.name), (NAMES, "ip window-max:30")):
        styles = controller_styles(names, program)
        assert list(styles) == list(names)
        assert len({one.colour for one in styles.values()} | {SLA, LOAD}) == len(names) + 2
    assert styles["ppo"].colour == "#0b84b5"


def test_the_agent_and_the_program_look_the_same_in_every_comparison() -> None:
    few, many = controller_styles(["ppo", "ip last"], "ip last"), controller_styles(NAMES, "ip last")
    assert few == {name: many[name] for name in few}


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=40))
def test_any_forty_controllers_are_told_apart_by_colour_dash_and_symbol(names: list[str]) -> None:
    styles = list(controller_styles(names, names[0] if names else "").values())
    assert len({one.colour for one in styles}) == len(styles)


@pytest.mark.parametrize(("stages", "variants"), [(1, 1), (2, 5), (6, 7), (12, 20)])
def test_variants_of_a_pipeline_have_fills_of_their_own(stages: int, variants: int) -> None:
    one = VIDEO.pipeline.stages[0].variants[0]
    stage = replace(
        VIDEO.pipeline.stages[0], variants=tuple(replace(one, name=f"v{v}") for v in range(variants))
    )
    fills = variant_fills(Pipeline("many", tuple(replace(stage, name=f"s{s}") for s in range(stages))))
    assert [len(stage) for stage in fills] == [variants] * stages
    assert len({fill.colour for stage in fills for fill in stage}) == stages * variants


def test_drawn_colours_can_be_told_apart_by_eye() -> None:
    colours = distinct_colours(16, (SLA, LOAD))
    rgb = np.array([[int(one[k : k + 2], 16) / 255 for k in (1, 3, 5)] for one in (*colours, SLA, LOAD)])
    lab = oklab(rgb)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert apart[~np.eye(len(lab), dtype=bool)].min() > 0.08
    assert ((lab[:, 0] > 0.4) & (lab[:, 0] < 0.85)).all()
