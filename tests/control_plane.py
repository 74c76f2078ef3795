"""A control plane of a specification's own, whose API server really ends and starts again.

etcd and kube-apiserver are those of ``KUBEBUILDER_ASSETS``, as controller test suites have them. No
controllers run: what a client writes stays as it is, and no pods are made of it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import urllib3
import yaml

from tests.prometheus_server import free_port, wait_until

ASSETS = os.environ.get("KUBEBUILDER_ASSETS")
STARTS_WITHIN_S = 90.0


def why_none() -> str:
    """Why there can be none; empty where there can."""
    if ASSETS is None:
        return "KUBEBUILDER_ASSETS is not set: it names the folder of etcd and kube-apiserver"
    missing = [name for name in ("etcd", "kube-apiserver") if not os.access(Path(ASSETS, name), os.X_OK)]
    return f"KUBEBUILDER_ASSETS holds no {' and no '.join(missing)}" if missing else ""


needs_control_plane = pytest.mark.skipif(bool(why_none()), reason=why_none())


class ControlPlane:
    """etcd and one API server in a folder; `stop_server` ends its process, `start_server` starts it anew."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.kubeconfig = folder / "kubeconfig"
        self._folder, self._etcd_url = folder, f"http://127.0.0.1:{free_port()}"
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._pool = urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False, timeout=2.0)
        self._write_credentials()

    def start(self) -> None:
        """Start both, and wait until the API server is ready."""
        peers = f"http://127.0.0.1:{free_port()}"
        self._etcd = self._begin(
            "etcd", f"--data-dir={self._folder / 'etcd-data'}", f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}", f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
        )  # fmt: skip
        self.start_server()

    def start_server(self) -> None:
        """A process of the same arguments as the one before; wait until it is ready."""
        key = self._folder / "account.key"
        self._server = self._begin(
            "kube-apiserver", f"--etcd-servers={self._etcd_url}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self._folder}",
            "--service-cluster-ip-range=10.96.0.0/16", f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the accounts of pods
        )  # fmt: skip
        wait_until(self.is_ready, "the API server ready", STARTS_WITHIN_S)

    def stop_server(self) -> None:
        """End its process, as a node that goes down does."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def stop(self) -> None:
        """End both."""
        for process in (self._server, self._etcd):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def is_ready(self) -> bool:
        """Whether the API server says that it is ready; AssertionError where its process has ended."""
        assert self._server is not None
        assert self._server.poll() is None, (self._folder / "kube-apiserver.log").read_text()[-2000:]
        try:
            answer = self._pool.request("GET", f"https://127.0.0.1:{self.port}/readyz")
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return answer.status == 200

    def _begin(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        assert ASSETS is not None
        words: Sequence[str] = [str(Path(ASSETS, name)), *arguments]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log)

    def _write_credentials(self) -> None:
        token = secrets.token_hex(16)
        (self._folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="utf-8")
        words = ["openssl", "genrsa", "-out", str(self._folder / "account.key"), "2048"]
        subprocess.run(words, capture_output=True, check=True)
        server = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "own",
            "clusters": [{"name": "own", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "admin"}}],
        }  # fmt: skip
        self.kubeconfig.write_text(yaml.safe_dump(content), encoding="utf-8")
