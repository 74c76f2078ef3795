"""Agents that see and act as in the Gymnasium environment, whichever library trained them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.protocol import Decision, State, checked_state
from ipa_rl.border import positions
from ipa_rl.environment.action import action_sizes, decode_actions
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.observation import Observer
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.simulation import decode
from ipa_rl.simulation.tables import choices_below


class Translator:
    """Between a cluster's state and configurations, and the environment's observations and actions."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._below = choices_below(definition.problem)
        self.observer = Observer(definition)
        self.variants = self.observer.variants

    def observe(self, state: State) -> tuple[State, NDArray[np.float32], FloatArray]:
        """The state, checked; its observation (1, entries), and the reference load (1,) it is relative to.

        Raises InputError where the state is not one of this pipeline.
        """
        history_s = self.definition.history_s
        state = checked_state(state, self._below, history_s)
        observations, reference_rps = self.observer.observe(
            loads=state.history_rps[None, -history_s:],
            now=np.array([history_s]),
            clock_s=np.array([int(state.clock_s)]),
            fleet=state.fleet[None],
            queued=state.queued[None],
            sla_s=np.array([self.definition.problem.sla_s]),
            preference=np.array([self.definition.preference]),
        )
        return state, observations, reference_rps

    def rows(self, actions: IntArray, reference_rps: FloatArray) -> IntArray:
        """What an action (1, 3 * stages) means at that reference load: (stages, 3), as `decode` takes."""
        limit, graph = self.definition.problem.max_replicas, self.definition.pipeline.graph
        rows = decode_actions(actions, reference_rps, self.variants, limit, graph)
        return np.asarray(rows[0], dtype=np.int64)


@dataclass
class GymnasiumAgent:
    """An agent that another library trained on the Gymnasium environment.

    ``act``: observation (entries,) -> action (3 * stages,), as of ``gymnasium.make("ipa_rl/video-v1")``. What
    it chooses is carried out as it is: no guard stands behind it.
    """

    name: str
    definition: Definition
    act: Callable[[NDArray[np.float32]], Any]
    _translator: Translator = field(init=False)

    def __post_init__(self) -> None:
        self._translator = Translator(self.definition)

    def decide(self, state: State) -> Decision:
        """The configuration that the action means.

        Raises InputError where the action is not in the action space, or the state not of this pipeline.
        """
        problem = self.definition.problem
        _, observations, reference_rps = self._translator.observe(state)
        below = np.array(action_sizes(problem), dtype=np.int64)
        action = positions(self.act(observations[0]), "action", below.shape, below)
        rows = self._translator.rows(action[None], reference_rps)
        return Decision(decode(problem, rows), float(reference_rps[0]))
