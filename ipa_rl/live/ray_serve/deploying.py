"""Deploying a configuration and waiting until it serves."""

from __future__ import annotations

import time
from collections.abc import Callable

from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.ray_serve.api import Document, ServeApi

_POLL_S = 0.5


def deploy(
    api: ServeApi, config: Document, within_s: float = 180.0, report: Callable[[str], None] = lambda _: None
) -> None:
    """Deploy all applications of a configuration file's content, and wait until they run and keep.

    ``report`` takes a line whenever what is waited for changes. Raises ClusterError where one fails, or does
    not run in time.
    """
    end_s = time.monotonic() + within_s
    api.deploy(config)
    names = [one["name"] for one in config["applications"]]
    told = ""
    while waiting := _waiting(api.applications(), names):
        if time.monotonic() > end_s:
            raise ClusterError(f"not deployed after {within_s:g} s: {waiting}")
        if waiting != told:
            report(waiting)
            told = waiting
        time.sleep(_POLL_S)


def _waiting(instance: Document, names: list[str]) -> str:
    """What does not run yet, in words; empty where all do. Raises ClusterError where one has failed."""
    lines = []
    for name in names:
        details = instance["applications"].get(name)
        if details is None:
            lines.append(f"{name} is not known yet")
        elif details["status"] == "DEPLOY_FAILED":
            raise ClusterError(f"application {name} was not deployed: {details['message']}")
        elif details["status"] != "RUNNING":
            lines.append(f"{name} is {details['status']}")
        else:
            lines += [
                f"{name}: {one['name']} is {one['status']}"
                for one in details["deployments"].values()
                if one["status"] != "HEALTHY"
            ]
    return ", ".join(lines)
