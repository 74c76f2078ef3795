"""Clusters: where a pipeline runs."""

from ipa_rl.clusters.scenario import Disturbance, Scenario
from ipa_rl.clusters.simulated import Kind, SimulatedCluster

__all__ = ["Disturbance", "Kind", "Scenario", "SimulatedCluster"]
