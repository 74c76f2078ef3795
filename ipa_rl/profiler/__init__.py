"""Profiling of Python callables and HTTP endpoints: job -> measured cells -> a pipeline's folder."""

from ipa_rl.profiler.job import Job, read_job
from ipa_rl.profiler.run import Outcome, profile

__all__ = ["Job", "Outcome", "profile", "read_job"]
