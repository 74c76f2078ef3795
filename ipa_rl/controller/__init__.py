"""The control loop: observe, forecast, decide, guard, apply, record."""

from ipa_rl.controller.loop import Cluster, Step, control

__all__ = ["Cluster", "Step", "control"]
