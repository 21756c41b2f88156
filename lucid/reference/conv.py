"""Convolution and its gradients, output pixel by output pixel, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..base.arrays import Array
from ..graph.ops.conv import CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT, ConvAttrs, ConvInputAttrs, ConvWeightAttrs
from .evaluator import reference


def _windows(a: ConvAttrs, x: Array, kernel: tuple[int, ...]) -> Iterator[tuple[int, int, Array]]:
    """Row and column of each output, and its window: a view of the padded ``x``, (N, C, kh, kw)."""
    extent = [d * (k - 1) + 1 for d, k in zip(a.dilation, kernel, strict=True)]
    for r in range((x.shape[2] - extent[0]) // a.stride[0] + 1):
        for q in range((x.shape[3] - extent[1]) // a.stride[1] + 1):
            top, left = r * a.stride[0], q * a.stride[1]
            yield r, q, x[:, :, top : top + extent[0] : a.dilation[0], left : left + extent[1] : a.dilation[1]]


def _padded(a: ConvAttrs, x: Array) -> Array:
    top, left, bottom, right = a.padding
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))


def _groups(a: ConvAttrs, channels: int, outputs: int) -> Iterator[tuple[slice, slice]]:
    c, k = channels // a.groups, outputs // a.groups
    for g in range(a.groups):
        yield slice(g * c, (g + 1) * c), slice(g * k, (g + 1) * k)


@reference(CONV)
def conv(a: ConvAttrs, x: Array, w: Array, b: Array | None = None) -> Array:
    padded, found, groups = _padded(a, x), {}, a.groups
    kernels = w.astype(np.float64).reshape(groups, w.shape[0] // groups, *w.shape[1:])
    for r, q, window in _windows(a, padded, w.shape[2:]):
        parts = window.reshape(x.shape[0], groups, *w.shape[1:])
        found[r, q] = np.einsum("ngcij,gkcij->ngk", parts, kernels).reshape(x.shape[0], w.shape[0])
    rows, cols = max(found)
    y = np.empty((x.shape[0], w.shape[0], rows + 1, cols + 1))
    for (r, q), value in found.items():
        y[:, :, r, q] = value if b is None else value + b
    return y


@reference(CONV_GRAD_INPUT)
def conv_grad_input(a: ConvInputAttrs, dy: Array, w: Array) -> Array:
    channels = w.shape[1] * a.conv.groups
    padded = _padded(a.conv, np.zeros((dy.shape[0], channels, *a.size)))
    for r, q, window in _windows(a.conv, padded, w.shape[2:]):
        for cs, ks in _groups(a.conv, channels, w.shape[0]):
            window[:, cs] += np.einsum("nk,kcij->ncij", dy[:, ks, r, q].astype(np.float64), w[ks])
    (top, left), (height, width) = a.conv.padding[:2], a.size
    return padded[:, :, top : top + height, left : left + width]


@reference(CONV_GRAD_WEIGHT)
def conv_grad_weight(a: ConvWeightAttrs, x: Array, dy: Array) -> Array:
    dw = np.zeros((dy.shape[1], x.shape[1] // a.conv.groups, *a.kernel))
    for r, q, window in _windows(a.conv, _padded(a.conv, x), a.kernel):
        for cs, ks in _groups(a.conv, x.shape[1], dy.shape[1]):
            dw[ks] += np.einsum("nk,ncij->kcij", dy[:, ks, r, q].astype(np.float64), window[:, cs])
    return dw
