"""The controller's container without a container engine: the manifests' user, mounts, settings and account.

A mount namespace of its own has a read-only root, the ServiceAccount's files where the client looks for them,
and the volumes; the process in it has the user of the manifests and no environment but theirs. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.kubernetes_objects import Namespace, send
from tests.manifests import ROOT, Document, controller

USER = 65532
MOUNTS = """
set -e
account=/run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs tmpfs /run
mkdir -p $account /run/settings
cp "$1"/account/* $account/
cp "$1"/sidecar.yaml /run/settings/
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/ipa-rl
mount --bind "$1"/state /var/lib/ipa-rl
chmod -R a+rX /run
for one in /run /var/lib; do mount -o remount,ro $one; done
mount -o remount,ro,bind /
shift
exec setpriv --reuid 65532 --regid 65532 --clear-groups "$@"
"""


def why_no_pod() -> str:
    """Why there can be none; empty where there can."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return "mount namespaces need root, unshare and setpriv"
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return f"no mount namespaces here: {done.stderr.strip()}" if done.returncode else ""


WHY_NO_POD = why_no_pod()
needs_pod = pytest.mark.skipif(bool(WHY_NO_POD), reason=WHY_NO_POD)


def token_of(namespace: Namespace, account: str) -> str:
    """A token of a ServiceAccount, as a kubelet asks for it."""
    path = f"{namespace.path('serviceaccounts')}/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return str(send(namespace.client, "POST", path, body)["status"]["token"])


def certificates(server: str) -> str:
    """The chain that an API server shows, its authority included where it signed itself."""
    words = ["openssl", "s_client", "-connect", urlsplit(server).netloc, "-showcerts"]
    shown = subprocess.run(words, input="", capture_output=True, text=True, check=True).stdout
    pieces = shown.split("-----BEGIN CERTIFICATE-----")[1:]
    end = "-----END CERTIFICATE-----"
    return "\n".join("-----BEGIN CERTIFICATE-----" + one.split(end)[0] + end for one in pieces)


@dataclass
class Pod:
    """One running container, and the folder of its volume."""

    folder: Path
    process: subprocess.Popen[bytes]

    def steps(self) -> list[dict[str, Any]]:
        """The lines of its decision log that are whole."""
        path = self.folder / "state" / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def told(self) -> str:
        """Its log."""
        return (self.folder / "log").read_text()


def start_pod(
    folder: Path, namespace: Namespace, documents: list[Document], settings: dict[str, Any], name: str
) -> Pod:
    """Start the controller's container of some manifests with these settings."""
    pod, container = controller(documents)
    assert pod["securityContext"]["runAsUser"] == USER
    server = str(namespace.client.configuration.host)
    account = folder / "account"
    account.mkdir()
    (account / "token").write_text(token_of(namespace, pod["serviceAccountName"]), encoding="utf-8")
    (account / "namespace").write_text(namespace.name, encoding="utf-8")
    (account / "ca.crt").write_text(certificates(server), encoding="utf-8")
    (folder / "sidecar.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "state").mkdir()
    os.chown(folder / "state", USER, USER)
    where = urlsplit(server)
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "IPA_RL_INTERPRETED": "1",
        "KUBERNETES_SERVICE_HOST": str(where.hostname),
        "KUBERNETES_SERVICE_PORT": str(where.port),
        **{one["name"]: name for one in container["env"]},
    }
    command = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "/run/settings/sidecar.yaml"]
    words = ["unshare", "--mount", "sh", "-c", MOUNTS, "sh", str(folder), *command]
    with (folder / "log").open("wb") as log:
        return Pod(folder, subprocess.Popen(words, cwd="/", env=environment, stdout=log, stderr=log))
