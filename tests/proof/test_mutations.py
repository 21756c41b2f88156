"""``verify=True`` finds every planted bug and names it: in passes, in gradient rules, in kernels.

Each row says where, what stands there, what is planted, the program that is compiled, and what the error names.
"""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LoweringError, PassError, ProofError, RuleError
from lucid.graph.ir import Graph
from lucid.nn import functional as F

from .planted import planted


class Bug(NamedTuple):
    module: str
    right: str
    wrong: str
    program: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]]
    names: str
    """What the message says, as a pattern."""


def module(make: Callable[[], nn.Module]) -> Callable[..., Any]:
    """A module whose parameters and buffers are all random, made once."""
    lucid.manual_seed(0)
    made = make().eval()
    for tensor in (*made.parameters(), *made.buffers()):
        if tensor.dtype == np.float32:
            tensor.data.copy_(lucid.rand(*tensor.shape) + 0.5)
    return made


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        return F.relu(self.conv(x) + x * 2.0)


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(lucid.randn(4, 4))

    def forward(self, x: Any) -> Any:
        return x @ self.weight


class Centred(nn.Module):
    """A linear layer less the mean of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        return y - y.mean(-1, keepdim=True)


class RowBias(nn.Module):
    """What it adds to a convolution is one number for each row, not for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.bias = nn.Parameter(lucid.randn(4, 1))

    def forward(self, x: Any) -> Any:
        return F.relu(self.conv(x) + self.bias)


