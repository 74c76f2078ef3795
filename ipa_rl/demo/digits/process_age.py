"""How long this process has run, for replicas that are ready a set time after they were started."""

from __future__ import annotations

import os
import time
from pathlib import Path


def process_age_s() -> float:
    """Seconds since this process began, to a tick of the kernel's clock (0.01 s).

    0.0 where the system has no /proc. (psutil knows the begin to a second only.)
    """
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return 0.0
    ticks = float(stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
