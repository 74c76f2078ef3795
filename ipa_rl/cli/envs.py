"""``ipa-rl envs``: the environments that there are."""

from __future__ import annotations

from typing import Any

from ipa_rl import documents, resources
from ipa_rl.cli.tables import Columns, JsonFlag, print_items, print_json
from ipa_rl.environment.definition_file import pipeline_place, read_model
from ipa_rl.profiles.description import PipelineDescription


def envs(json: JsonFlag = False) -> None:
    """The environments that ship: their stages, SLA and weights, and whether an agent fitted to it ships.

    For one of your own, give its YAML file in the place of a name.

    Example: [bold]ipa-rl envs[/bold]
    """
    rows = [_row(name) for name in resources.shipped_names("envs")]
    if json:
        print_json(rows)
        return
    columns: Columns = {
        "environment": "environment",
        "stages": lambda row: ", ".join(row["stages"]),
        "SLA s": "sla_s",
        "alpha": lambda row: f"{row['alpha']:g}",
        "beta": lambda row: f"{row['beta']:g}",
        "delta": lambda row: f"{row['delta']:g}",
        "agent": lambda row: "yes" if row["agent"] else "no",
    }
    print_items("objective: alpha PAS - beta cores - delta batch sizes", columns, rows, left=2)


def _row(name: str) -> dict[str, Any]:
    path, model = read_model(name)
    folder = resources.find(pipeline_place(path, model), "profiles")
    pipeline = documents.load(
        folder / "pipeline.yaml", PipelineDescription, see="docs/how-to/add-a-pipeline.md"
    )
    return {
        "environment": name,
        "stages": [stage.name for stage in pipeline.stages],
        "sla_s": model.sla_s,
        "alpha": model.weights.alpha,
        "beta": model.weights.beta,
        "delta": model.weights.delta,
        "agent": (resources.folder("agents") / name / "scorer.npz").is_file(),
    }
