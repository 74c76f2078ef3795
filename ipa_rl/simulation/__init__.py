"""Two simulators of one model: the fluid one to learn in, the request-level one to judge by."""

from ipa_rl.simulation.fluid import FluidSimulator
from ipa_rl.simulation.request_level import RequestSimulator
from ipa_rl.simulation.tables import Timing, decode, encode

__all__ = ["FluidSimulator", "RequestSimulator", "Timing", "decode", "encode"]
