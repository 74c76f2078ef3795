"""What is sent to an endpoint for a batch, and whether its answer is one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ipa_rl.json_text import parse
from ipa_rl.profiler.job import HttpModel, TensorModel, V2Model

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """One POST. ``items``: how many it carries; ``fault_of``: what is wrong with an answer, or None."""

    url: str
    body: bytes
    headers: dict[str, str]
    items: int
    fault_of: Callable[[bytes], str | None]


def http_request(model: HttpModel, url: str, batch: int, folder: Path) -> Request:
    """The POST of a plain endpoint: the file or the JSON; a whole batch where ``items`` names its list."""
    if model.body is not None:
        headers = {"Content-Type": "application/octet-stream"} | model.headers
        return Request(url, (folder / model.body).read_bytes(), headers, 1, _anything)
    content, count = dict(model.json_body or {}), 1
    if model.items is not None:
        content[model.items] = list(itertools.islice(itertools.cycle(content[model.items]), batch))
        count = batch
    body = json.dumps(content).encode()
    return Request(url, body, _JSON | model.headers, count, _lists(model.answers, count))


def v2_model_url(root: str, name: str) -> str:
    """Where a V2 server has a model: its name is one segment of the path, whatever it holds.

    >>> v2_model_url("http://127.0.0.1:8000/", "acme/vit-base")
    'http://127.0.0.1:8000/v2/models/acme%2Fvit-base'
    """
    return f"{root.rstrip('/')}/v2/models/{quote(name, safe='')}"


def v2_request(model: V2Model, url: str, name: str, batch: int) -> Request:
    """The inference request of the V2 protocol for the model of that name."""
    count = batch if model.batching == "client" else 1
    inputs = [_tensor(one, count) for one in model.inputs]
    return Request(
        f"{v2_model_url(url, name)}/infer",
        json.dumps({"inputs": inputs}).encode(),
        _JSON,
        count,
        _outputs(count),
    )


def _tensor(one: TensorModel, count: int) -> dict[str, Any]:
    shape = [count, *one.shape]
    data = list(one.data) * count if one.data is not None else _random(one.datatype, shape)
    return {"name": one.name, "shape": shape, "datatype": one.datatype, "data": data}


def _random(datatype: str, shape: list[int]) -> list[Any]:
    """Flat random elements, the same each time."""
    rng = np.random.default_rng(0)
    count = math.prod(shape)
    if datatype.startswith("FP"):
        return [round(value, 6) for value in rng.random(count).tolist()]
    if datatype == "BOOL":
        return [value < 0.5 for value in rng.random(count).tolist()]
    return list(rng.integers(0, 128, count).tolist())


def _anything(_: bytes) -> str | None:
    return None


def _lists(field: str | None, count: int) -> Callable[[bytes], str | None]:
    """The check that a field of the answer lists one value for each item."""
    if field is None:
        return _anything

    def fault_of(body: bytes) -> str | None:
        values = _field(body, field)
        if not isinstance(values, list):
            return f"the answer has no list {field}"
        return None if len(values) == count else f"{field} has {len(values)} values for {count} items"

    return fault_of


def _outputs(count: int) -> Callable[[bytes], str | None]:
    """The check that every output tensor has the batch as its first axis."""

    def fault_of(body: bytes) -> str | None:
        outputs = _field(body, "outputs")
        if not isinstance(outputs, list) or not outputs:
            return "the answer has no outputs"
        for one in outputs:
            shape = one.get("shape") if isinstance(one, dict) else None
            if not isinstance(shape, list) or not shape or shape[0] != count:
                return f"an output has shape {shape} for {count} items"
        return None

    return fault_of


def _field(body: bytes, name: str) -> Any:
    try:
        content = parse(body)
    except ValueError:
        return None
    return content.get(name) if isinstance(content, dict) else None
