"""How long ipa-rl takes to start, as a multiple of what importing numpy takes: median seconds and ratio.

    python scripts/benchmark_startup.py --rounds 15

Each round runs every command once, one after the other, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

PYTHON = [sys.executable, "-c"]
IPA_RL = [sys.executable, "-m", "ipa_rl"]
COMMANDS = {
    "python -c 'import numpy'": [*PYTHON, "import numpy"],
    "python -c 'import ipa_rl'": [*PYTHON, "import ipa_rl"],
    "ipa-rl --version": [*IPA_RL, "--version"],
    "ipa-rl --help": [*IPA_RL, "--help"],
    "ipa-rl envs": [*IPA_RL, "envs"],
    "ipa-rl solve video --load 20": [*IPA_RL, "solve", "video", "--load", "20"],
    "ipa-rl profiles show video": [*IPA_RL, "profiles", "show", "video"],
    "ipa-rl compare --help": [*IPA_RL, "compare", "--help"],
}
BOUNDS = {"ipa-rl --help": 3.0, "ipa-rl solve video --load 20": 8.0}
"""What is promised, as multiples of the first command's time."""


def seconds(command: list[str]) -> float:
    """Of one run, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the table; exit status 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        seconds(command)  # compiles what is not compiled yet
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    numpy_s = median(next(iter(taken.values())))
    print(f"{'command':<32} {'median s':>8} {'ratio':>6} {'bound':>6}")
    broken = False
    for name, all_s in taken.items():
        ratio, bound = median(all_s) / numpy_s, BOUNDS.get(name)
        broken |= bound is not None and ratio > bound
        print(f"{name:<32} {median(all_s):8.3f} {ratio:6.1f} {'' if bound is None else f'{bound:g}':>6}")
    sys.exit(int(broken))


if __name__ == "__main__":
    main()
