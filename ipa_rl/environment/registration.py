"""Registers every shipped environment with Gymnasium: ``gymnasium.make("ipa_rl/video-v1")``."""

from __future__ import annotations

import gymnasium

from ipa_rl import resources


def register_all() -> None:
    """Register all of ``envs/``; importing ipa_rl does this."""
    for name in resources.shipped_names("envs"):
        gymnasium.register(
            id=f"ipa_rl/{name}-v1",
            entry_point="ipa_rl.environment.env:IpaEnv",
            vector_entry_point="ipa_rl.environment.env:IpaVectorEnv",
            kwargs={"definition": name},
        )
