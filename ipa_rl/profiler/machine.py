"""Facts of the machine that decide how fast a model runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ipa_rl.profiler.processes import usable_cores
from ipa_rl.profiles.description import Machine


def this_machine() -> Machine:
    """Processor, usable cores, memory, system and Python of this machine."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
    )


def _processor() -> str:
    """Its name, where the system tells; else its architecture."""
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
