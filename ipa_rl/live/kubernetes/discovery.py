"""Opting in without a file: a label and annotations on the objects.

Label ``ipa-rl.dev/pipeline: NAME`` (of the environment) and annotation ``ipa-rl.dev/stage: STAGE``;
``ipa-rl.dev/container: NAME`` where the pods have several; ``ipa-rl.dev/knobs`` holds, as YAML, what the file
would say of variant, batch, cores and replicas.
"""

from __future__ import annotations

from typing import Any

from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.description import Description, describe
from ipa_rl.live.kubernetes.kinds import KINDS, PREFIX, Kind
from ipa_rl.yaml_text import parse

PIPELINE = f"{PREFIX}/pipeline"
STAGE = f"{PREFIX}/stage"
CONTAINER = f"{PREFIX}/container"
KNOBS = f"{PREFIX}/knobs"


def discover(api: Api, namespace: str, definition: Definition) -> Description:
    """The description that labelled objects of a namespace make. Raises InputError: object, field, fix."""
    source = f"labels in namespace {namespace}"
    stages: dict[str, dict[str, Any]] = {}
    for kind in KINDS.values():
        for live in _labelled(api, kind, namespace, definition.name):
            name, found = described(kind, live)
            if name in stages:
                fix = "label one object a stage"
                problem = f"is on {stages[name]['name']} and on {found['name']}"
                raise InputError(problem, file=source, field=f"{STAGE}: {name}", fix=fix)
            stages[name] = found
    content = {"environment": definition.name, "namespace": namespace, "stages": stages}
    return describe(content, definition, source)


def _labelled(api: Api, kind: Kind, namespace: str, pipeline: str) -> list[Document]:
    try:
        return api.items(kind.collection(namespace), f"{PIPELINE}={pipeline}")
    except ApiError as error:
        if error.status == 404:  # the kind is not installed
            return []
        raise


def described(kind: Kind, live: Document) -> tuple[str, dict[str, Any]]:
    """The stage that a labelled object is, and what its annotations say of it. Raises InputError."""
    metadata = live["metadata"]
    marks = metadata.get("annotations") or {}
    source = f"{kind.name} {metadata['namespace']}/{metadata['name']}"
    if STAGE not in marks:
        raise InputError("is not there", file=source, field=STAGE, fix="annotate it with the stage's name")
    knobs = parse(marks.get(KNOBS, "{}"), source, KNOBS).content or {}
    unknown = set(knobs) - {"variant", "batch", "cores", "replicas"} if isinstance(knobs, dict) else {"text"}
    if unknown:
        fix = "give variant, batch, cores, replicas"
        raise InputError(f"has {', '.join(sorted(map(str, unknown)))}", file=source, field=KNOBS, fix=fix)
    container = {"container": marks[CONTAINER]} if CONTAINER in marks else {}
    return marks[STAGE], {"kind": kind.name, "name": metadata["name"], **container, **knobs}
