"""Adapt multi-stage inference pipelines: exact optimum, simulator, reinforcement-learning agent."""

__version__ = "0.1.0"
