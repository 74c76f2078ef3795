"""The live pipeline under the sidecar for a few minutes, and what the simulator said would happen.

    python run.py runs/live --minutes 6 --begin 340

Applies the manifests to the cluster of KUBECONFIG, waits until the router is ready, starts Prometheus, the
load and the sidecar on this machine, watches the pods, and compares (compare.py). Needs kubectl, prometheus
and ``pip install 'ipa-rl[kubernetes,serving,plot]'``. What it started here is ended; the pipeline stays.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from compare import compare
from watch import PODS_COLUMNS, PodWatch

from ipa_rl.workload.workload import load_workload

HERE = Path(__file__).parent
NAMESPACE = "video"
LEAD_S = 5
"""From the start of the load generator to its first request, so that all that imports is up by then."""


def main() -> None:
    """Run and compare."""
    chosen = _arguments()
    folder: Path = chosen.folder
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if not chosen.keep:
            _apply(chosen.overlay, chosen.substitute)
        router = chosen.router_url or stack.enter_context(_forwarded(folder))
        _wait_ready(f"{router}/readyz", 180)
        prometheus = chosen.prometheus_url or stack.enter_context(_prometheus(folder, router))
        measured_s = chosen.minutes * 60
        at_s = time.time() + LEAD_S
        load = stack.enter_context(_load(folder, router, chosen, chosen.warm_up_s + measured_s, at_s))
        watch = stack.enter_context(PodWatch(NAMESPACE, at_s + chosen.warm_up_s))
        _sleep_until(at_s + chosen.warm_up_s - chosen.sidecar_lead_s)
        offset_s = (
            load_workload("twitter").named_window("bursty", 0).clock_s
            + chosen.begin
            - (at_s + chosen.warm_up_s)
        )
        config = _sidecar_settings(folder, prometheus, chosen.sidecar_settings, offset_s)
        stack.enter_context(_sidecar(folder, chosen.sidecar, config))
        _sleep_until(at_s + chosen.warm_up_s)
        facts = _get_json(f"{router}/status")
        _write_run(folder, chosen, facts)
        print(
            f"measuring for {measured_s:g} s; the sidecar logs to {folder / 'sidecar.log'}", file=sys.stderr
        )
        load.wait()
        _write_pods(folder / "pods.csv", watch.rows)
    compare(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the live pipeline under the sidecar and compare.")
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--begin", type=int, default=340, help="second of the bursty window to measure from")
    parser.add_argument(
        "--warm-up-s", type=int, default=120, help="load before, so that its history is known"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agent", default="universal", help="controller that the simulator plays")
    parser.add_argument("--overlay", type=Path, default=HERE, help="folder of the Kustomization to apply")
    parser.add_argument(
        "--substitute", action="append", default=[], help="NAME=VALUE for @NAME@ in manifests"
    )
    parser.add_argument("--keep", action="store_true", help="the pipeline runs already, apply nothing")
    parser.add_argument("--router-url", help="of the router; by default a port is forwarded")
    parser.add_argument("--prometheus-url", help="one that scrapes the router; by default one is started")
    parser.add_argument("--sidecar", default=f"{sys.executable} -m ipa_rl sidecar --config {{config}}")
    parser.add_argument("--sidecar-settings", type=Path, default=HERE / "sidecar.yaml")
    parser.add_argument("--sidecar-lead-s", type=float, default=25.0, help="it starts so long before")
    return parser.parse_args()


def _apply(overlay: Path, substitute: Sequence[str]) -> None:
    """Apply the manifests; values replace their @NAME@."""
    built = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, check=True)
    manifests = built.stdout
    for pair in substitute:
        name, _, value = pair.partition("=")
        manifests = manifests.replace(f"@{name}@", value)
    subprocess.run(["kubectl", "apply", "-f", "-"], input=manifests, text=True, check=True)
    for deployment in ("video-crop", "video-classification", "video-router"):
        words = [
            "kubectl",
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            f"deployment/{deployment}",
            "--timeout=180s",
        ]
        subprocess.run(words, check=True)


@contextlib.contextmanager
def _running(log: Path, words: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended, by SIGTERM first, when the block is left."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, **more)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _forwarded(folder: Path) -> Iterator[str]:
    words = ["kubectl", "-n", NAMESPACE, "port-forward", "service/video-router", "18080:8080"]
    with _running(folder / "port-forward.log", words):
        yield "http://127.0.0.1:18080"


@contextlib.contextmanager
def _prometheus(folder: Path, router: str) -> Iterator[str]:
    """A Prometheus on this machine that scrapes the router every two seconds."""
    target = {"targets": [router.partition("://")[2]]}
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
        "scrape_configs": [{"job_name": "video-router", "static_configs": [target]}],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    url = "http://127.0.0.1:19090"
    words = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    with _running(folder / "prometheus.log", [*words, "--web.listen-address=127.0.0.1:19090"]):
        _wait_ready(f"{url}/-/ready", 30)
        yield url


def _load(
    folder: Path, router: str, chosen: argparse.Namespace, seconds: float, at_s: float
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    words = [
        sys.executable, "-m", "serving.load", router, "--window", "bursty",
        "--begin", str(chosen.begin - chosen.warm_up_s), "--seconds", str(round(seconds)),
        "--seed", str(chosen.seed), "--at", str(at_s), "--output", str(folder.resolve() / "requests.csv"),
    ]  # fmt: skip
    return _running(folder / "load.log", words, cwd=HERE)


def _sidecar(
    folder: Path, command: str, config: Path
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return _running(folder / "sidecar.log", shlex.split(command.format(config=config)))


def _sidecar_settings(folder: Path, prometheus: str, source: Path, clock_offset_s: float) -> Path:
    """The settings with the places of this run; the clock is that of the window."""
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    content["cluster"] = str((source.parent / content["cluster"]).resolve())
    content["load"]["url"] = prometheus
    content["clock_offset_s"] = round(clock_offset_s)
    content["decision_log"] = {"path": str(folder.resolve() / "decisions.jsonl")}
    if os.environ.get("KUBECONFIG"):
        content["kubeconfig"] = os.environ["KUBECONFIG"]
    written = folder / "sidecar.yaml"
    written.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return written


def _write_run(folder: Path, chosen: argparse.Namespace, facts: dict[str, Any]) -> None:
    """What compare.py must know: the stretch, the seed, and what served when the measurement began."""
    start = {
        stage: {"variant": ready[0]["variant"], "batch": ready[0]["batch"], "replicas": len(ready)}
        for stage, one in facts.items()
        if (ready := [replica for replica in one["replicas"] if replica["ready"]])
    }
    keys = ("begin", "warm_up_s", "minutes", "seed", "agent")
    run = {key: getattr(chosen, key) for key in keys} | {"environment": "video", "start": start}
    (folder / "run.json").write_text(json.dumps(run, indent=2), encoding="utf-8")


def _write_pods(path: Path, rows: Sequence[tuple[float, str, str, int, int]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PODS_COLUMNS)
        writer.writerows(rows)


def _get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return dict(json.load(answer))


def _wait_ready(url: str, within_s: float) -> None:
    """Wait for status 200; TimeoutError where it does not come."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    _poll(ready, url, within_s)


def _poll(holds: Callable[[], bool], what: str, within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{what} is not ready after {within_s:g} s")
        time.sleep(0.5)


def _sleep_until(time_s: float) -> None:
    time.sleep(max(time_s - time.time(), 0.0))


if __name__ == "__main__":
    main()
