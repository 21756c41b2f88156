"""The backend interface: prepare, run, one node, devices; and inputs that shapes depend on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lucid
from lucid.errors import OptionError, TraceError
from lucid.onnx import backend

from .models import model, one

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_model_is_prepared_and_run() -> None:
    proto = one("Sub", [X, X + 1]).proto
    assert backend.is_compatible(proto) and not backend.is_compatible(one("Strange", [X]).proto)
    ready = backend.prepare(proto)
    for inputs in ([X, X + 1], {"x1": X + 1, "x0": X}):
        outputs = ready.run(inputs)
        np.testing.assert_array_equal(outputs[0], X - (X + 1))
        np.testing.assert_array_equal(outputs["y0"], outputs[0])  # type: ignore[call-overload]
    np.testing.assert_array_equal(backend.run_model(one("Neg", [X]).proto, X)[0], -X)


def test_one_node_runs() -> None:
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    (y,) = backend.run_node(node, [X, np.array([1])])
    np.testing.assert_array_equal(y, X.sum(1))
    (y,) = backend.run_node(helper.make_node("Softmax", ["x"], ["y"]), [X], opset_version=11)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)


def test_there_is_the_processor_and_nothing_else() -> None:
    assert backend.supports_device("CPU") and backend.supports_device("CPU:0") and not backend.supports_device("CUDA")
    with pytest.raises(OptionError, match="no device 'CUDA'"):
        backend.prepare(one("Neg", [X]).proto, "CUDA")


def test_inputs_that_shapes_depend_on_are_numbers() -> None:
    nodes = [
        helper.make_node("Concat", ["rows", "columns"], ["to"], axis=0), helper.make_node("Reshape", ["x", "to"], ["y"])
    ]  # fmt: skip
    size = TensorProto.INT64, (1,)
    proto = model(nodes, {"x": X, "rows": size, "columns": size}, ["y"])
    net = lucid.onnx.load(proto)
    assert net.shape_inputs == ("rows", "columns")
    compiled = lucid.compile(net)
    for rows, columns in ((3, 2), (1, 6), (3, 2)):
        assert compiled(X, (rows,), columns=(columns,)).shape == (rows, columns)
        assert backend.prepare(proto).run([X, np.array([rows]), np.array([columns])])[0].shape == (rows, columns)
    with pytest.raises(TraceError, match="must be known when the model is built") as caught:
        compiled(X, np.array([3]), np.array([2]))
    assert "in node 1 (Reshape" in caught.value.__notes__[0]


@pytest.mark.parametrize("value", [[X], (X,), [], "text", {"x": X}])
def test_what_is_no_tensor_is_refused(value: object) -> None:
    with pytest.raises(lucid.LucidError, match="'x0' is no tensor"):
        backend.prepare(one("Identity", [X]).proto).run([value])


def test_what_is_no_tensor_is_refused_in_a_sequence_too() -> None:
    info = helper.make_tensor_sequence_value_info
    nodes = [helper.make_node("SequenceLength", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, None)], [
        helper.make_tensor_value_info("y", TensorProto.INT64, ())
    ])  # fmt: skip
    ready = backend.prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert ready.run([[X, X, X]])[0] == 3
    for value in ([X, "text"], [X, [X]], [None], X.tolist):
        with pytest.raises(lucid.LucidError, match="'x' is no tensor"):
            ready.run([value])


@pytest.mark.parametrize("value", [np.zeros(3, "M8[s]"), np.zeros(3, "m8[s]"), np.zeros(3, [("a", "i4")])])
def test_dates_and_records_are_no_numbers(value: np.ndarray) -> None:
    with pytest.raises(lucid.LucidError):
        backend.prepare(one("Identity", [X]).proto).run([value])


def test_numbers_of_16_bits_are_computed_with_as_float32() -> None:
    half = np.float16([1.5, -2, 3e4])
    proto = model([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": half}, ["y"], {"w": np.float16([2])})
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    (y,) = backend.prepare(proto).run([half])
    assert y.dtype == np.float16
    np.testing.assert_array_equal(y, half * np.float16(2))
    net = lucid.onnx.load(proto)
    assert net.specs[0].dtype == np.float32 and next(net.parameters()).dtype == np.float32


def test_small_numbers_come_in() -> None:
    small = np.array([-8, 3, 7], onnx.helper.tensor_dtype_to_np_dtype(TensorProto.INT4))
    proto = one("Cast", [small], to=TensorProto.FLOAT).proto
    np.testing.assert_array_equal(backend.run_model(proto, [small])[0], np.float32([-8, 3, 7]))
    np.testing.assert_array_equal(backend.run_model(one("Identity", [small]).proto, [small])[0], np.int8([-8, 3, 7]))
