"""Small ONNX models for tests, and what the format's own reference makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import lucid

Array = np.ndarray[Any, Any]


def model(
    nodes: Sequence[Any], inputs: Mapping[str, Any], outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None, opset: int = 17, domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """A model of nodes; ``inputs`` are arrays, or pairs of an element type and a shape."""

    def declared(name: str, given: Any) -> Any:
        if isinstance(given, np.ndarray):
            given = helper.np_dtype_to_tensor_dtype(given.dtype), given.shape
        return helper.make_tensor_value_info(name, *given)

    graph = helper.make_graph(
        list(nodes), "graph", [declared(*one) for one in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


class Case(NamedTuple):
    """A model, and arrays for its inputs."""

    proto: onnx.ModelProto
    inputs: dict[str, Array]


def one(
    op: str, arrays: Sequence[Array | None], outputs: int = 1, *, opset: int = 17, constant: Sequence[int] = (),
    domain: str = "", **attributes: Any,
) -> Case:  # fmt: skip
    """A model of one node; the inputs of the numbers in ``constant`` are constants of the file."""
    named = {f"x{i}": np.asarray(array) for i, array in enumerate(arrays) if array is not None}
    kept = {f"x{i}": named.pop(f"x{i}") for i in constant}
    node = helper.make_node(
        op, [f"x{i}" if array is not None else "" for i, array in enumerate(arrays)],
        [f"y{i}" for i in range(outputs)], domain=domain, **attributes,
    )  # fmt: skip
    domains = {domain: 1} if domain else {}
    return Case(model([node], named, [f"y{i}" for i in range(outputs)], kept, opset, domains), named)


def expected(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    return [np.asarray(y) for y in ReferenceEvaluator(proto).run(None, dict(inputs))]


def close(found: Any, wanted: Sequence[Array]) -> None:
    """The same types and shapes; integers the same, floats nearly so."""
    results = found if isinstance(found, tuple) else (found,)
    assert len(results) == len(wanted)
    for y, want in zip(results, wanted, strict=True):
        made = y.numpy()
        assert (made.shape, made.dtype) == (want.shape, want.dtype)
        rounding = 1e-5 if made.dtype.kind == "f" else 0
        np.testing.assert_allclose(made, want, rtol=rounding, atol=rounding)


def agrees(case: Case, wanted: Sequence[Array] | None = None) -> None:
    """What a model answers, eagerly and compiled, is what is wanted, or what the format's reference answers."""
    wanted = expected(*case) if wanted is None else wanted
    net = lucid.onnx.load(case.proto)
    arrays = [case.inputs[name] for name in net.input_names]
    close(net(*arrays), wanted)
    close(lucid.compile(net)(*arrays), wanted)
