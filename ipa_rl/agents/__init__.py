"""Agents: observed state -> decision."""

from ipa_rl.agents.protocol import Agent, Decision, State

__all__ = ["Agent", "Decision", "State"]
