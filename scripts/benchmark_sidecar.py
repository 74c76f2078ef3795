"""Memory and processor time of the sidecar: the real command as a process of its own.

    python scripts/benchmark_sidecar.py --environments video nlp sum-qa --steps 30
    python scripts/benchmark_sidecar.py --days-seen 21 --agent planner
    python scripts/benchmark_sidecar.py --config sidecar.yaml --seconds 300

The first rehearses each environment in the simulator, at ten times the speed, with the Kubernetes client
imported as on a real cluster; the share of a core is given for the interval that the environment has. The
second does so after many days of load, which are read from a file and refitted to. The third measures the
settings of a real one. Memory is the highest seen (VmHWM) and the last (VmRSS).
"""

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEED = 10.0
REHEARSED = """
environment: {name}
agent: {agent}
cluster: {{rehearsal: {{window: fluctuating, speed: {speed}}}}}
interval_s: {interval_s}
mode: act
leader_election: false
telemetry: {{host: 127.0.0.1, port: 0}}
decision_log: {{path: decisions.jsonl}}
state: state.json
load_history: {{path: loads.csv, days: 21}}
promotion: {{}}
demotion: {{}}
"""
COMMAND = (
    "import sys, kubernetes.client; from ipa_rl.cli import main; "
    "sys.argv = ['ipa-rl', 'sidecar', '--config', sys.argv[1]]; main()"
)


def start(settings: Path) -> subprocess.Popen[bytes]:
    """The sidecar with these settings."""
    words = [sys.executable, "-c", COMMAND, settings.name]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with (settings.parent / "sidecar.log").open("wb") as log:
        return subprocess.Popen(words, cwd=settings.parent, stderr=log, env=environment)


def processor_s(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, name: str) -> float:
    """One of the figures of /proc/PID/status, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1000


def measure(process: subprocess.Popen[bytes], seconds: float, warm_up_s: float) -> tuple[float, float, float]:
    """Processor seconds after the warm-up, highest and last memory, MB; the process is ended."""
    time.sleep(warm_up_s)
    before_s = processor_s(process.pid)
    time.sleep(seconds)
    found = (
        processor_s(process.pid) - before_s,
        memory_mb(process.pid, "VmHWM"),
        memory_mb(process.pid, "VmRSS"),
    )
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    return found


def write_loads(path: Path, days: float) -> None:
    """A history of loads, a daily wave, until a minute ago."""
    end = int(time.time()) - 60
    seconds = range(end - round(days * 86_400), end)
    with path.open("w", encoding="utf-8") as file:
        file.write("time,load_rps\n")
        for second in seconds:
            file.write(f"{second},{random.gauss(20 + 10 * math.sin(second / 13_751), 3):.4g}\n")


def rehearse(name: str, agent: str, steps: int, days: float) -> None:
    """Print one line for an environment."""
    interval_s = 10.0
    with tempfile.TemporaryDirectory() as folder:
        if days:
            write_loads(Path(folder) / "loads.csv", days)
        settings = Path(folder) / "sidecar.yaml"
        content = REHEARSED.format(name=name, agent=agent, speed=SPEED, interval_s=interval_s / SPEED)
        settings.write_text(content, encoding="utf-8")
        used_s, highest, last = measure(start(settings), steps * interval_s / SPEED, warm_up_s=8.0)
    share = 100 * used_s / (steps * interval_s)
    print(f"{name:12} {1000 * used_s / steps:10.1f} {share:15.2f} {highest:13.1f} {last:10.1f}")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environments", nargs="+", default=["video", "nlp", "sum-qa"])
    parser.add_argument("--agent", help="planner or program; by default that of the environment")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--days-seen", type=float, default=0.0, help="days of load that it has seen before")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    arguments = parser.parse_args()
    if arguments.config is not None:
        used_s, highest, last = measure(start(arguments.config.resolve()), arguments.seconds, warm_up_s=20.0)
        share = 100 * used_s / arguments.seconds
        print(f"{share:.2f} % of a core, {highest:.1f} MB at most, {last:.1f} MB at the end")
        return
    print(f"{'environment':12} {'ms a step':>10} {'% of a core':>15} {'MB at most':>13} {'MB last':>10}")
    for name in arguments.environments:
        rehearse(name, arguments.agent or name, arguments.steps, arguments.days_seen)


if __name__ == "__main__":
    main()
