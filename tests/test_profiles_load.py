"""Pipelines with other base allocations."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_rl.environment.definition_file import load_definition, load_problem
from ipa_rl.errors import InputError
from ipa_rl.graph import Edge
from ipa_rl.pipeline import Pipeline
from ipa_rl.profiles.load import Allocation, check_folder, load_pipeline
from tests.pipelines import write_environment

STAGES = {"detect": ("small", "large"), "people": ("one",), "cars": ("one",)}


def edges(**other: Any) -> list[dict[str, Any]]:
    """A detector that sends to two classifiers; the second edge with other fields."""
    return [{"from": "detect", "to": "people"}, {"from": "detect", "to": "cars", **other}]


def test_edges_say_how_many_requests_each_variant_sends_where(tmp_path: Path) -> None:
    path = write_environment(tmp_path, STAGES, edges=edges(requests={"large": 9, "small": 1.5}))
    pipeline = load_problem(path).pipeline
    assert pipeline.edges == (Edge("detect", "people"), Edge("detect", "cars", (1.5, 9.0)))
    assert pipeline.restricted_to(("large", "one", "one")).graph.visits([0, 0, 0]).tolist() == [1.0, 1.0, 9.0]


def test_a_sink_may_have_an_sla_of_its_own(tmp_path: Path) -> None:
    path = write_environment(tmp_path, STAGES, edges=edges())
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "sink_sla_s: {cars: 0.2}\n", encoding="utf-8")
    problem = load_problem(path)
    (people,) = [one for one in problem.pipeline.stages if one.name == "people"]
    (cars,) = [one for one in problem.pipeline.stages if one.name == "cars"]
    assert problem.earlier_s(people) == 0.0
    assert problem.earlier_s(cars) == pytest.approx(problem.sla_s - 0.2)
    path.write_text(text + "sink_sla_s: {detect: 0.2}\n", encoding="utf-8")
    told = r"sink_sla_s\.detect: is no stage that requests end at; fix: name one of people, cars"
    with pytest.raises(InputError, match=told):
        load_problem(path)


def test_an_environment_takes_a_graph_unless_its_arms_are_entangled(tmp_path: Path) -> None:
    definition = load_definition(write_environment(tmp_path, STAGES, edges=edges()))
    assert not definition.pipeline.graph.is_chain
    (only, *_) = definition.pipeline.stages
    stages = tuple(replace(only, name=name, join=None) for name in "sabcd")
    both = (Edge("s", "a"), Edge("s", "b"), Edge("a", "c"), Edge("a", "d"), Edge("b", "c"), Edge("b", "d"))
    with pytest.raises(InputError, match=r"mine: edges: its arms share stages .*; fix: let arms meet"):
        definition.with_problem(pipeline=Pipeline("entangled", stages, both), sink_sla_s=())


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"to": "vans"}, "edges.detect to vans: no stage 'vans'; fix: name one of the stages: detect, "),
        ({"requests": {"small": 2, "huge": 3}}, "edges.detect to cars.requests: no variant 'huge'; fix: "),
        ({"requests": {"small": 2}}, "edges.detect to cars.requests: says nothing of large; fix: "),
        ({"requests": 0}, "edges.1.requests: Input should be greater than 0"),
        ({"probability": 0}, "edges.1.probability: Input should be greater than 0"),
        ({"probability": 1.4}, "edges.1.probability: Input should be less than or equal to 1"),
        ({"to": "people"}, "edges.detect to people: is listed twice; fix: "),
        ({"from": "cars"}, "edges.cars to cars: leads to itself; fix: "),
    ],
)
def test_a_bad_edge_is_told_in_a_line(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    write_environment(tmp_path, STAGES, edges=edges(**other))
    (fault,) = check_folder(tmp_path / "pipeline")
    assert str(fault).startswith(f"{tmp_path / 'pipeline' / 'pipeline.yaml'}:")
    assert told in str(fault)
    assert "; fix: " in str(fault)


@pytest.mark.slow
def test_a_pipeline_is_read_again_where_its_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    for name, times in (("a", 1.0), ("b", 2.0)):
        folder = write_environment(tmp_path / name, {"only": ["small"]}).parent
        points = folder / "pipeline" / "0.csv"
        if name == "b":
            points.write_text(slower(points.read_text(encoding="utf-8"), times), encoding="utf-8")
        monkeypatch.chdir(folder)
        rates.append(load_pipeline("pipeline").stages[0].variants[0].throughput_rps[0])
    assert rates[1] == pytest.approx(rates[0] / 2.0, rel=0.01)  # of another folder of the same name
    points.write_text(slower(points.read_text(encoding="utf-8"), 2.0), encoding="utf-8")
    again = load_pipeline("pipeline").stages[0].variants[0].throughput_rps[0]
    assert again == pytest.approx(rates[1] / 2.0, rel=0.01)


def slower(text: str, times: float) -> str:
    """Points at which all takes so many times as long."""
    head, *rows = csv.reader(text.splitlines())
    kinds = {"latency_mean_s": times, "latency_p99_s": times, "throughput_rps": 1.0 / times}
    kinds |= {"load_rps": 1.0 / times}
    found = [head]
    for row in rows:
        pairs = zip(head, row, strict=True)
        found.append(
            [f"{float(one) * kinds[name]:g}" if name in kinds and one else one for name, one in pairs]
        )
    return "\n".join(",".join(row) for row in found) + "\n"


def test_more_batch_sizes_than_are_told_apart_are_a_fault_of_the_file(tmp_path: Path) -> None:
    folder = write_environment(tmp_path / "many", {"only": ["small"]}).parent / "pipeline"
    said = yaml.safe_load((folder / "pipeline.yaml").read_text(encoding="utf-8"))
    for batches in (list(range(1, 18)), [1, 20_000]):
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(said | {"batches": batches}), encoding="utf-8")
        (fault,) = check_folder(folder)
        assert fault.file == folder / "pipeline.yaml"
        assert f"has {len(batches)} batch sizes up to {batches[-1]}" in fault.problem


def test_a_derating_beyond_a_hundred_times_is_a_fault_of_the_file(tmp_path: Path) -> None:
    folder = write_environment(tmp_path / "odd", {"only": ["small"]}).parent / "pipeline"
    said = yaml.safe_load((folder / "pipeline.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(said | {"derating": {"latency_pct": 1e30}})
    (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    (fault,) = check_folder(folder)
    assert fault.field == "derating.latency_pct"


def test_another_threshold_gives_other_base_allocations_and_leaves_out_pins() -> None:
    described = load_pipeline("sum-qa").stages[0]
    lower = load_pipeline("sum-qa", Allocation(threshold_rps=1.0)).stages[0]
    assert described.variant("sshleifer-distilbart-xsum-12-6").units == 16
    assert lower.variant("sshleifer-distilbart-xsum-12-6").units < 16
    pinned = Allocation(1.0, base_cores=(("sshleifer-distilbart-xsum-12-3", 2),))
    assert load_pipeline("sum-qa", pinned).stages[0].variant("sshleifer-distilbart-xsum-12-3").units == 2
