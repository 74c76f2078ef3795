"""Adapt multi-stage inference pipelines: exact optimum, simulator, reinforcement-learning agent.

Importing the package registers its environments: ``gymnasium.make("ipa_rl/video-v1")``.
"""

from ipa_rl import interrupts

if interrupts.is_command():
    interrupts.end_at_once()  # the imports below take a second

from ipa_rl.environment.registration import register_all

__version__ = "0.1.0"

register_all()
