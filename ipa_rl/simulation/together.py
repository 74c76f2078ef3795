"""Stages that were measured together, for the compiled loops: their figures are those measured, as a product.

The figure of the last of them is multiplied by what makes the product of all right
(`ipa_rl.objective.Correction`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, Record, Records, compiled_in_place
from ipa_rl.objective import Problem, corrections

MOST_OTHERS = 7
"""Stages that one is measured together with, at most."""

LINKS = np.dtype(
    [(name, np.int64) for name in ("count", "begins")]
    + [(name, np.int64, (MOST_OTHERS,)) for name in ("others", "steps")]
)
"""Of a stage: ``count`` of ``others`` that it was measured with and that requests come to before it.

Its factors begin at ``begins``, each variant of another one ``steps`` further on.
"""


class Together(NamedTuple):
    """``links``: LINKS (stages,). ``factors`` (many, 2): of the score and of the accuracy."""

    links: Records
    factors: FloatArray


def together_of(problem: Problem) -> Together:
    """The pipeline's. Raises InputError where too many stages were measured together."""
    pipeline = problem.pipeline
    links, factors, begins = np.zeros(len(pipeline.stages), dtype=LINKS), [np.zeros((0, 2))], 0
    raw, weighed = corrections(pipeline), corrections(pipeline, problem.weights)
    for one, scored in zip(raw, weighed, strict=True):
        if len(one.others) > MOST_OTHERS:
            fix = f"measure {MOST_OTHERS + 1} at most together"
            raise InputError(f"has {len(one.others) + 1} stages", field="accuracies", fix=fix)
        row, shape = links[one.last], one.factor.shape
        row["count"], row["begins"] = len(one.others), begins
        for k, s in enumerate(one.others):
            row["others"][k], row["steps"][k] = s, int(np.prod(shape[k + 1 :]))
        factors.append(np.stack([scored.factor.ravel(), one.factor.ravel()], axis=1))
        begins += one.factor.size
    return Together(links, np.concatenate(factors))


@compiled_in_place
def factors_at(link: Record, fleet: Records) -> int:
    """Where the factors of a stage's variants begin, beside what serves in others; ``fleet``: FLEET."""
    at = link.begins
    for k in range(link.count):
        at += link.steps[k] * fleet[link.others[k]].active
    return int(at)
