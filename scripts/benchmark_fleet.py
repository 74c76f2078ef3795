"""Time and gap of the joint optimum of many pipelines.

    python scripts/benchmark_fleet.py --pipelines 1000

Made-up pipelines, ten times each at other loads and priorities, on cores that are from enough for all to
half of what their loads need. Told are the time until all choices are known, for loads that were not met
before; that of the joint optimum by prices, and how far it is from the bound; and that of the integer
program.
"""

import argparse
import time

import numpy as np

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.fleet.choices import Chooser, Member
from ipa_rl.fleet.joint import joint_optimum

SHARES = (1.0, 0.9, 0.7, 0.5)
"""Of the cores that all loads need."""


def main() -> None:
    """Print a line for each share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipelines", type=int, default=1000)
    count = parser.parse_args().pipelines
    definitions = [load_definition(f"made-up-{k}") for k in range(max(count // 10, 1))]
    rng = np.random.default_rng(0)
    choosers, loads_rps = [], []
    for i in range(count):
        definition = definitions[i % len(definitions)]
        choosers.append(Chooser(Member(f"{definition.name}-{i}", definition, priority=1 + i % 3), ("cores",)))
        loads_rps.append(definition.workload.mean_rps * float(rng.uniform(0.3, 2.0)))
    choosers[0].choices(1.0)  # compiles
    needed = 0.0
    for every_share in (False, True):
        began = time.perf_counter()
        found = [one.choices(load, every_share) for one, load in zip(choosers, loads_rps, strict=True)]
        took_s = time.perf_counter() - began
        what = "and of parts of them" if every_share else ""
        print(
            f"choices for loads not met before {what}: {took_s:.2f} s, {sum(len(one.worth) for one in found)}"
        )
        needed = needed or float(sum(one.units[0, 0] for one in found))
    for share in SHARES:
        limits = np.array([share * needed])
        began = time.perf_counter()
        joint = joint_optimum(found, limits)
        priced_s = time.perf_counter() - began
        began = time.perf_counter()
        exact = joint_optimum(found, limits, exact_up_to=count)
        exact_s = time.perf_counter() - began
        assert joint is not None
        assert exact is not None
        gap = (joint.bound - joint.worth) / abs(joint.bound)
        print(
            f"{share:.0%} of {needed:.0f} cores: by prices {1e3 * priced_s:.0f} ms, {gap:.1e} below the "
            "bound; "
            f"integer program {1e3 * exact_s:.0f} ms, {exact.worth - joint.worth:.3g} cores better"
        )


if __name__ == "__main__":
    main()
