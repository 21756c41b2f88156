"""Convolutions and poolings of one axis and of three against their definitions, element by element."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError
from lucid.graph.ops.avgpool import AvgPoolAttrs
from lucid.graph.ops.pool_axes import average_pool
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def noise(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


SIGNAL, VOLUME = noise(2, 4, 11), noise(2, 4, 5, 7, 6)


def each(value: Any, axes: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * axes


def places(counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, counts))


def agrees(function: Callable[[Any], Any], x: Array, *wanted: Array) -> None:
    """Eagerly, and compiled for any batch and size."""
    names = (lucid.spec("N", x.shape[1], *"DHW"[: x.ndim - 2], dtype=x.dtype), lucid.spec(*x.shape, dtype=x.dtype))
    for run in (function, *(lucid.compile(function, spec) for spec in names)):
        found = run(Tensor(x))
        for y, want in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
            assert (y.shape, y.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(y.numpy(), want, rtol=1e-11, atol=1e-11)


def convolved(x: Array, w: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    axes, kernel = x.ndim - 2, w.shape[2:]
    steps, pads, apart = each(stride, axes), each(padding, axes), each(dilation, axes)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pads)])
    counts = [
        (size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip(padded.shape[2:], kernel, steps, apart, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *counts))
    ins, outs = w.shape[1], w.shape[0] // groups
    for out in places(counts):
        for tap in places(kernel):
            seen = tuple(o * s + t * d for o, s, t, d in zip(out, steps, tap, apart, strict=True))
            for n, k in places(y.shape[:2]):
                first = k // outs * ins
                y[(n, k, *out)] += padded[(n, slice(first, first + ins), *seen)] @ w[(k, slice(None), *tap)]
    return y


CONVOLUTIONS: list[tuple[Any, Any, Any, int]] = [
    (1, 0, 1, 1), (2, 1, 1, 2), ((2, 1, 3), (1, 2, 0), (2, 1, 2), 4), (1, (0, 3, 1), 2, 1)
]  # fmt: skip


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), CONVOLUTIONS)
@pytest.mark.parametrize("axes", [1, 3])
def test_a_convolution_is_its_definition(axes: int, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    stride, padding, dilation = (each(v, 3)[:axes] for v in (stride, padding, dilation))
    x, w, b = {1: SIGNAL, 3: VOLUME}[axes], noise(8, 4 // groups, *(3, 2, 3)[:axes]), noise(8)
    wanted = convolved(x, w, stride, padding, dilation, groups) + b.reshape(8, *(1,) * axes)
    function = {1: F.conv1d, 3: F.conv3d}[axes]
    agrees(lambda v: function(v, w, b, stride, padding, dilation, groups), x, wanted)
    np.testing.assert_allclose(function(x[0], w, b, stride, padding, dilation, groups).numpy(), wanted[0], atol=1e-11)


def test_same_padding_and_padding_that_differs() -> None:
    w, cube = noise(2, 4, 4), noise(2, 4, 2, 3, 4)
    for given in ("same", (1, 2)):
        np.testing.assert_allclose(
            F.conv1d(SIGNAL, w, None, 1, given).numpy(),
            convolved(np.pad(SIGNAL, [(0, 0), (0, 0), (1, 2)]), w, 1, 0, 1, 1),
        )
    padded = np.pad(VOLUME, [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2)])
    for given in ("same", (0, 1, 1, 1, 1, 2)):
        np.testing.assert_allclose(
            F.conv3d(VOLUME, cube, None, 1, given).numpy(), convolved(padded, cube, 1, 0, 1, 1), atol=1e-11
        )


def transposed(x: Array, w: Array, stride: Any, padding: Any, more: Any, groups: int, dilation: Any) -> Array:
    axes, kernel = x.ndim - 2, w.shape[2:]
    steps, pads, rest, apart = (each(v, axes) for v in (stride, padding, more, dilation))
    along = zip(x.shape[2:], kernel, steps, apart, rest, strict=True)
    whole = [(size - 1) * s + d * (k - 1) + 1 + m for size, k, s, d, m in along]
    y = np.zeros((x.shape[0], w.shape[1] * groups, *whole))
    ins, outs = w.shape[0] // groups, w.shape[1]
    for at in places(x.shape[2:]):
        for tap in places(kernel):
            made = tuple(i * s + t * d for i, s, t, d in zip(at, steps, tap, apart, strict=True))
            for n, c in places(x.shape[:2]):
                first = c // ins * outs
                y[(n, slice(first, first + outs), *made)] += x[(n, c, *at)] * w[(c, slice(None), *tap)]
    return y[(..., *(slice(p, size - p) for p, size in zip(pads, whole, strict=True)))]


TRANSPOSED: list[tuple[Any, Any, Any, int, Any]] = [
    (1, 0, 0, 1, 1), (2, 1, 1, 2, 1), ((2, 1, 3), (1, 2, 0), (1, 0, 2), 4, (2, 1, 1)),
    ((1, 2, 1), (1, 0, 0), (1, 0, 2), 1, (2, 1, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("stride", "padding", "more", "groups", "dilation"), TRANSPOSED)
@pytest.mark.parametrize("axes", [1, 3])
def test_a_transposed_convolution_is_its_definition(
    axes: int, stride: Any, padding: Any, more: Any, groups: int, dilation: Any
) -> None:
    stride, padding, more, dilation = (each(v, 3)[:axes] for v in (stride, padding, more, dilation))
    x, w, b = {1: SIGNAL, 3: VOLUME}[axes], noise(4, 8 // groups, *(3, 4, 2)[:axes]), noise(8)
    wanted = transposed(x, w, stride, padding, more, groups, dilation) + b.reshape(8, *(1,) * axes)
    function = {1: F.conv_transpose1d, 3: F.conv_transpose3d}[axes]
    agrees(lambda v: function(v, w, b, stride, padding, more, groups, dilation), x, wanted)


def windows(
    size: Sequence[int], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[list[int], Callable[[tuple[int, ...]], tuple[list[tuple[int, ...]], int]]]:
    """How many there are, and for each the elements it sees and how many there are of these and of the padding."""
    axes = len(size)
    kernels, steps, pads, apart = (each(v, axes) for v in (kernel, stride, padding, dilation))
    counts = []
    for n, k, s, p, d in zip(size, kernels, steps, pads, apart, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        count = (-(-room // s) if ceil else room // s) + 1
        counts.append(count - 1 if ceil and (count - 1) * s >= n + p else count)

    def of(out: tuple[int, ...]) -> tuple[list[tuple[int, ...]], int]:
        lines = [
            [o * s - p + t * d for t in range(k)]
            for o, k, s, p, d in zip(out, kernels, steps, pads, apart, strict=True)
        ]
        seen = [at for at in itertools.product(*lines) if all(0 <= i < n for i, n in zip(at, size, strict=True))]
        held = math.prod(sum(i < n + p for i in line) for line, n, p in zip(lines, size, pads, strict=True))
        return seen, held

    return counts, of


POOLINGS: list[tuple[Any, Any, Any, Any, bool]] = [
    (2, None, 0, 1, False), (3, 2, 1, 1, False), ((3, 2, 3), (2, 3, 1), (1, 0, 1), (1, 2, 1), False),
    (3, 2, 1, 1, True), ((2, 3, 4), (2, 2, 3), (1, 1, 2), 1, True),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil"), POOLINGS)
@pytest.mark.parametrize("axes", [1, 3])
def test_a_max_pooling_is_its_definition(
    axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> None:
    kernel, padding, dilation = (each(v, 3)[:axes] for v in (kernel, padding, dilation))
    stride = None if stride is None else each(stride, 3)[:axes]
    x = {1: SIGNAL, 3: VOLUME}[axes]
    size = x.shape[2:]
    counts, window = windows(size, kernel, stride or kernel, padding, dilation, ceil)
    y, index = np.empty((*x.shape[:2], *counts)), np.empty((*x.shape[:2], *counts), np.int64)
    for n, c, *out in places(y.shape):
        values = {np.ravel_multi_index(at, size): x[(n, c, *at)] for at in window(tuple(out))[0]}
        index[(n, c, *out)] = max(values, key=lambda at: values[at])
        y[(n, c, *out)] = max(values.values())
    function = {1: F.max_pool1d, 3: F.max_pool3d}[axes]
    agrees(lambda v: function(v, kernel, stride, padding, dilation, ceil), x, y)
    agrees(lambda v: function(v, kernel, stride, padding, dilation, ceil, True), x, y, index)
    np.testing.assert_array_equal(function(x[1], kernel, stride, padding, dilation, ceil).numpy(), y[1])


def averaged(
    x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, include: bool, divisor: int | None
) -> Array:
    counts, window = windows(x.shape[2:], kernel, stride, padding, dilation, ceil)
    y = np.empty((*x.shape[:2], *counts))
    for out in places(counts):
        seen, held = window(out)
        total = sum(x[(slice(None), slice(None), *at)] for at in seen)
        y[(slice(None), slice(None), *out)] = total / (divisor or (held if include else len(seen)))
    return y


@pytest.mark.parametrize(("include", "divisor"), [(True, None), (False, None), (True, 5)])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil"), POOLINGS)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_an_average_pooling_is_its_definition(
    axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, include: bool, divisor: int | None
) -> None:
    kernel, padding, dilation = (each(v, 3)[:axes] for v in (kernel, padding, dilation))
    stride = kernel if stride is None else each(stride, 3)[:axes]
    x = {1: SIGNAL, 2: VOLUME[:, :, 0], 3: VOLUME}[axes]
    for apart in {(1,) * axes, dilation, (2, *(1,) * (axes - 1))}:
        wanted = averaged(x, kernel, stride, padding, apart, ceil, include, divisor)
        attrs = AvgPoolAttrs(kernel, stride, padding * 2, ceil, include, divisor)
        agrees(lambda v, attrs=attrs, apart=apart: average_pool(attrs, v, apart), x, wanted)  # type: ignore[misc]
    plain = averaged(x, kernel, stride, padding, 1, ceil, include, divisor)
    if axes == 1 and divisor is None:
        agrees(lambda v: F.avg_pool1d(v, kernel, stride, padding, ceil, include), x, plain)
    if axes == 3:
        agrees(lambda v: F.avg_pool3d(v, kernel, stride, padding, ceil, include, divisor), x, plain)


def adapted(x: Array, size: tuple[int, ...], function: Callable[[Array], Any]) -> Array:
    y = np.empty((*x.shape[:2], *size))
    for n, c, *out in places(y.shape):
        part = tuple(slice(o * n // s, -(-(o + 1) * n // s)) for o, n, s in zip(out, x.shape[2:], size, strict=True))
        y[(n, c, *out)] = function(x[(n, c, *part)])
    return y


@pytest.mark.parametrize("size", [1, 3, (4, None, 2), (None, 9, 6)])
@pytest.mark.parametrize("axes", [1, 3])
def test_an_adaptive_pooling_is_its_definition(axes: int, size: Any) -> None:
    x = {1: SIGNAL, 3: VOLUME}[axes]
    given = each(size, 3)[:axes]
    full = tuple(n if s is None else s for n, s in zip(x.shape[2:], given, strict=True))
    mean, most = (
        getattr(F, f"adaptive_{kind}_pool{axes}d") for kind in ("avg", "max")
    )  # fmt: skip
    agrees(lambda v: mean(v, given), x, adapted(x, full, np.mean))
    agrees(lambda v: most(v, given), x, adapted(x, full, np.max))
    y, index = most(x, given, return_indices=True)
    flat = x.reshape(*x.shape[:2], -1)
    chosen = np.take_along_axis(flat, index.numpy().reshape(*x.shape[:2], -1), 2)
    np.testing.assert_array_equal(chosen.reshape(y.shape), y.numpy())


LAYERS: list[tuple[nn.Module, Callable[[Any, Any, Any], Any]]] = [
    (nn.Conv1d(4, 6, 3, 2, 1, 2, 2), lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2, 2)),
    (nn.Conv3d(4, 6, 2, 2, 1, 2, 2), lambda x, w, b: F.conv3d(x, w, b, 2, 1, 2, 2)),
    (nn.Conv1d(4, 6, 4, padding="same", padding_mode="circular", bias=False),
     lambda x, w, b: F.conv1d(F.pad(x, (1, 2), "circular"), w)),
    (nn.Conv3d(4, 6, (2, 3, 4), padding="same", padding_mode="replicate"),
     lambda x, w, b: F.conv3d(F.pad(x, (1, 2, 1, 1, 0, 1), "replicate"), w, b)),
    (nn.Conv3d(4, 6, 3, padding=(1, 2, 0), padding_mode="reflect"),
     lambda x, w, b: F.conv3d(F.pad(x, (0, 0, 2, 2, 1, 1), "reflect"), w, b)),
    (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2), lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1, 2)),
    (nn.ConvTranspose3d(4, 6, 3, 2, 1, 1, 2, False, 2), lambda x, w, b: F.conv_transpose3d(x, w, None, 2, 1, 1, 2, 2)),
    (nn.MaxPool1d(3, padding=1, ceil_mode=True), lambda x, w, b: F.max_pool1d(x, 3, 3, 1, 1, True)),
    (nn.MaxPool3d(2, 1, 1, 2), lambda x, w, b: F.max_pool3d(x, 2, 1, 1, 2)),
    (nn.AvgPool1d(3, padding=1, count_include_pad=False), lambda x, w, b: F.avg_pool1d(x, 3, 3, 1, False, False)),
    (nn.AvgPool3d(2, divisor_override=3), lambda x, w, b: F.avg_pool3d(x, 2, divisor_override=3)),
    (nn.AdaptiveAvgPool1d(3), lambda x, w, b: F.adaptive_avg_pool1d(x, 3)),
    (nn.AdaptiveAvgPool3d((2, None, 3)), lambda x, w, b: F.adaptive_avg_pool3d(x, (2, None, 3))),
    (nn.AdaptiveMaxPool1d(3), lambda x, w, b: F.adaptive_max_pool1d(x, 3)),
    (nn.AdaptiveMaxPool3d((2, None, 3)), lambda x, w, b: F.adaptive_max_pool3d(x, (2, None, 3))),
    (nn.BatchNorm3d(4), lambda x, w, b: _normal(x, (0, 2, 3, 4))),
    (nn.InstanceNorm1d(4), lambda x, w, b: _normal(x, (2,))),
    (nn.InstanceNorm3d(4), lambda x, w, b: _normal(x, (2, 3, 4))),
]  # fmt: skip


def _normal(x: Any, axes: tuple[int, ...]) -> Any:
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(("layer", "function"), LAYERS, ids=[repr(layer) for layer, _ in LAYERS])
def test_a_layer_is_its_function(layer: nn.Module, function: Callable[[Any, Any, Any], Any]) -> None:
    x = Tensor((SIGNAL if "1d" in type(layer).__name__ else VOLUME).astype(np.float32), requires_grad=True)
    wanted = function(x, getattr(layer, "weight", None), getattr(layer, "bias", None))
    np.testing.assert_allclose(layer(x).numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)
    net = lucid.compile(layer, lucid.spec("N", *x.shape[1:]))
    net(x).square().sum().backward()
    found = {name: p.grad.numpy() for name, p in [("x", x), *layer.named_parameters()]}
    for p in (x, *layer.parameters()):
        p.grad = None
    wanted.square().sum().backward()
    for name, p in [("x", x), *layer.named_parameters()]:
        if p.grad is not None:
            np.testing.assert_allclose(found[name], p.grad.numpy(), rtol=1e-3, atol=1e-3)


def test_layers_are_named_in_what_they_refuse() -> None:
    for make, words in (
        (lambda: nn.Conv1d(4, 6, (3, 3)), r"Conv1d: kernel_size must be one int, got 2"),
        (lambda: nn.Conv3d(4, 6, 3, padding="all"), "Conv3d: padding is one int or three .* got 'all'"),
        (lambda: nn.Conv3d(4, 6, 3, 2, padding="same"), 'Conv3d: padding="same" needs stride 1'),
        (lambda: nn.ConvTranspose1d(4, 6, 3, output_padding=1), "ConvTranspose1d: output_padding"),
        (lambda: nn.MaxPool3d(2, padding=2), "MaxPool3d: padding .* see only padding"),
        (lambda: nn.AvgPool1d(2, padding=2), "AvgPool1d: padding .* more than half"),
        (lambda: nn.AdaptiveAvgPool3d((1, 2)), "AdaptiveAvgPool3d: output_size is one int or three"),
        (lambda: nn.BatchNorm3d(4)(SIGNAL), r"BatchNorm3d: needs an input \(N, C, D, H, W\)"),
    ):  # fmt: skip
        with pytest.raises(LucidError, match=words):
            make()


def test_what_is_empty_and_integers() -> None:
    w = noise(8, 4, 2, 2, 2)
    assert F.conv3d(VOLUME[:0], w).shape == (0, 8, 4, 6, 5)
    assert F.max_pool3d(VOLUME[:0], 2).shape == F.avg_pool3d(VOLUME[:0], 2).shape == (0, 4, 2, 3, 3)
    assert F.conv_transpose1d(SIGNAL[:0], noise(4, 3, 2), stride=2).shape == (0, 3, 22)
    whole = np.arange(-12, 12, dtype=np.int32).reshape(1, 1, 2, 3, 4)
    assert F.max_pool3d(whole, 2, padding=1).numpy().tolist() == [[[[[-12, -10, -9], [-4, -2, -1]],
                                                                   [[0, 2, 3], [8, 10, 11]]]]]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: F.conv1d(SIGNAL, noise(2, 3, 3)), r"conv1d: the input .* has 4 channels"),
        (lambda: F.conv1d(SIGNAL, noise(2, 4, 3), stride=(1, 1)), "conv1d: stride must be one int, got 2"),
        (lambda: F.conv3d(VOLUME, noise(2, 4, 3, 3)), "conv3d: the weight must have rank 5"),
        (lambda: F.conv3d(SIGNAL, noise(2, 4, 3, 3, 3)), r"conv3d: needs a tensor \(N, C, D, H, W\) or \(C, D, H, W\)"),
        (lambda: F.conv3d(VOLUME, noise(2, 4, 6, 3, 3)), "conv3d: a window of 6 .* larger than the depth 5"),
        (lambda: F.conv3d(VOLUME, noise(2, 4, 1, 1, 1), noise(3)), r"conv3d: the bias must be float64\[2\]"),
        (lambda: F.conv_transpose1d(SIGNAL, noise(4, 2, 3), padding=9), "conv_transpose1d: the output"),
        (lambda: F.conv_transpose3d(VOLUME, noise(4, 2, 1, 1, 1), output_padding=1), "must be smaller than the stride"),
        (lambda: F.max_pool1d(SIGNAL, 2, padding=2), "max_pool1d: padding 2 lets a window"),
        (lambda: F.max_pool3d(VOLUME, (2, 2)), r"kernel_size must be one int or three \(depth, vertical, horizontal\)"),
        (lambda: F.avg_pool1d(SIGNAL.astype(np.int64), 2), "avg_pool1d: needs a floating-point tensor"),
        (lambda: F.avg_pool3d(VOLUME, 2, divisor_override=0), "avg_pool3d: divisor_override must be positive"),
        (lambda: F.adaptive_avg_pool3d(VOLUME, (1, 2)), r"adaptive_avg_pool3d: output_size must be one int or three"),
        (lambda: F.adaptive_max_pool1d(SIGNAL, 0), "adaptive_max_pool1d: output_size must be positive"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        make()


@pytest.mark.parametrize(
    ("model", "shape", "least"),
    [
        (nn.Conv3d(2, 3, 2), (1, 2, "D", 3, 3), 2),
        (nn.ConvTranspose3d(2, 3, 2), (1, 2, "D", 2, 2), 1),
        (nn.AdaptiveAvgPool2d(1), (1, 2, "D", 3), 1),
        (nn.AdaptiveAvgPool3d(1), (1, 2, 3, "D", 3), 1),
        (nn.Unfold((1, 3)), (1, 2, 3, "D"), 3),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_images_of_nothing_are_refused_at_any_symbolic_size(
    model: nn.Module, shape: tuple[int | str, ...], least: int
) -> None:  # fmt: skip
    net = lucid.compile(model, lucid.spec(*shape))
    for size in (least + 1, least):
        x = np.ones([size if dim == "D" else dim for dim in shape], np.float32)
        np.testing.assert_allclose(net(x).numpy(), model(lucid.tensor(x)).numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(lucid.LucidError):
        net(np.ones([least - 1 if dim == "D" else dim for dim in shape], np.float32))
