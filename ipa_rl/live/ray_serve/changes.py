"""What differs between what a stage is asked for and what is wanted, and the configuration that says so."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ipa_rl.live.cluster import Change
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.live.ray_serve.observe import StageView, override
from ipa_rl.live.ray_serve.settings import ServeStage
from ipa_rl.pipeline import StageConfig

_OF_INSTANCE = ("proxy_location", "target_capacity")


def changes_of(view: StageView, wanted: StageConfig) -> list[Change]:
    """One change a knob that differs."""
    pairs = {
        "variant": (view.variant, wanted.variant),
        "batch": (view.batch, wanted.batch),
        "replicas": (view.desired, wanted.replicas),
    }
    name = view.stage.stage.name
    return [Change(name, knob, str(old), str(new)) for knob, (old, new) in pairs.items() if old != new]


def changed_before_shrinking(
    views: Iterable[StageView], wanted: Mapping[ServeStage, StageConfig]
) -> dict[ServeStage, StageConfig]:
    """The same, with the replicas that are there in stages that change in place and shrink."""
    found = dict(wanted)
    for view in views:
        one = wanted.get(view.stage)
        if one is not None and (one.variant, one.batch) != (view.variant, view.batch):
            found[view.stage] = replace(one, replicas=max(one.replicas, view.desired))
    return found


def edited(instance: Document, application: str, wanted: Mapping[ServeStage, StageConfig]) -> Document:
    """The configuration of the whole Serve instance with some deployments of an application changed.

    All other applications stay as they were deployed, because one that is left out would be deleted.
    """
    applications = []
    for details in instance["applications"].values():
        config = details.get("deployed_app_config")
        if config is None:
            continue  # made by Python (serve.run); configuration files do not touch it
        if details["name"] == application:
            config = copy.deepcopy(config)
            for stage, one in wanted.items():
                _edit(config, details, stage, one)
        applications.append(config)
    whole: Document = {key: instance[key] for key in _OF_INSTANCE if instance.get(key) is not None}
    return whole | {"http_options": _http(instance), "applications": applications}


def _edit(config: Document, details: Document, stage: ServeStage, wanted: StageConfig) -> None:
    deployments = config.setdefault("deployments", [])
    own = next((one for one in deployments if one["name"] == stage.deployment), None)
    if own is None:
        own = {"name": stage.deployment}
        deployments.append(own)
    live = details["deployments"][stage.deployment]["deployment_config"] | override(details, stage.deployment)
    own["num_replicas"] = wanted.replicas
    own["user_config"] = _user_config(stage, live.get("user_config") or {}, wanted)
    if stage.ongoing_batches is not None:
        own["max_ongoing_requests"] = stage.ongoing_batches * wanted.batch


def _user_config(stage: ServeStage, present: Mapping[str, Any], wanted: StageConfig) -> Document:
    own = {**present, stage.variant_key: wanted.variant, stage.batch_key: wanted.batch}
    if stage.cores_key is not None:
        own[stage.cores_key] = stage.stage.variant(wanted.variant).cores
    return own


def _http(instance: Document) -> Document:
    options: Document = instance.get("http_options") or {}
    return {key: options[key] for key in ("host", "port") if options.get(key) is not None}
