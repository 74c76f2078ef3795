"""How long things may take: the one place for limits on durations.

They are there to find mistakes in units, not because anything breaks beyond them.
"""

LONGEST_DELAY_S = 3600.0
"""Start-up delays and drop limits."""

LONGEST_LATENCY_S = 600.0
"""Latencies of a profile."""
