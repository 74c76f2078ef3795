"""A policy as an ONNX file, for those who run it elsewhere; needs ``ipa-rl[onnx]``.

Input ``observations`` (batch, entries), float32. Outputs ``logits`` (batch, sum of choices), ``actions``
(batch, choices), int64, the likeliest of each; and, where training's coverage is known, ``unfamiliarity``
(batch,), which is to stay below the limit that the metadata give (`ipa_rl.agents.coverage`). Metadata:
``environment``, ``inputs`` (names of the entries, one a line), ``choices``, ``unfamiliarity_limit``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.coverage import Coverage
from ipa_rl.agents.policy import Policy, check_fits
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.errors import MissingExtraError
from ipa_rl.files import replacing

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise MissingExtraError("onnx", "onnx") from error

OPSET, IR = 17, 8
"""Old enough for every ONNX Runtime since 1.12."""


class _Graph:
    """Nodes and constants under names of their own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]


def export_policy(policy: Policy, definition: Definition, path: Path) -> None:
    """Write a policy of an environment as ONNX. Raises InputError where it does not fit the environment."""
    check_fits(policy, definition)
    graph = _Graph()
    _layers(graph, policy)
    _actions(graph, policy.sizes)
    entries = policy.layers[0][0].shape[1]
    outputs = [_value("logits", TensorProto.FLOAT, sum(policy.sizes))]
    outputs.append(_value("actions", TensorProto.INT64, len(policy.sizes)))
    if policy.coverage is not None:
        _unfamiliarity(graph, policy.coverage, entries)
        outputs.append(_value("unfamiliarity", TensorProto.FLOAT))
    inputs = [_value("observations", TensorProto.FLOAT, entries)]
    body = helper.make_graph(graph.nodes, definition.name, inputs, outputs, graph.constants)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="ipa-rl"
    )
    helper.set_model_props(model, _metadata(policy, definition))
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as file:
        onnx.save(model, file)


def _layers(graph: _Graph, policy: Policy) -> None:
    """tanh between the layers; the last gives the logits."""
    values, last = "observations", len(policy.layers) - 1
    for i, (weight, bias) in enumerate(policy.layers):
        inputs = [values, graph.constant(f"weight_{i}", weight), graph.constant(f"bias_{i}", bias)]
        values = graph.node("Gemm", inputs, ["logits" if i == last else f"layer_{i}"], transB=1)
        if i != last:
            values = graph.node("Tanh", [values], [f"hidden_{i}"])


def _actions(graph: _Graph, sizes: tuple[int, ...]) -> None:
    parts = [f"part_{i}" for i in range(len(sizes))]
    split = graph.constant("sizes", np.array(sizes, dtype=np.int64))
    graph.node("Split", ["logits", split], parts, axis=1)
    best = [graph.node("ArgMax", [part], [f"best_{i}"], axis=1, keepdims=1) for i, part in enumerate(parts)]
    graph.node("Concat", best, ["actions"], axis=1)


def _unfamiliarity(graph: _Graph, coverage: Coverage, entries: int) -> None:
    """The mean square of (observation - mean) @ whitening."""
    apart = graph.node("Sub", ["observations", graph.constant("mean", coverage.mean)], ["apart"])
    white = graph.node("MatMul", [apart, graph.constant("whitening", coverage.whitening)], ["white"])
    square = graph.node("Mul", [white, white], ["square"])
    total = graph.node("ReduceSum", [square, graph.constant("axis", np.array([1]))], ["total"], keepdims=0)
    graph.node("Div", [total, graph.constant("entries", np.array(entries, np.float32))], ["unfamiliarity"])


def _value(name: str, kind: int, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])


def _metadata(policy: Policy, definition: Definition) -> dict[str, str]:
    content = {
        "environment": definition.name,
        "inputs": "\n".join(observation_names(definition.problem)),
        "choices": ",".join(map(str, policy.sizes)),
    }
    if policy.coverage is not None:
        content["unfamiliarity_limit"] = repr(policy.coverage.limit)
    return content
