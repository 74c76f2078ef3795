"""A policy as an ONNX file, for those who run it elsewhere; needs ``ipa-rl[onnx]``.

Input ``observations`` (batch, entries), float32. Outputs ``logits`` (batch, sum of choices), ``actions``
(batch, choices), int64, the likeliest of each; and, where training's coverage is known, ``unfamiliarity``
(batch,), which is to stay below the limit that the metadata give (`ipa_rl.agents.policy.Coverage`). Metadata:
``environment``, ``inputs`` (names of the entries, one a line), ``choices``, ``unfamiliarity_limit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def export_policy(policy: Policy, definition: Definition, path: Path) -> None:
    """Write a policy of an environment as ONNX. Raises InputError where it does not fit the environment."""
    check_fits(policy, definition)
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(name: str, values: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    # tanh between the layers; the last gives the logits.
    values, last = "observations", len(policy.layers) - 1
    for i, (weight, bias) in enumerate(policy.layers):
        inputs = [values, constant(f"weight_{i}", weight), constant(f"bias_{i}", bias)]
        values = node("Gemm", inputs, "logits" if i == last else f"layer_{i}", transB=1)
        if i != last:
            values = node("Tanh", [values], f"hidden_{i}")
    # The likeliest of each component's choices.
    parts = [f"part_{i}" for i in range(len(policy.sizes))]
    node("Split", ["logits", constant("sizes", np.array(policy.sizes, dtype=np.int64))], *parts, axis=1)
    best = [node("ArgMax", [part], f"best_{i}", axis=1, keepdims=1) for i, part in enumerate(parts)]
    node("Concat", best, "actions", axis=1)
    entries = policy.layers[0][0].shape[1]
    outputs = [
        _value("logits", TensorProto.FLOAT, sum(policy.sizes)),
        _value("actions", TensorProto.INT64, len(policy.sizes)),
    ]
    metadata = {
        "environment": definition.name,
        "inputs": "\n".join(observation_names(definition.problem)),
        "choices": ",".join(map(str, policy.sizes)),
    }
    if policy.coverage is not None:
        # The mean square of (observation - mean) @ whitening.
        apart = node("Sub", ["observations", constant("mean", policy.coverage.mean)], "apart")
        white = node("MatMul", [apart, constant("whitening", policy.coverage.whitening)], "white")
        square = node("Mul", [white, white], "square")
        total = node("ReduceSum", [square, constant("axis", np.array([1]))], "total", keepdims=0)
        node("Div", [total, constant("entries", np.array(entries, np.float32))], "unfamiliarity")
        outputs.append(_value("unfamiliarity", TensorProto.FLOAT))
        metadata["unfamiliarity_limit"] = repr(policy.coverage.limit)
    seen = [_value("observations", TensorProto.FLOAT, entries)]
    model = helper.make_model(
        helper.make_graph(nodes, definition.name, seen, outputs, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="ipa-rl",
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as file:
        onnx.save(model, file)


def _value(name: str, kind: int, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])
