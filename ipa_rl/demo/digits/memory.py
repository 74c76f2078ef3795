"""Keeps the C library from giving memory back between calls of a model.

By default glibc maps large buffers anew for every call, or does not, by what the process did before: page
faults then double the processor time of the same batch in one process and not in the next.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MB = 1024 * 1024


def keep_memory() -> None:
    """Serve all but huge buffers from memory that stays with the process; nothing where there is no glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 * _MB)
        mallopt(_TRIM_THRESHOLD, 256 * _MB)
        mallopt(_TOP_PAD, 16 * _MB)
