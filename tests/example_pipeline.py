"""The servers of deploy/examples/video as real processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.prometheus_server import answers, free_port, wait_until

EXAMPLE = Path(__file__).parent.parent / "deploy" / "examples" / "video"
SCALE = 0.25
"""Real seconds that a second of the profile takes in these specifications."""


class Server:
    """One process of ``python -m serving.MODULE``."""

    def __init__(self, module: str, **settings: object) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        own = {"IPA_HOST": "127.0.0.1", "IPA_PORT": self.port, "IPA_TIME_SCALE": SCALE, "IPA_LINGER_S": 0.5}
        given = {f"IPA_{name.upper()}": value for name, value in settings.items()}
        environment = {**os.environ, **python_path(), **{k: str(v) for k, v in (own | given).items()}}
        words = [sys.executable, "-m", f"serving.{module}"]
        self.process = subprocess.Popen(words, env=environment, cwd=EXAMPLE)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        return answers(f"{self.url}/readyz")

    def wait_ready(self) -> None:
        """Wait until it is."""
        wait_until(self.is_ready, "ready")

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return bytes(answer.read())

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and JSON of a POST."""
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, kind)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def figure(self, name: str) -> float:
        """A value of /metrics, its labels part of the name."""
        for line in self.get("/metrics").decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def terminate(self) -> None:
        """SIGTERM, as Kubernetes sends it."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


def python_path() -> dict[str, str]:
    """Where the servers find themselves and the package."""
    return {"PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(EXAMPLE.parents[2])])}


def replica(stage: str, variant: str, batch: int = 1, **settings: object) -> Server:
    """A replica of a stage of video."""
    return Server("stage", stage=stage, variant=variant, batch_size=batch, seed=1, **settings)


class Addresses:
    """The file in which the router finds its replicas."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "replicas"
        self.path.write_text("", encoding="utf-8")

    def write(self, *replicas: tuple[str, Server]) -> None:
        """Replace them, in one step."""
        beside = self.path.with_suffix(".new")
        lines = [f"{stage} {server.address}\n" for stage, server in replicas]
        beside.write_text("".join(lines), encoding="utf-8")
        beside.replace(self.path)