class Depthwise(nn.Module):
    """A depthwise layer, whose padding can hold the bias of the layer before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Any) -> Any:
        return F.relu(self.second(F.relu(self.first(x))))


def standardised(x: Any) -> Any:
    return F.batch_norm(x, None, None, training=True)


def attention(q: Any, k: Any, v: Any) -> Any:
    return (q @ k.transpose(-1, -2) / math.sqrt(8)).softmax(-1) @ v


IMAGE, ROW, MATRIX = (2, 3, 6, 6), (3, 4), (4, 4)

PASSES = [
    Bug("passes.simplify", "return a + maker.inputs[0] if", "return a - maker.inputs[0] if",
        lambda x, y: x - (-y), [ROW, ROW], "clean_up"),
    Bug("passes.simplify", "return x - maker.inputs[0]", "return maker.inputs[0] - x",
        lambda x, y: x + (-y), [ROW, ROW], "clean_up"),
    Bug("passes.simplify", "if fill_value(site, other) == 1:", "if fill_value(site, other) == 2:",
        lambda x: (x * 2.0).exp(), [ROW], "clean_up"),
    Bug("passes.simplify", "if exponent == 1:", "if exponent == 3:", lambda x: x**3, [ROW], "clean_up"),
    Bug("passes.simplify", "a * a, site.type) if exponent == 2", "a * a, site.type) if exponent == 4",
        lambda x: x**4, [ROW], "clean_up"),
    Bug("passes.simplify", "maker.attrs.perm[axis] for axis in perm", "perm[axis] for axis in maker.attrs.perm",
        lambda x: x.permute(1, 2, 0).permute(0, 2, 1).exp(), [(2, 2, 2)], "clean_up"),
    Bug("passes.simplify", "return maker.inputs[0] if maker.op is site.op else None",
        "return site.inputs[0] if maker.op is site.op else None", lambda x: x.neg().neg().exp(), [ROW], "clean_up"),
    Bug("passes.simplify", "return full(x, maker.attrs.value, ())", "return full(x, 0, ())",
        lambda x: x + lucid.full_like(x, 3.0), [ROW], "clean_up"),
    Bug("passes.simplify", "_as(a if known else b, site.type)", "_as(b if known else a, site.type)",
        lambda x: lucid.where(lucid.full_like(x, 2.0) > 1.0, x, -x), [ROW], "clean_up"),
    Bug("passes.fold.constants", "[full(site.symbol, np.asarray(value).item())]",
        "[full(site.symbol, np.asarray(value).item() + 1)]",
        lambda x: x * (lucid.full_like(x, 2.0) + lucid.full_like(x, 3.0)), [ROW], "clean_up"),
    Bug("passes.fold.constants", "[constant(y, np.asarray(v, y.type.dtype)) for",
        "[constant(y, np.asarray(v, y.type.dtype)[..., ::-1]) for",
        lambda x: x * lucid.tensor([0.0, 1.0, 2.0, 3.0]).exp(), [ROW], "clean_up"),
    Bug("passes.eliminate_common", "(site.op, site.attrs, signs(site.attrs), tuple(feeds))", "(site.op, tuple(feeds))",
        lambda x: x.clamp(0, 1) * x.clamp(-1, 0.5), [ROW], "clean_up"),
    Bug("passes.eliminate_common", "if site.op.commutative:", "if site.op.pure:",
        lambda x, y: x / y + y / x, [ROW, ROW], "clean_up"),
    Bug("passes.fold.batch_norm", "1.0 / sqrt(var + eps)", "1.0 / sqrt(var)",
        module(lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, eps=0.5))), [IMAGE], "fold_batch_norm"),
    Bug("passes.fold.batch_norm", "(-mean if bias is None else bias - mean)", "(-mean if bias is None else bias)",
        module(lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))), [IMAGE], "fold_batch_norm"),
    Bug("passes.fold.batch_norm", "return shift + affine[1] if", "return shift - affine[1] if",
        module(lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))), [IMAGE], "fold_batch_norm"),
    Bug("passes.fold.batch_norm", "scale.reshape(-1, 1, 1, 1)", "scale.reshape(1, -1, 1, 1)",
        module(lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))), [IMAGE], "fold_batch_norm"),
    Bug("passes.sink_monotone", "if view.op.rises(view.attrs):", "if view.op.elementwise:",
        lambda x: F.max_pool2d(-x, 2, 2), [IMAGE], "sink_monotone"),
    Bug("passes.sink_monotone", "before = view.op.root if pad == 0 else None", "before = 0.0 if pad == 0 else None",
        lambda x: F.max_pool2d((x - 3.0).sigmoid(), 3, 2, padding=1), [IMAGE], "sink_monotone"),
    Bug("passes.fuse.conv_pool", "axis == rank - 3 else dim == 1", "axis == rank - 2 else dim == 1",
        module(RowBias), [(2, 3, 4, 5)], "fuse_conv_pool"),
    Bug("passes.fuse.conv_pool", "bias = found.bias.reshape(1) if", "bias = -found.bias.reshape(1) if",
        lambda x, y: F.relu(F.conv2d(x, lucid.ones(2, 3, 1, 1) * 0.5) + y), [IMAGE, (1, 1, 1, 1)], "fuse_conv_pool"),
    Bug("passes.fuse.residual", "*conv.inputs, add.inputs[1 - slot])", "*conv.inputs, conv.inputs[0])",
        module(Residual), [IMAGE], "fuse_residual"),
    Bug("passes.fuse.linear", "FusedLinearAttrs(site.op.name, site.attrs)", 'FusedLinearAttrs("Tanh", site.attrs)',
        module(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())), [ROW], "fuse_linear"),
    Bug("passes.trim_kernels", "narrow(w, axis, first, last - first)", "narrow(w, axis, 0, last - first)",
        module(lambda: nn.Conv2d(3, 2, (3, 1), padding=(1, 0))), [(2, 3, 1, 5)], "trim_kernels"),
    Bug("passes.fuse.linear_products", "inputs[1].permute(1, 0)", "inputs[1]", module(Product), [ROW],
        "fuse_linear_products"),
    Bug("passes.fold.means", "*(one - one.mean() for one in bias)", "*bias", module(Centred), [ROW], "fold_means"),
    Bug("passes.fuse.attention", "(slot, 1 / number) if number", "(slot, float(number)) if number",
        attention, [(2, 5, 8)] * 3, "fuse_attention"),
    Bug("passes.defer_bias", "inputs.append(-late)", "inputs.append(late)",
        module(Depthwise), [IMAGE], "defer_bias"),
    Bug("passes.fuse.elementwise", "tuple(number[v] for v in groups.feeds[name])",
        "tuple(number[v] for v in reversed(groups.feeds[name]))", lambda x, y: (x - y).exp(), [ROW, ROW],
        "fuse_elementwise"),
]  # fmt: skip

RULES = [
    Bug("graph.ops.elementwise", '"Exp", _from_output(lambda y: y)', '"Exp", _from_output(lambda y: y + 1)',
        lambda x: x.exp(), [ROW], "of Exp"),
    Bug("graph.ops.elementwise", "lambda y: 1 - y * y", "lambda y: 1 - y", lambda x: x.tanh(), [ROW], "of Tanh"),
    Bug("graph.ops.elementwise", "lambda y: y * (1 - y)", "lambda y: y * y",
        lambda x: x.sigmoid(), [ROW], "of Sigmoid"),
    Bug("graph.ops.elementwise", "where(c.outputs[0] <= 0, 0.0, c.dy)", "where(c.outputs[0] > 0, 0.0, c.dy)",
        lambda x: F.relu(x), [ROW], "of Relu"),
    Bug("graph.ops.elementwise", "lambda: c.dy, lambda: -c.dy), NUMBERS", "lambda: c.dy, lambda: c.dy), NUMBERS",
        lambda x, y: x - y, [ROW, ROW], "of Sub"),
    Bug("graph.ops.elementwise", "lambda: c.dy * c.inputs[1], lambda: c.dy * c.inputs[0]",
        "lambda: c.dy * c.inputs[0], lambda: c.dy * c.inputs[1]", lambda x, y: x * y, [ROW, ROW], "of Mul"),
    Bug("graph.ops.elementwise", "lambda: -c.dy * c.outputs[0] / c.inputs[1]",
        "lambda: c.dy * c.outputs[0] / c.inputs[1]",
        lambda x, y: x / y, [ROW, ROW], "of Div"),
    Bug("graph.ops.elementwise", "c.dy * b * a ** (b - 1)", "c.dy * a ** (b - 1)", lambda x: x**3, [ROW], "of Pow"),
    Bug("graph.ops.elementwise", "dx = c.dy * 0.5 / c.outputs[0]", "dx = c.dy / c.outputs[0]",
        lambda x: (x * x + 1).sqrt(), [ROW], "of Sqrt"),
    Bug("graph.ops.elementwise", "lambda: where(condition, c.dy, 0.0), lambda: where(condition, 0.0, c.dy)",
        "lambda: where(condition, 0.0, c.dy), lambda: where(condition, c.dy, 0.0)",
        lambda x, y: lucid.where(x > y, x, y * 2), [ROW, ROW], "of Where"),
    Bug("graph.ops.elementwise", "return s * (1 + x * (1 - s))", "return s * (1 + x * s)",
        lambda x: F.silu(x), [ROW], "of Silu"),
    Bug("graph.ops.elementwise", "dx.sum_to(x.type.shape)", "dx.sum_to(x.type.shape) * 2",
        lambda x, y: x + y, [ROW, (4,)], "of Add"),
    Bug("graph.ops.linalg", "matmul(c.dy, matrix_transpose(b))", "matmul(c.dy, b)",
        lambda x, y: x @ y, [MATRIX, MATRIX], "of MatMul"),
    Bug("graph.ops.linalg", "dy.sum(0) if", "dy.mean(0) if", module(lambda: nn.Linear(4, 3)), [ROW], "of Linear"),
    Bug("graph.ops.conv", "c.dy.sum((0, *range(2, x.type.rank)))", "c.dy.mean((0, *range(2, x.type.rank)))",
        module(lambda: nn.Conv2d(3, 2, 3)), [IMAGE], "of Conv2d"),
    Bug("graph.ops.conv", "_grad_weight(c.attrs, x, c.dy,", "_grad_weight(c.attrs, -x, c.dy,",
        module(lambda: nn.Conv2d(3, 2, 3, stride=2)), [IMAGE], "of Conv2d"),
    Bug("graph.ops.conv", "_grad_input(c.attrs, c.dy, w, x.type", "_grad_input(c.attrs, c.dy, w * 2, x.type",
        module(lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 3, dilation=2))), [IMAGE], "of Conv2d"),
    Bug("graph.ops.pool", "c.dy, c.outputs[1])]\n\n\ndef _grad_gradient",
        "c.dy, c.outputs[1] * 0)]\n\n\ndef _grad_gradient",
        lambda x: F.max_pool2d(x, 2, 2), [IMAGE], "of MaxPool2d"),
    Bug("graph.ops.avgpool", "AvgPoolGradAttrs(c.attrs, c.inputs[0].type.shape[2:]), c.dy)]",
        "AvgPoolGradAttrs(c.attrs, c.inputs[0].type.shape[2:]), c.dy * 4)]",
        lambda x: F.avg_pool2d(x, 2), [IMAGE], "of AvgPool2d"),
    Bug("graph.ops.norm", "c.dy - (c.dy * y).sum(axis, keepdim=True)", "c.dy - c.dy.sum(axis, keepdim=True)",
        lambda x: x.softmax(-1), [ROW], "of Softmax"),
    Bug("graph.ops.norm", "c.dy - exp(c.outputs[0]) *", "c.dy - c.outputs[0] *",
        lambda x: x.log_softmax(-1), [ROW], "of LogSoftmax"),
    Bug("graph.ops.norm", "a.axes) - projection) /", "a.axes)) /",
        standardised, [IMAGE], "of Standardize"),
    Bug("graph.ops.reduce", "CumSumAttrs(c.attrs.axis, not c.attrs.reverse)",
        "CumSumAttrs(c.attrs.axis, c.attrs.reverse)",
        lambda x: x.cumsum(1), [ROW], "of CumSum"),
    Bug("graph.ops.reduce", "_spread(c.dy / count, c)", "_spread(c.dy, c)", lambda x: x.mean(1), [ROW], "of Mean"),
    Bug("graph.ops.shape", "        start = stop\n", "        start = 0\n",
        lambda x, y: lucid.cat([x, y], 1), [ROW, ROW], "of Concat"),
    Bug("graph.ops.pad", "take_slice(c.dy, a.before, shape)", "take_slice(c.dy, (0,) * len(shape), shape)",
        lambda x: F.pad(x, (1, 1)), [ROW], "of Pad"),
    Bug("graph.ops.top_k", "ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), c.dy, c.outputs[1]",
        "ScatterAttrs(c.attrs.axis, c.inputs[0].type.shape), -c.dy, c.outputs[1]",
        lambda x: lucid.topk(x, 2)[0], [ROW], "of TopK"),
]  # fmt: skip

KERNELS = [
    Bug("runtime.kernels.norm", "np.divide({y}, {without_broadcast(k,", "np.multiply({y}, {without_broadcast(k,",
        lambda x: x.softmax(-1), [ROW], "Softmax by"),
    Bug("runtime.kernels.norm", 'k.line(f"np.log({m}, out={m})")', 'k.line(f"np.sqrt({m}, out={m})")',
        lambda x: x.log_softmax(-1), [ROW], "LogSoftmax by"),
    Bug("runtime.kernels.norm", "np.reciprocal({step}", "np.square({step}",
        standardised, [IMAGE], "Standardize by"),
    Bug("runtime.kernels.reduce", "float(count), y.dtype)", "float(count + 1), y.dtype)",
        lambda x: x.mean(0), [ROW], "Mean by"),
    Bug("runtime.kernels.reduce", "name = k.node.op.name.lower()", 'name = "argmin"',
        lambda x: x.argmax(1) + x.sum(1), [ROW], "ArgMax by"),
    Bug("runtime.kernels.reduce", 'k.line(f"np.add({y}, {k.seen(top, y.shape)}, out={y})")',
        'k.line(f"np.subtract({y}, {k.seen(top, y.shape)}, out={y})")',
        lambda x: x.logsumexp(1), [ROW], "LogSumExp by"),
    Bug("runtime.kernels.reduce", 'k.line(f"np.multiply({y}, {after}, out={y})")',
        'k.line(f"np.add({y}, {after}, out={y})")', lambda x: x.prod(1), [ROW], "ProductOfOthers by"),
    Bug("runtime.kernels.pad", "= {k.number(a.value)}", "= {k.number(a.value + 1)}",
        lambda x: F.pad(x, (1, 1)), [ROW], "Pad by"),
    Bug("runtime.kernels.pad", "(b, b + size) for b, size in zip(a.before, x.shape, strict=True)",
        "(0, size) for b, size in zip(a.before, x.shape, strict=True)",
        lambda x: F.pad(x, (1, 1)), [ROW], "Pad by"),
    Bug("runtime.kernels.shared.epilogue", 'return "np.maximum" if self.floor else "np.add"',
        'return "np.maximum" if self.floor else "np.subtract"',
        module(lambda: nn.Conv2d(3, 4, 3)), [IMAGE], "Conv2d by"),
    Bug("runtime.kernels.pool.max", '"np.maximum", axes, lowest', '"np.minimum", axes, lowest',
        lambda x: F.max_pool2d(x, 2, 2), [(1, 1, 4, 4)], "MaxPool2d by"),
    Bug("runtime.kernels.pool.average", "axis.there(o) if a.count_include_pad",
        "axis.there(o) + 1 if a.count_include_pad",
        lambda x: F.avg_pool2d(x, 2), [IMAGE], "AvgPool2d by"),
    Bug("runtime.kernels.indexing", 'k.line(f"{y}[...] = {x}[{_key(x.type.rank, axes, indices)}]")',
        'k.line(f"{y}[...] = {x}[{_key(x.type.rank, axes, indices)}] + 1")',
        lambda x: x[lucid.tensor([0, 2]), lucid.tensor([1, 1])], [ROW], "Index by"),
    Bug("runtime.kernels.pool.max_grad_views", "codes, winners.cols.kernel, out=rows",
        "codes, winners.cols.kernel + 1, out=rows",
        lambda x: F.max_pool2d(x, 2, 2), [IMAGE], "MaxPool2dGrad by"),
]  # fmt: skip

BUGS = [
    *((PassError, bug) for bug in PASSES),
    *((RuleError, bug) for bug in RULES),
    *((LoweringError, bug) for bug in KERNELS),
]


def sample(shapes: Sequence[tuple[int, ...]]) -> list[lucid.Tensor]:
    rng = np.random.default_rng(1)
    return [lucid.tensor(rng.standard_normal(s).astype(np.float32), requires_grad=True) for s in shapes]


def compute(bug: Bug, folder: Path) -> None:
    """Compile the program anew, for inference and for training, and run it both ways."""
    for training in (False, True):
        with lucid.set_grad_enabled(training):
            y = lucid.compile(bug.program, verify=folder)(*sample(bug.shapes))
            if training:
                y.sum().backward()


def test_there_are_enough() -> None:
    assert len(BUGS) >= 60
    assert len({(bug.module, bug.right, bug.wrong) for _, bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize(("kind", "bug"), BUGS, ids=[f"{bug.names}-{i}" for i, (_, bug) in enumerate(BUGS)])
def test_it_is_found_named_and_shown(kind: type[ProofError], bug: Bug, tmp_path: Path) -> None:
    with planted(bug.module, bug.right, bug.wrong):
        with pytest.raises(kind, match=re.escape(bug.names)) as caught:
            compute(bug, tmp_path)
        found = caught.value
        assert isinstance(found.graph, Graph)
        assert sum(not node.op.source for _, node in found.graph.nodes()) <= 6
        assert found.script is not None
        with pytest.raises(kind, match=re.escape(bug.names)):
            runpy.run_path(str(found.script))
    runpy.run_path(str(found.script))  # nothing is wrong any more


@pytest.mark.parametrize("bug", {id(bug.program): bug for _, bug in BUGS}.values(), ids=lambda bug: bug.names)
def test_nothing_is_found_where_nothing_is_wrong(bug: Bug, tmp_path: Path) -> None:
    compute(bug, tmp_path)
    assert not list(tmp_path.iterdir())
