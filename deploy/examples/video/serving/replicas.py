"""Where the replicas of each stage are: a file of addresses, or the Endpoints of Kubernetes Services.

``file:PATH``: one ``STAGE ADDRESS:PORT`` a line, read again at every look.
``endpoints:STAGE=SERVICE,STAGE=SERVICE``: ready addresses of the Services, from the Kubernetes API, with the
pod's service account or, where KUBECONFIG is set, with the token of that file. ``IPA_NAMESPACE`` names
another namespace than the pod's.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from ipa_rl.errors import InputError

Addresses = dict[str, list[str]]
Finder = Callable[[], Awaitable[Addresses]]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class _Api:
    """How the Kubernetes API is reached; the token is read anew each time, as it is renewed."""

    url: str
    token: Callable[[], str]
    trust: ssl.SSLContext | bool
    namespace: str


def finder(place: str, session: aiohttp.ClientSession) -> Finder:
    """What looks for replicas; it answers addresses by stage. Raises InputError on an unknown form.

    A look that fails raises OSError or aiohttp.ClientError; the last answer holds then.
    """
    kind, _, rest = place.partition(":")
    if kind == "file" and rest:
        return lambda: _from_file(Path(rest))
    if kind == "endpoints" and "=" in rest:
        services = dict(pair.split("=", 1) for pair in rest.split(","))
        api = _api()
        return lambda: _from_endpoints(session, api, services)
    fix = "give file:PATH or endpoints:STAGE=SERVICE,..."
    raise InputError(f"is not understood: {place}", field="IPA_REPLICAS", fix=fix)


async def _from_file(path: Path) -> Addresses:
    found: Addresses = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            stage, address = line.split()
            found.setdefault(stage, []).append(address)
    return found


async def _from_endpoints(session: aiohttp.ClientSession, api: _Api, services: dict[str, str]) -> Addresses:
    found: Addresses = {}
    headers = {"Authorization": f"Bearer {api.token()}"}
    for stage, service in services.items():
        url = f"{api.url}/api/v1/namespaces/{api.namespace}/endpoints/{service}"
        async with session.get(url, headers=headers, ssl=api.trust) as answer:
            answer.raise_for_status()
            content = await answer.json()
        found[stage] = [
            f"{address['ip']}:{subset['ports'][0]['port']}"
            for subset in content.get("subsets") or []
            for address in subset.get("addresses") or []
        ]
    return found


def _api() -> _Api:
    if os.environ.get("KUBECONFIG"):
        return _from_kubeconfig(Path(os.environ["KUBECONFIG"]))
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        fix = "run in a pod with a service account, or set KUBECONFIG"
        raise InputError("no Kubernetes API is known", field="IPA_REPLICAS", fix=fix)
    namespace = os.environ.get("IPA_NAMESPACE") or (_ACCOUNT / "namespace").read_text(encoding="utf-8")
    return _Api(
        url=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        token=lambda: (_ACCOUNT / "token").read_text(encoding="utf-8").strip(),
        trust=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt")),
        namespace=namespace.strip(),
    )


def _from_kubeconfig(path: Path) -> _Api:
    """The current context of a file whose user has a token."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    context = next(c["context"] for c in content["contexts"] if c["name"] == content["current-context"])
    cluster = next(c["cluster"] for c in content["clusters"] if c["name"] == context["cluster"])
    user = next(u["user"] for u in content["users"] if u["name"] == context["user"])
    authority = cluster.get("certificate-authority")
    trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=authority)
    if cluster.get("insecure-skip-tls-verify"):
        trust = False
    namespace = os.environ.get("IPA_NAMESPACE") or context.get("namespace", "default")
    return _Api(cluster["server"], lambda: str(user["token"]), trust, namespace)
