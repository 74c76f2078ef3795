"""Pipelines on Kubernetes: Deployments, SeldonDeployments and InferenceServices as stages.

Rights that a ServiceAccount needs, in the namespaces of the stages:

| group | resource | verbs | for |
|---|---|---|---|
| apps | deployments | get, patch | stages that are Deployments |
| apps | deployments/scale | patch | their replicas |
| apps | replicasets | list | whose pods are whose |
| machinelearning.seldon.io | seldondeployments | get, patch | stages that are SeldonDeployments |
| machinelearning.seldon.io | seldondeployments/scale | patch | their replicas |
| serving.kserve.io | inferenceservices | get, patch | stages that are InferenceServices |
| (core) | pods | list | what really serves |
| autoscaling | horizontalpodautoscalers | list | to be the only writer |
| keda.sh | scaledobjects | list | the same, where KEDA is installed |
| (core) | resourcequotas | list | to ask for no more than fits |
| policy | poddisruptionbudgets | list | to ask for no less than must be |
| (core) | events | create | one Event a change |

Observing alone (`KubernetesCluster.look` and `plan`) needs no patch and no create. `discover` lists the
kinds themselves.
"""

from ipa_rl.live.kubernetes.api import Api, ApiError, connect
from ipa_rl.live.kubernetes.apply import difference
from ipa_rl.live.kubernetes.cluster import KubernetesCluster
from ipa_rl.live.kubernetes.description import Description, assumed, load_description
from ipa_rl.live.kubernetes.discovery import discover
from ipa_rl.live.kubernetes.events import record_event

__all__ = [
    "Api",
    "ApiError",
    "Description",
    "KubernetesCluster",
    "assumed",
    "connect",
    "difference",
    "discover",
    "load_description",
    "record_event",
]
