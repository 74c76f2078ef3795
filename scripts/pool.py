"""Makes the pool of loads that ships, of the train parts of the shipped workloads.

python scripts/pool.py
"""

from __future__ import annotations

import argparse

from ipa_rl import resources
from ipa_rl.workload.pool import pooled, save_pool, shipped_pool
from ipa_rl.workload.workload import load_workload


def main() -> None:
    """Write the file, and say how large it is."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    loads = pooled(load_workload(name) for name in resources.shipped_names("workloads"))
    save_pool(loads, shipped_pool())
    steps = ", ".join(f"{len(array)} steps of {length_s} s" for length_s, array in loads.items())
    print(f"{shipped_pool()}: {steps}, {shipped_pool().stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
