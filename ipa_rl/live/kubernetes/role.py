"""The rights that acting on a pipeline needs, each object by name.

Whoever may patch a Deployment may change all of its template, and so run what they like under its account:
the rights to act are for the described objects alone.
"""

from __future__ import annotations

from ipa_rl.live.kubernetes.api import Document
from ipa_rl.live.kubernetes.description import KubernetesDescription
from ipa_rl.live.kubernetes.kinds import KINDS

ROLE = "ipa-rl-write"


def write_roles(description: KubernetesDescription) -> list[Document]:
    """A Role for each namespace of the pipeline, of the name that `deploy/kustomize` binds."""
    roles: list[Document] = []
    for namespace in description.namespaces:
        rules: list[Document] = []
        for kind in KINDS.values():
            names = {one.name for one in description.stages if (one.kind, one.namespace) == (kind, namespace)}
            if names:
                resources = [kind.plural, f"{kind.plural}/scale"] if kind.scales else [kind.plural]
                objects = {"apiGroups": [kind.group], "resources": resources, "resourceNames": sorted(names)}
                rules.append({**objects, "verbs": ["patch"]})
        rules.append({"apiGroups": [""], "resources": ["events"], "verbs": ["create"]})
        labels = {"app.kubernetes.io/name": "ipa-rl"}
        metadata = {"name": ROLE, "namespace": namespace, "labels": labels}
        head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
        roles.append({**head, "rules": rules})
    return roles
