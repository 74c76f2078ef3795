"""Measured profiles: files -> checked points -> full tables -> pipelines on their base allocations."""

from ipa_rl.profiles.load import PipelineProfile, StageProfile, check_folder, load_pipeline, load_profile

__all__ = ["PipelineProfile", "StageProfile", "check_folder", "load_pipeline", "load_profile"]
