"""The manifests under deploy/, as Kustomize builds them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

Document = dict[str, Any]

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
OVERLAYS = DEPLOY / "kustomize" / "overlays"
KUBECTL = shutil.which("kubectl", path=f"{os.environ.get('KUBEBUILDER_ASSETS', '')}:{os.environ['PATH']}")


def kubectl(*words: str, given: str | None = None) -> str:
    """Standard output of kubectl; fails with what it says."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, *words], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def why_no_kustomize() -> str:
    """Why manifests cannot be built; empty where they can. Components need the Kustomize of kubectl 1.21."""
    if KUBECTL is None:
        return "kubectl is not installed"
    version = json.loads(kubectl("version", "--client", "-o", "json"))["clientVersion"]
    minor = int(version["minor"].rstrip("+"))
    return f"kubectl 1.{minor} builds no Kustomize components; 1.21 does" if minor < 21 else ""


WHY_NO_KUSTOMIZE = why_no_kustomize()
needs_kustomize = pytest.mark.skipif(bool(WHY_NO_KUSTOMIZE), reason=WHY_NO_KUSTOMIZE)


@cache
def _built(folder: Path) -> str:
    return kubectl("kustomize", str(folder))


def built(folder: Path) -> list[Document]:
    """All objects of a kustomization."""
    return [one for one in yaml.safe_load_all(_built(folder)) if one]


def overlay(name: str) -> list[Document]:
    """All objects of an overlay."""
    return built(OVERLAYS / name)


def in_namespace(folder: Path, name: str, namespace: str) -> list[Document]:
    """Those of an overlay in another namespace, by an overlay of the user's own (in ``folder``)."""
    own = {"namespace": namespace, "resources": [os.path.relpath(OVERLAYS / name, folder.resolve())]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    return list(yaml.safe_load_all(kubectl("kustomize", str(folder))))


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """Those of some kinds."""
    return [one for one in documents if one["kind"] in kinds]


def settings_text(documents: list[Document]) -> str:
    """The sidecar's settings in the ConfigMap."""
    return str(of_kind(documents, "ConfigMap")[0]["data"]["sidecar.yaml"])


def controller(documents: list[Document]) -> tuple[Document, Document]:
    """The pod that the controller runs in, and its container."""
    for one in of_kind(documents, "Deployment"):
        pod = one["spec"]["template"]["spec"]
        for container in pod["containers"]:
            if container["name"] in ("sidecar", "ipa-rl"):
                return pod, container
    raise AssertionError("no container of the controller")
