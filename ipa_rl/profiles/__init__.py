"""Measured profiles: files -> checked points -> full tables -> pipelines on their base allocations."""

from ipa_rl.profiles.load import Profile, StageProfile, check_folder, load_pipeline, load_profile

__all__ = ["Profile", "StageProfile", "check_folder", "load_pipeline", "load_profile"]
