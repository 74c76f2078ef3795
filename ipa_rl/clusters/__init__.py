"""Clusters: where a pipeline runs."""

from ipa_rl.clusters.simulated import SimulatedCluster

__all__ = ["SimulatedCluster"]
