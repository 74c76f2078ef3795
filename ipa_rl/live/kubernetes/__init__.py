"""Pipelines on Kubernetes: Deployments, SeldonDeployments and InferenceServices as stages.

`docs/reference/kubernetes.md` lists the rights that a ServiceAccount needs. Observing alone
(`KubernetesCluster.look` and `plan`) needs no patch and no create; `discover` lists the kinds themselves.
"""

from importlib.util import find_spec

from ipa_rl.errors import MissingExtraError

if find_spec("kubernetes") is None:  # pragma: no cover - the tests run with the extra
    raise MissingExtraError("The Kubernetes client", "kubernetes")

from ipa_rl.live.kubernetes.api import Api, ApiError, connect
from ipa_rl.live.kubernetes.changes import difference
from ipa_rl.live.kubernetes.cluster import KubernetesCluster
from ipa_rl.live.kubernetes.description import KubernetesDescription, assumed, discover, load_description

__all__ = [
    "Api",
    "ApiError",
    "KubernetesCluster",
    "KubernetesDescription",
    "assumed",
    "connect",
    "difference",
    "discover",
    "load_description",
]
