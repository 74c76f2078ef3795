"""The rights that acting on a pipeline needs, each object by name.

Whoever may patch a Deployment may change all of its template, and so run what they like under its account:
the rights to act are for the described objects alone.
"""

from __future__ import annotations

from typing import Any

from ipa_rl.live.kubernetes.api import Document
from ipa_rl.live.kubernetes.description import Description
from ipa_rl.live.kubernetes.kinds import KINDS

ROLE = "ipa-rl-write"


def write_roles(description: Description) -> list[Document]:
    """A Role for each namespace of the pipeline, of the name that `deploy/kustomize` binds."""
    return [_role(description, namespace) for namespace in description.namespaces]


def _role(description: Description, namespace: str) -> Document:
    rules: list[dict[str, Any]] = []
    for kind in KINDS.values():
        of_kind = [one for one in description.stages if (one.kind, one.namespace) == (kind, namespace)]
        if of_kind:
            scale = [f"{kind.plural}/scale"] if kind.scales else []
            rules.append(
                {
                    "apiGroups": [kind.api_version.partition("/")[0]],
                    "resources": [kind.plural, *scale],
                    "resourceNames": sorted({one.name for one in of_kind}),
                    "verbs": ["patch"],
                }
            )
    rules.append({"apiGroups": [""], "resources": ["events"], "verbs": ["create"]})
    labels = {"app.kubernetes.io/name": "ipa-rl"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": ROLE, "namespace": namespace, "labels": labels},
        "rules": rules,
    }
