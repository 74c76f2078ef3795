"""Profiling of Python callables and HTTP endpoints: job -> measured cells -> a pipeline's folder."""

from ipa_rl.profiler.job import ProfilingJob, read_job
from ipa_rl.profiler.run import Outcome, profile

__all__ = ["Outcome", "ProfilingJob", "profile", "read_job"]
