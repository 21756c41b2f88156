"""Subscripts against NumPy, slices of symbolic axes, and what bad indices get."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid.errors import DTypeError, OptionError, ShapeError, TraceError
from lucid.graph.assume import assuming
from lucid.graph.builder import Builder
from lucid.graph.dims import symbol
from lucid.graph.ir import Graph
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops import indexing as ix
from lucid.graph.ops import loss, norm, slices
from lucid.graph.ops import pad as padding
from lucid.graph.ops import shape as sh
from lucid.graph.ops.source import INPUT
from lucid.graph.trace import Tracer
from lucid.graph.traced_dims import TracedDim
from lucid.graph.types import as_dtype
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.tensor.tensor import Tensor

from ..op_checks import run_compiled, threads_only

N = symbol("N")


def trace(function: Any, *specs: tuple[tuple[Any, ...], str]) -> Graph:
    tracer = Tracer(Builder())
    inputs = [tracer.emit(INPUT, TypeAttrs(shape, as_dtype(dtype)))[0] for shape, dtype in specs]
    with assuming({}):
        result = function(*inputs)
    return tracer.builder.finish([y.value for y in (result if isinstance(result, tuple) else (result,))])


def _slices(size: int) -> st.SearchStrategy[slice]:
    bound = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, bound, bound, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


@st.composite
def _subscripts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape, and a basic subscript for it."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=0, max_size=4)))
    used = draw(st.integers(0, len(shape)))
    front = draw(st.integers(0, used))
    sizes = [*shape[:front], *shape[len(shape) - (used - front) :]]
    items: list[Any] = []
    for size in sizes:
        index = st.integers(-size, size - 1) if size else st.nothing()
        items.append(draw(index | _slices(size)))
    items.insert(front, ...)
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return shape, tuple(items)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_subscripts())
def test_basic_subscripts_are_those_of_numpy(case: tuple[tuple[int, ...], tuple[Any, ...]]) -> None:
    shape, key = case
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(Tensor(x)[key].numpy(), x[key])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_looked_up_axes_are_those_of_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    common = tuple(data.draw(st.lists(st.integers(0, 3), max_size=2)))
    key = []
    for size in shape:
        if data.draw(st.booleans()):
            broadcast = tuple(1 if data.draw(st.booleans()) else dim for dim in common)
            count = int(np.prod(broadcast))
            values = data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
            key.append(np.array(values, np.int64).reshape(broadcast))
        else:
            key.append(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))))
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    t = Tensor(x, requires_grad=True)
    result = t[tuple(Tensor(k) if isinstance(k, np.ndarray) else k for k in key)]
    np.testing.assert_array_equal(result.numpy(), x[tuple(key)])
    (result * result).sum().backward()
    gradient = np.zeros_like(x)
    np.add.at(gradient, tuple(key), 2 * x[tuple(key)])
    assert t.grad is not None
    np.testing.assert_array_equal(t.grad.numpy(), gradient)


def test_masks_of_eager_tensors() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    picked = x[x > 2]
    np.testing.assert_array_equal(picked.numpy(), [3, 4, 5])
    picked.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0, 0], [1, 1, 1]])


def test_an_int_selects_before_tensors_index() -> None:
    """As in PyTorch; NumPy would count the int as an index and move the looked-up axis to the front."""
    assert Tensor(np.zeros((2, 3, 4)))[0, :, [0, 1]].shape == (3, 2)


SYMBOLIC_SLICES: list[Any] = [
    np.s_[:, 1:], np.s_[:, :-1], np.s_[:, -2:], np.s_[:, ::2], np.s_[:, 1::3], np.s_[:, ::-1], np.s_[:, ::-2],
    np.s_[:, 2:5], np.s_[:, -1], np.s_[:, 3], np.s_[:, 1:-1:2], np.s_[..., :, None], np.s_[:, [0, -1, 2]],
]  # fmt: skip


@pytest.mark.parametrize("key", SYMBOLIC_SLICES, ids=str)
def test_slices_of_a_symbolic_axis(key: Any) -> None:
    graph = trace(lambda x: x[key], ((2, N), "float32"))
    for size in (6, 7, 9):
        x = np.arange(2.0 * size, dtype=np.float32).reshape(2, size)
        bound = graph.bind({"N": size})
        for (result,) in run_compiled(bound, [x]):
            assert result.shape == bound.output_types[0].shape
            np.testing.assert_array_equal(result, x[key])


def test_slices_with_symbolic_bounds() -> None:
    graph = trace(lambda x, y: x[:, 1 : TracedDim(y.shape[0]), None], ((2, 8), "float32"), ((N,), "float32"))
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    for (result,) in run_compiled(graph.bind({"N": 5}), [x, np.zeros(5, np.float32)]):
        np.testing.assert_array_equal(result, x[:, 1:5, None])
    with pytest.raises(ShapeError, match="leaves axis 1 of size 8"):
        make_plan(graph.bind({"N": 9}))


def test_a_bound_past_a_symbolic_axis_is_clipped_as_the_eager_model_clips_it() -> None:
    for key in (np.s_[:5], np.s_[7:], np.s_[-3:], np.s_[:-3], np.s_[4:1:-1], np.s_[::-2], np.s_[2:6:3], np.s_[-1:2:-2]):
        net = lucid.compile(lambda x, key=key: x[key], lucid.spec("N"))
        for size in (9, 4, 0, 1, 2, 3, 7, 8, 12):
            x = np.arange(float(size), dtype=np.float32)
            np.testing.assert_array_equal(net(x).numpy(), x[key], err_msg=f"{key} of {size}")


def test_symbolic_split_and_chunk() -> None:
    graph = trace(lambda x: slices.split(x, x.shape[0] // 3), ((3 * N, 2), "float32"))
    assert [t.shape for t in graph.output_types] == [(N, 2)] * 3
    graph = trace(lambda x: slices.chunk(x, 2, 1), ((3, 4 * N), "float32"))
    assert [t.shape for t in graph.output_types] == [(3, 2 * N)] * 2
    for function in (lambda x: slices.split(x, 2), lambda x: slices.chunk(x, 2)):
        with pytest.raises(ShapeError, match="compile with that dimension fixed"):
            trace(function, ((N, 2), "float32"))


def test_symbolic_losses_and_norms() -> None:
    graph = trace(lambda x, t: loss.cross_entropy(x, t, label_smoothing=0.1), ((N, 5), "float32"), ((N,), "int64"))
    assert graph.output_types[0].shape == ()
    graph = trace(lambda x: norm.batch_norm(x, None, None, training=True), ((N, 3, N, N), "float32"))
    assert graph.output_types[0].shape == (N, 3, N, N)
    graph = trace(lambda x: padding.pad(x, (1, 2), "reflect"), ((3, N), "float32"))
    assert graph.output_types[0].shape == (3, N + 3)
    with pytest.raises(ShapeError, match="at most 1 elements to axis 1 of size 2"):
        make_plan(graph.bind({"N": 2}))


X = Tensor(np.zeros((2, 3)))
BAD: list[tuple[Any, type[Exception], str]] = [
    (lambda: X[2], ShapeError, "index 2 is out of range for axis 0 of size 2"),
    (lambda: X[0, -4], ShapeError, "index -4 is out of range for axis 1 of size 3"),
    (lambda: X[0, 0, 0], ShapeError, "3 indices for a tensor of rank 2"),
    (lambda: X[..., 0, ...], ShapeError, "one ellipsis"),
    (lambda: X[1.0], OptionError, "is no index"),
    (lambda: X["a"], OptionError, "is no index"),
    (lambda: X[True], OptionError, "is no index"),
    (lambda: X[[0.5]], OptionError, "float64 is no index"),
    (lambda: X[Tensor([0.5])], DTypeError, "indices must be integers"),
    (lambda: X[::0], OptionError, "step"),
    (lambda: X[np.ones(3, bool)], ShapeError, "mask of shape"),
    (lambda: X[Tensor([0, 2])], ShapeError, "Index: index 2 is out of range for axis 0 of size 2"),
    (lambda: X[:, Tensor([0, -4])], ShapeError, "Index: index -4 is out of range for axis 1 of size 3"),
    (lambda: X[Tensor([0, 1]), Tensor([0, 1, 2])], ShapeError, "do not broadcast"),
    (lambda: X.gather(1, Tensor([[0], [-1]])), ShapeError, "index -1 .* negative indices are not allowed"),
    (lambda: X.gather(0, Tensor([[0, 1, 2]])), ShapeError, "index 2 is out of range for axis 0 of size 2"),
    (lambda: ix.embedding(Tensor([2]), X), ShapeError, "Embedding: index 2 is out of range for axis 0 of size 2"),
    (lambda: ix.embedding(Tensor([-1]), X), ShapeError, "index -1 .* negative indices are not allowed"),
    (lambda: ix.embedding(Tensor([0.0]), X), DTypeError, "indices must be integers"),
    (lambda: ix.embedding(Tensor([0]), X, padding_idx=2), OptionError, "padding_idx"),
    (lambda: ix.one_hot(Tensor([0, 3]), 3), ShapeError, "OneHot: index 3"),
    (lambda: slices.split(X, [1, 1], 1), ShapeError, "do not add up"),
    (lambda: slices.split(X, 0), OptionError, "at least one element"),
    (lambda: slices.chunk(X, 0), OptionError, "positive int"),
    (lambda: slices.flip(X, 0, 0), ShapeError, "repeat"),
    (lambda: sh.expand(X, -1, 2, 3), ShapeError, "does not broadcast"),
    (lambda: sh.repeat(X, 2), ShapeError, "at least 2 repeats"),
    (lambda: sh.repeat(X, 2, -1), OptionError, "negative"),
    (lambda: sh.unflatten(X, 1, (2, -1)), ShapeError, "does not divide"),
    (lambda: sh.stack([X, X[0]]), ShapeError, "shapes differ"),
    (lambda: sh.concat([]), ShapeError, "non-empty"),
    (lambda: padding.pad(X, (1,)), ShapeError, "pairs"),
    (lambda: padding.pad(X, (3, 0), "reflect"), ShapeError, "at most 2 elements to axis 1 of size 3"),
    (lambda: padding.pad(X, (1, 1), "mirror"), OptionError, "mode is one of"),
    (lambda: padding.pad(X, (1, 1), "reflect", 2.0), OptionError, "constant only"),
    (lambda: padding.pad(X, (-2, -2)), ShapeError, "negative"),
    (lambda: norm.layer_norm(X, (2,)), ShapeError, "layer_norm"),
    (lambda: norm.group_norm(X, 2), ShapeError, "3 channels do not divide into 2 groups"),
    (lambda: norm.batch_norm(X, None, None), OptionError, "running_mean"),
    (lambda: norm.batch_norm(X[:1], None, None, training=True), ShapeError, "more than one value"),
    (lambda: norm.batch_norm(X, X[0, :2], X[0]), (ShapeError, DTypeError), "running mean|shape"),
    (lambda: loss.mse_loss(X, X[0]), ShapeError, "differ in shape"),
    (lambda: loss.mse_loss(X, X, "avg"), OptionError, "reduction is one of"),
    (lambda: loss.cross_entropy(X, Tensor([0, 3])), ShapeError, "index 3 is out of range"),
    (lambda: loss.cross_entropy(X, Tensor([0])), ShapeError, "must have shape"),
    (lambda: loss.cross_entropy(X, Tensor([0.0, 1.0])), ShapeError, "differ in shape"),
    (lambda: loss.cross_entropy(X, Tensor([0, 1]), label_smoothing=2.0), OptionError, "between 0 and 1"),
    (lambda: loss.nll_loss(X, Tensor([0, 1]), X), ShapeError, "one element for each class"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_arguments_are_clear_errors(number: int) -> None:
    function, error, message = BAD[number]
    with pytest.raises(error, match=message):
        function()


def test_a_mask_is_traced_as_a_size_that_data_decides() -> None:
    graph = trace(lambda x: x[x > 0], ((2, 3), "float32"))
    assert list(map(str, graph.output_types)) == ["float32[found_1]"]
    with pytest.raises(TraceError, match="num_classes"):
        trace(ix.one_hot, ((2,), "int64"))


def test_an_index_out_of_range_stops_a_compiled_program() -> None:
    graph = trace(lambda w, i: ix.embedding(i, w), ((4, 2), "float32"), ((3,), "int64"))
    _, bind = generate(make_plan(graph)).load("program")([])
    run = threads_only().bind(bind, np.zeros(1024, np.uint8))
    run(np.zeros((4, 2), np.float32), np.array([0, 1, 3]))
    with pytest.raises(ShapeError, match="Embedding: index 4"):
        run(np.zeros((4, 2), np.float32), np.array([0, 1, 4]))


def test_the_padding_row_takes_no_gradient() -> None:
    weight = Tensor(np.ones((4, 2)), requires_grad=True)
    ix.embedding(Tensor([[3, 1], [3, 3]]), weight, padding_idx=-1).sum().backward()
    assert weight.grad is not None
    np.testing.assert_array_equal(weight.grad.numpy(), [[0, 0], [1, 1], [0, 0], [0, 0]])


def test_no_gradient_flows_through_stop_gradient() -> None:
    x = Tensor([2.0, 3.0], requires_grad=True)
    (sh.stop_gradient(x) * x).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [2, 3])


def test_running_statistics_follow_the_batches() -> None:
    x = Tensor(np.random.default_rng(0).standard_normal((4, 2, 3)), requires_grad=True)
    mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
    y = norm.batch_norm(x, mean, var, training=True, momentum=0.25)
    data = np.array(x.numpy())
    np.testing.assert_allclose(mean.numpy(), 0.25 * data.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * data.var((0, 2), ddof=1), rtol=1e-12)
    assert y.requires_grad and not mean.requires_grad and not var.requires_grad
    y.sum().backward()


def test_the_cross_entropy_of_certain_logits_is_finite() -> None:
    x = Tensor(np.array([[1e4, 0.0], [-1e4, 1e4]], np.float32), requires_grad=True)
    value = loss.cross_entropy(x, Tensor([1, 1]))
    assert value.item() == 5000.0
    value.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), [[0.5, -0.5], [0, 0]])


def test_the_gradient_of_binary_cross_entropy_is_finite_at_both_ends() -> None:
    x = Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    value = loss.binary_cross_entropy(x, Tensor(np.array([1.0, 0.0, 0.0, 1.0])), reduction="sum")
    assert value.item() == 200.0
    value.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [-1e12, 1e12, 0, 0])


def test_subscripts_do_not_leave_the_world_of_the_tensor() -> None:
    graph = trace(lambda x: operator.getitem(x, (slice(1, None), [0, 2])), ((4, 3), "float32"))
    assert [node.op.name for _, node in graph.nodes()] == ["Input", "Constant", "Slice", "Index"]
