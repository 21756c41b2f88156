"""The passes around convolutions and max pooling: what is matched, what is not, and the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lucid.graph.ops import elementwise as ew
from lucid.graph.ops.conv import conv2d, conv_transpose2d
from lucid.graph.ops.norm import batch_norm
from lucid.graph.ops.pool import max_pool2d
from lucid.graph.types import CHANNELS_LAST, spec
from lucid.passes.fold.batch_norm import fold_batch_norm
from lucid.passes.fuse.conv_pool import fuse_conv_pool
from lucid.passes.fuse.residual import fuse_residual
from lucid.passes.layout import assign_layout, lay_inputs, lay_results
from lucid.passes.lower import lower
from lucid.passes.sink_monotone import sink_monotone

from .helpers import assert_same, ops, show, trace

IMAGE = (2, 3, 7, 6)
CONV = {"w": (4, 3, 3, 3), "b": (4,)}
NORM = {"gamma": (4,), "beta": (4,), "mean": (4,), "var": (4,)}


# ---------------------------------------------------------------- batch normalisation


def test_batch_norm_goes_into_the_convolution() -> None:
    def model(x: Any, w: Any, b: Any, mean: Any, var: Any, gamma: Any, beta: Any) -> Any:
        return batch_norm(conv2d(x, w, b, padding=1), mean, var, gamma, beta).relu()

    before = trace(model, IMAGE, **CONV, **NORM)
    after = fold_batch_norm(before)
    assert "BatchNorm" not in ops(after)
    assert show(after)[-2:] == [
        "conv2d = Conv2d(x0, batch_norm.mul_1, batch_norm.add_1)",
        "relu = Relu(conv2d)",
    ]
    assert after.node("conv2d").origin.history == ("fold_batch_norm: from conv2d, batch_norm",)
    assert_same(before, after, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_after_a_convolution_without_bias(affine: bool) -> None:
    def model(x: Any, w: Any, mean: Any, var: Any, **rest: Any) -> Any:
        return batch_norm(conv2d(x, w, groups=3, stride=2), mean, var, *rest.values())

    shapes = {"w": (6, 1, 3, 3), "mean": (6,), "var": (6,), **({"gamma": (6,), "beta": (6,)} if affine else {})}
    before = trace(model, IMAGE, **shapes)
    after = fold_batch_norm(before)
    assert "BatchNorm" not in ops(after)
    assert_same(before, after, rtol=1e-4, atol=1e-4)


def test_batch_norm_after_a_transposed_convolution() -> None:
    def model(x: Any, w: Any, mean: Any, var: Any, *, groups: int = 1) -> Any:
        return batch_norm(conv_transpose2d(x, w, stride=2, groups=groups), mean, var)

    before = trace(model, (2, 4, 3, 3), w=(4, 5, 3, 3), mean=(5,), var=(5,))
    after = fold_batch_norm(before)
    assert "BatchNorm" not in ops(after)
    assert_same(before, after, rtol=1e-4, atol=1e-4)
    grouped = trace(lambda *a, **k: model(*a, **k, groups=2), (2, 4, 3, 3), w=(4, 5, 3, 3), mean=(10,), var=(10,))
    assert fold_batch_norm(grouped) is grouped


def test_batch_norm_stays_where_the_convolution_is_read_elsewhere() -> None:
    def model(x: Any, w: Any, mean: Any, var: Any) -> Any:
        y = conv2d(x, w)
        return batch_norm(y, mean, var), y

    graph = trace(model, IMAGE, w=(4, 3, 3, 3), mean=(4,), var=(4,))
    assert fold_batch_norm(graph) is graph


def test_batch_norm_stays_where_its_statistics_depend_on_the_input() -> None:
    def model(x: Any, w: Any, var: Any) -> Any:
        y = conv2d(x, w)
        return batch_norm(y, x.sum((0, 2, 3)).sum().expand(4), var)

    graph = trace(model, IMAGE, w=(4, 3, 3, 3), var=(4,))
    assert fold_batch_norm(graph) is graph


# ---------------------------------------------------------------- sinking

INF = -math.inf

SINKS: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "relu": (lambda x, b: max_pool2d(x.relu(), 2, 2), ["MaxPool2d", "Relu"]),
    "bias-relu": (
        lambda x, b: max_pool2d((x + b.reshape(3, 1, 1)).relu(), 2, 2), ["Reshape", "MaxPool2d", "Add", "Relu"]
    ),
    "bias-first": (lambda x, b: max_pool2d(b.reshape(1, 3, 1, 1) + x, 2, 2), ["Reshape", "MaxPool2d", "Add"]),
    "minus-bias": (lambda x, b: max_pool2d(x - b.reshape(3, 1, 1), 2, 2), ["Reshape", "MaxPool2d", "Sub"]),
    "number": (lambda x, b: max_pool2d(x + 1, 2, 2), ["MaxPool2d", "Add"]),
    "relu-zero-padding": (lambda x, b: max_pool2d(x.relu(), 3, 2, 1), ["MaxPool2d", "Relu"]),
    "bias-relu-zero-padding": (
        lambda x, b: max_pool2d((x + b.reshape(3, 1, 1)).relu(), 3, 2, 1), ["Reshape", "MaxPool2d", "Add", "Relu"]
    ),
    "sigmoid-zero-padding": (lambda x, b: max_pool2d(x.sigmoid(), 3, 2, 1), ["MaxPool2d", "Sigmoid"]),
    "exp-zero-padding": (lambda x, b: max_pool2d(x.exp(), 3, 2, 1), ["MaxPool2d", "Exp"]),
    "tanh-zero-padding": (lambda x, b: max_pool2d(x.tanh(), 3, 2, 1), ["MaxPool2d", "Tanh"]),
    "clip-zero-padding": (lambda x, b: max_pool2d(x.clip(-1, 1), 3, 2, 1), ["MaxPool2d", "Clip"]),
    "tanh-infinite-padding": (lambda x, b: max_pool2d(x.tanh(), 3, 2, 1, pad_value=INF), ["MaxPool2d", "Tanh"]),
    "bias-infinite-padding": (
        lambda x, b: max_pool2d(x + b.reshape(3, 1, 1), 3, 2, 1, pad_value=INF), ["Reshape", "MaxPool2d", "Add"]
    ),
    "dilated-ceil": (lambda x, b: max_pool2d(x.relu(), 2, 2, 1, 2, True), ["MaxPool2d", "Relu"]),
}  # fmt: skip

STAY: dict[str, Callable[[Any, Any], Any]] = {
    "bias-zero-padding": lambda x, b: max_pool2d(x + b.reshape(3, 1, 1), 3, 2, 1),
    "clip-outside-zero": lambda x, b: max_pool2d(x.clip(1, 2), 3, 2, 1),
    "relu-other-padding": lambda x, b: max_pool2d(x.relu(), 3, 2, 1, pad_value=0.5),
    "not-monotone": lambda x, b: max_pool2d(x.abs(), 2, 2),
    "sign": lambda x, b: max_pool2d(x.sign(), 2, 2),
    "bias-per-element": lambda x, b: max_pool2d(x + x.sum(1, keepdim=True), 2, 2),
    "from-a-number": lambda x, b: max_pool2d(1 - x, 2, 2),
    "index-used": lambda x, b: max_pool2d(x.relu(), 2, 2, return_indices=True),
    "used-twice": lambda x, b: ((r := x.relu()).exp(), max_pool2d(r, 2, 2)),
    "no-less-work": lambda x, b: max_pool2d(x.relu(), 1, 1),
}


def image_with_specials() -> Any:
    image = np.random.default_rng(1).standard_normal(IMAGE).astype(np.float32)
    image[0, 0, 0, 0], image[1, 2, 3, 3] = np.nan, INF
    image[:, 1] -= 3
    return np.round(image, 1) + np.float32(0)


@pytest.mark.parametrize("name", SINKS)
def test_sinks(name: str) -> None:
    function, wanted = SINKS[name]
    before = trace(function, IMAGE, b=(3,))
    after = sink_monotone(before)
    assert ops(after) == wanted
    assert_same(before, after, [image_with_specials()])
    assert_same(before, after, [image_with_specials() - np.float32(2)])


@pytest.mark.parametrize("name", STAY)
def test_does_not_sink(name: str) -> None:
    graph = trace(STAY[name], IMAGE, b=(3,))
    assert sink_monotone(graph) is graph


def test_names_stay_with_what_they_name() -> None:
    graph = sink_monotone(trace(lambda x, b: max_pool2d((x + b.reshape(3, 1, 1)).relu(), 2, 2), IMAGE, b=(3,)))
    assert show(graph)[1:] == [
        "max_pool2d = MaxPool2d(x0)", "add = Add(max_pool2d, reshape)", "relu = Relu(add)"
    ]  # fmt: skip
    assert graph.node("relu").origin.history == ("sink_monotone: from add, relu, max_pool2d",)


# ---------------------------------------------------------------- fusing

FUSED: dict[str, tuple[Callable[[Any, Any, Any], Any], list[str]]] = {
    "conv-pool": (lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2), ["ConvPool2d"]),
    "conv-relu": (lambda x, w, b: conv2d(x, w, b).relu(), ["ConvPool2d"]),
    "conv-relu-pool": (lambda x, w, b: max_pool2d(conv2d(x, w, b, padding=1).relu(), 3, 2, 1), ["ConvPool2d"]),
    "conv-gelu-pool": (lambda x, w, b: max_pool2d(ew.gelu(conv2d(x, w)), 2, 2), ["ConvPool2d"]),
    "conv-pool-relu": (lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2).relu(), ["ConvPool2d"]),
    "conv-padded-pool-relu": (lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2, 1).relu(), ["ConvPool2d"]),
    "conv-negative-pad-relu": (
        lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2, 1, pad_value=-1.0).relu(), ["ConvPool2d"]
    ),
    "conv-positive-pad-relu": (
        lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2, 1, pad_value=0.5).relu(), ["ConvPool2d"]
    ),
    "conv-pool-gelu": (lambda x, w, b: ew.gelu(max_pool2d(conv2d(x, w, b), 2, 2)), ["ConvPool2d", "Gelu"]),
    "conv-padded-pool-tanh": (lambda x, w, b: max_pool2d(conv2d(x, w), 2, 2, 1).tanh(), ["ConvPool2d", "Tanh"]),
    "added-bias": (lambda x, w, b: conv2d(x, w) + b.reshape(4, 1, 1), ["Conv2d"]),
    "added-bias-relu-pool": (
        lambda x, w, b: max_pool2d((b.reshape(1, 4, 1, 1) + conv2d(x, w)).relu(), 2, 2), ["ConvPool2d"]
    ),
    "added-number": (lambda x, w, b: (conv2d(x, w) + 1).relu(), ["Reshape", "Expand", "ConvPool2d"]),
    "two-activations": (lambda x, w, b: conv2d(x, w).relu().tanh(), ["ConvPool2d", "Tanh"]),
    "residual": (lambda x, w, b: (conv2d(x, w, b, padding=1) + x[:, :1]).relu(), ["Slice", "Conv2d", "Add", "Relu"]),
    "read-twice": (lambda x, w, b: ((y := conv2d(x, w, b)), y.relu()), ["Conv2d", "Relu"]),
    "index-used": (lambda x, w, b: max_pool2d(conv2d(x, w, b), 2, 2, return_indices=True),
                   ["Conv2d", "MaxPool2d", "MaxPool2dPositions"]),
    "two-layers": (
        lambda x, w, b: max_pool2d(conv2d(conv2d(x, w, b, padding=1).relu()[:, :3], w, b).relu(), 2, 2),
        ["ConvPool2d", "Slice", "ConvPool2d"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fuses(name: str) -> None:
    function, wanted = FUSED[name]
    before = trace(function, IMAGE, **CONV)
    after = fuse_conv_pool(before)
    assert sorted(ops(after)) == sorted(wanted)
    assert fuse_conv_pool(after) is after
    assert_same(before, after, rtol=1e-6, atol=1e-6)


def test_the_fused_node_has_the_convolutions_name_and_its_parts_history() -> None:
    graph = fuse_conv_pool(trace(FUSED["conv-relu-pool"][0], IMAGE, **CONV))
    assert show(graph) == ["conv2d = ConvPool2d(x0, w, b)"]
    assert graph.node("conv2d").origin.history == ("fuse_conv_pool: from conv2d, relu, max_pool2d",)


def test_fuses_what_sinking_made() -> None:
    before = trace(FUSED["added-bias-relu-pool"][0], IMAGE, **CONV)
    after = fuse_conv_pool(sink_monotone(before))
    assert "ConvPool2d" in ops(after)
    assert_same(before, after, rtol=1e-6, atol=1e-6)


RESIDUALS: dict[str, tuple[Callable[[Any, Any, Any], Any], list[str]]] = {
    "conv-add": (lambda x, w, b: conv2d(x, w, b, padding=1) + x.exp(), ["Exp", "ConvPool2d"]),
    "add-conv-relu": (lambda x, w, b: (x + conv2d(x, w, padding=1)).relu(), ["ConvPool2d"]),
    "gelu": (lambda x, w, b: ew.gelu(conv2d(x, w, b, padding=1) + x), ["ConvPool2d"]),
    "two-convolutions": (
        lambda x, w, b: (conv2d(x, w, b, padding=1) + conv2d(x.exp(), w, b, padding=1)).relu(),
        ["Exp", "Conv2d", "ConvPool2d"],
    ),
    "sum-read-twice": (
        lambda x, w, b: ((y := conv2d(x, w, b, padding=1) + x), y.relu()), ["ConvPool2d", "Relu"]
    ),
    "stacked": (
        lambda x, w, b: ((y := (conv2d(x, w, b, padding=1) + x).relu()) + conv2d(y, w, b, padding=1)).relu(),
        ["ConvPool2d", "ConvPool2d"],
    ),
    "two-sums": (lambda x, w, b: conv2d(x, w, b, padding=1) + x + x.exp(), ["Exp", "ConvPool2d", "Add"]),
    "broadcast": (lambda x, w, b: (conv2d(x, w, b, padding=1) + x[:, :1]).relu(), ["Slice", "Conv2d", "Add", "Relu"]),
    "broadcast-convolution": (lambda x, w, b: conv2d(x, w, b, padding=1)[:1] + x, ["Conv2d", "Slice", "Add"]),
    "read-twice": (lambda x, w, b: (y := conv2d(x, w, b, padding=1)) + y, ["Conv2d", "Add"]),
    "subtracted": (lambda x, w, b: conv2d(x, w, b, padding=1) - x, ["Conv2d", "Sub"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RESIDUALS)
def test_fuses_a_residual(name: str) -> None:
    function, wanted = RESIDUALS[name]
    before = trace(function, IMAGE, w=(3, 3, 3, 3), b=(3,))
    after = fuse_residual(before)
    assert sorted(ops(after)) == sorted(wanted)
    assert (after is before) == ("ConvPool2d" not in wanted)
    assert fuse_residual(after) is after
    assert_same(before, after, rtol=1e-6, atol=1e-6)
    assert ops(lower(after, lambda node: node.op.name != "ConvPool2d")).count("Add") == ops(before).count("Add")


def test_of_two_convolutions_the_later_takes_the_residual() -> None:
    before = trace(RESIDUALS["two-convolutions"][0], IMAGE, w=(3, 3, 3, 3), b=(3,))
    after = fuse_residual(before)
    assert show(after) == ["conv2d = Conv2d(x0, w, b)", "exp = Exp(x0)", "conv2d_1 = ConvPool2d(exp, w, b, conv2d)"]
    assert after.node("conv2d_1").origin.history == ("fuse_residual: from conv2d_1, add, relu",)


def test_groups_of_several_channels_add_a_residual() -> None:
    before = trace(lambda x, w: (conv2d(x, w, padding=1, groups=2) + x).relu(), (2, 4, 7, 6), w=(4, 2, 3, 3))
    after = fuse_residual(before)
    assert ops(after) == ["ConvPool2d"]
    assert_same(before, after, rtol=1e-6, atol=1e-6)


def test_a_depthwise_convolution_keeps_its_sum() -> None:
    graph = trace(lambda x, w: (conv2d(x, w, padding=1, groups=3) + x).relu(), IMAGE, w=(3, 1, 3, 3))
    assert fuse_residual(graph) is graph


def test_symbolic_residual() -> None:
    before = trace(RESIDUALS["add-conv-relu"][0], spec("N", 3, 8, 8), w=(3, 3, 3, 3), b=(3,))
    after = fuse_residual(before)
    assert ops(after) == ["ConvPool2d"]
    assert_same(before.bind({"N": 2}), after.bind({"N": 2}), rtol=1e-6, atol=1e-6)


def test_symbolic_batch() -> None:
    before = trace(FUSED["conv-relu-pool"][0], spec("N", 3, 8, 8), **CONV)
    after = fuse_conv_pool(sink_monotone(before))
    assert ops(after) == ["ConvPool2d"]
    assert_same(before.bind({"N": 2}), after.bind({"N": 2}), rtol=1e-6, atol=1e-6)


def test_lowering_gives_the_definition_back() -> None:
    before = trace(FUSED["conv-relu-pool"][0], IMAGE, **CONV)
    fused = fuse_conv_pool(before)
    assert lower(fused, lambda node: True) is fused
    after = lower(fused, lambda node: node.op.name != "ConvPool2d")
    assert ops(after) == ["Conv2d", "Relu", "MaxPool2d"]
    assert_same(before, after)


# ---------------------------------------------------------------- layout


def test_layout() -> None:
    def model(x: Any, w: Any, b: Any) -> Any:
        y = conv2d(x, w, b, padding=1)
        z = max_pool2d((y.relu() + b.reshape(4, 1, 1)) * y.sum(), 2, 2)
        return z, z.reshape(2, -1), x.exp()

    before = trace(model, IMAGE, **CONV)
    after = assign_layout(before)
    last = {name for name, node in after.nodes() if node.outputs[0].order == CHANNELS_LAST}
    assert last == {"conv2d", "relu", "add", "mul"}  # not the result, nor what no image op made
    assert after.node("max_pool2d").outputs[1].order is None  # outputs of one op lie alike
    assert assign_layout(after) is after
    assert_same(before, after)


SHUFFLES: dict[str, Any] = {
    "in turns": lambda y: y.reshape(2, 2, 2, 5, 4).transpose(1, 2).reshape(2, 4, 5, 4),
    "read twice": lambda y: (z := y.reshape(2, 2, 2, 5, 4)).transpose(1, 2).reshape(2, 4, 5, 4) + z.sum(),
    "joined with rows": lambda y: y.reshape(2, 2, 2, 5, 4).transpose(2, 3).reshape(2, 10, 2, 4),
    "not joined": lambda y: y.reshape(2, 2, 2, 5, 4).transpose(1, 2).exp(),
    "as a result": lambda y: y.reshape(2, 2, 2, 5, 4).transpose(1, 2),
}


@pytest.mark.parametrize("how", SHUFFLES)
def test_channels_that_change_places_stay_innermost(how: str) -> None:
    before = trace(lambda x, w: SHUFFLES[how](conv2d(x, w)).exp(), IMAGE, w=CONV["w"])
    after = assign_layout(before)
    orders = [n.outputs[0].order for _, n in after.nodes() if n.op.name in ("Reshape", "Transpose")]
    assert_same(before, after)
    if how == "in turns":
        assert orders == [(0, 3, 4, 1, 2), (0, 3, 4, 2, 1), CHANNELS_LAST]
    else:
        assert orders == [None] * len(orders)


def test_layout_leaves_other_graphs_alone() -> None:
    graph = trace(lambda x: (x + 1).sum(1), (2, 3, 4, 5))
    assert assign_layout(graph) is graph


@pytest.mark.parametrize(
    ("direct", "turned", "rows"),
    [(1.0, 2.0, {"conv2d"}), (2.0, 1.0, set()), (1.0, 1.0, set()), (None, 1.0, set()), (1.0, None, set())],
)
def test_results_of_convolutions_lie_as_the_caller_has_them_sooner(
    direct: float | None, turned: float | None, rows: set[str]
) -> None:
    def model(x: Any, w: Any, b: Any) -> Any:
        y, z = conv2d(x, w, b, padding=1), conv2d(x, w, b)
        return y, y.reshape(2, -1), z, z.exp()

    before = assign_layout(trace(model, IMAGE, **CONV))
    assert {name for name, node in before.nodes() if node.outputs[0].order} == {"conv2d", "conv2d_1"}
    asked = []

    def cost(node: Any, types: Any) -> float | None:
        asked.append((node.outputs[0].order, [t.shape for t in types]))
        return direct if node.outputs[0].order is None else turned

    after = lay_results(before, cost)
    assert asked == [(order, [IMAGE, (4, 3, 3, 3), (4,)]) for order in (None, CHANNELS_LAST)]
    for name, node in after.nodes():  # the other is read by something else than the caller
        assert node.outputs[0].order == (None if name in rows else before.node(name).outputs[0].order)
    assert (after is before) == (not rows)
    assert lay_results(after, cost) is after
    assert_same(before, after)


def test_results_follow_inputs_that_lie_channels_last() -> None:
    graph = lay_inputs(trace(lambda x, w, b: conv2d(x, w, b), IMAGE, **CONV), [CHANNELS_LAST])
    assert lay_results(assign_layout(graph), lambda node, types: 1 / 0).node("conv2d").outputs[0].order == CHANNELS_LAST
