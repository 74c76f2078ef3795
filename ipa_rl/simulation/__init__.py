"""The fluid simulator: rolling updates, queues, drops and cost of many pipelines at once."""

from ipa_rl.simulation.fluid import FluidSimulator
from ipa_rl.simulation.tables import Settings, decode, encode

__all__ = ["FluidSimulator", "Settings", "decode", "encode"]
