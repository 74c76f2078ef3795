"""Judging: controllers on the same arrivals in a simulator, with intervals."""
