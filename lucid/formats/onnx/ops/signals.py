"""Operators on signals: Fourier transforms, causal convolutions, cumulative products."""

from __future__ import annotations

import numpy as np

from ....errors import GraphError
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor, apply
from ....graph.ops.composite import movedim
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.ops.elementwise import silu
from ....graph.ops.indexing import index_with
from ....graph.ops.linalg import matmul
from ....graph.ops.pad import pad
from ....graph.ops.put import counted
from ....graph.ops.shape import concat, squeeze, stack, unsqueeze
from ....graph.ops.slices import flip
from ....graph.types import DType
from ..limits import checked
from ..model import Array
from ..registry import Call, Value, converter


def _waves(size: int, bins: int) -> tuple[Array, Array]:
    """Cosines and sines of all frequencies at all positions, a row for each position."""
    checked(size, bins)
    turn = 2 * np.pi / size * (np.outer(np.arange(size), np.arange(bins)) % size)
    return np.cos(turn), np.sin(turn)


def _transformed(x: AbstractTensor, size: int, *, inverse: bool, onesided: bool) -> AbstractTensor:
    """The discrete Fourier transform along the second to last axis; the last axis has one part or two."""
    parts = [x[..., i] for i in range(_parts(x))]
    dtype = x.type.dtype
    if inverse and onesided:
        return unsqueeze(_real(parts, size, dtype), -1)
    cosine, sine = _waves(size, size // 2 + 1 if onesided else size)
    if inverse:
        cosine, sine = cosine / size, -sine / size
    c, s = x.constant(cosine.astype(dtype)), x.constant(sine.astype(dtype))
    real, imaginary = matmul(parts[0], c), -matmul(parts[0], s)
    if len(parts) == 2:
        real, imaginary = real + matmul(parts[1], s), imaginary + matmul(parts[1], c)
    return stack([real, imaginary], -1)


def _real(parts: list[AbstractTensor], size: int, dtype: DType) -> AbstractTensor:
    """The real signal that has this half spectrum."""
    bins = size // 2 + 1
    both = np.where(np.arange(bins) % (size / 2) == 0, 1, 2)[:, None]  # each but the ends stands for two
    cosine, sine = (wave.T * both / size for wave in _waves(size, bins))
    y = matmul(parts[0], parts[0].constant(cosine.astype(dtype)))
    return y if len(parts) == 1 else y - matmul(parts[1], parts[1].constant(sine.astype(dtype)))


def _parts(x: AbstractTensor) -> int:
    """The number of parts of an element of a signal: one, or a real and an imaginary part."""
    count = x.type.shape[-1]
    if count not in (1, 2):
        raise GraphError(f"the last axis of a signal has one element or two, got {x.type}")
    return 1 if count == 1 else 2


def _of_length(x: AbstractTensor, axis: int, length: int) -> AbstractTensor:
    """The signal, padded with zeros or cut to a length."""
    more = length - _known(x.type.shape[axis])
    amounts = [[0, more if i == axis else 0] for i in range(x.type.rank)]
    return pad(x, [amount for both in reversed(amounts) for amount in both])


def _known(size: Dim) -> int:
    if not isinstance(size, int):
        raise GraphError("a transform of a symbolic length: give the model fixed shapes")
    return size


@converter("DFT", since=17, host=(1, 2))
def dft(call: Call, x: Value, length: Value = None, axis: Value = None) -> AbstractTensor:
    """The transform by a matrix product with cosines and sines."""
    signal: AbstractTensor = call.tensor(x)
    if axis is not None:
        along = int(call.scalar(axis, "the axis"))
    else:
        along = call.attribute("axis", 1) if call.node.version < 20 else -2
    along %= signal.type.rank
    inverse, onesided = bool(call.attribute("inverse", 0)), bool(call.attribute("onesided", 0))
    size = _known(signal.type.shape[along])
    if length is not None:
        size = int(call.scalar(length, "the length"))
    elif inverse and onesided:
        size = 2 * (size - 1)
    signal = _of_length(signal, along, size // 2 + 1 if inverse and onesided else size)
    y = _transformed(movedim(signal, along, -2), size, inverse=inverse, onesided=onesided)
    return movedim(y, -2, along)


@converter("STFT", since=17, host=(1, 3))
def stft(call: Call, x: Value, step: Value, window: Value = None, length: Value = None) -> AbstractTensor:
    """Transforms of pieces of a signal; for a real signal the last axis may be missing, as in PyTorch's files."""
    signal: AbstractTensor = call.tensor(x)
    signal = unsqueeze(signal, 2) if signal.type.rank == 2 else signal
    weights: AbstractTensor | None = None if window is None else call.tensor(window)
    if length is not None:
        size = int(call.scalar(length, "the length"))
    elif weights is not None:
        size = _known(weights.type.shape[0])
    else:
        raise GraphError("it has neither a window nor a length")
    hop = int(call.scalar(step, "the step"))
    if hop < 1:
        raise GraphError(f"pieces of a signal are one step apart or more, not {hop}")
    count = (signal.type.shape[1] - size) // hop + 1
    if isinstance(count, int):
        checked(count, size)
    starts = unsqueeze(counted(signal, count) * hop, 1)
    pieces = index_with(signal, (1,), (starts + signal.constant(np.arange(size)),))
    if weights is not None:
        pieces = pieces * unsqueeze(weights, 1)
    return _transformed(pieces, size, inverse=False, onesided=bool(call.attribute("onesided", 1)))


@converter("CausalConvWithState", since=27, names=("", "weight", "bias"))
def causal_conv(call: Call, x: Value, weight: Value, bias: Value = None, past: Value = None) -> list[AbstractTensor]:
    """A convolution of each channel with earlier elements; and the end of the input, for the next call."""
    signal, kernel = call.tensors(x, weight)
    shift, before = call.optional(bias), call.optional(past)
    channels, _, reach = kernel.type.shape
    if not isinstance(channels, int) or not isinstance(reach, int):
        raise GraphError(f"a kernel of a symbolic size: {kernel.type}")
    whole = pad(signal, (reach - 1, 0)) if before is None else concat([before, signal], 2)
    inputs = [unsqueeze(whole, 2), unsqueeze(kernel, 2), *([] if shift is None else [shift])]
    y = squeeze(apply(CONV, ConvAttrs(groups=channels), *inputs), 2)
    activation = call.attribute("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise GraphError(f"unknown activation {activation!r}")
    return [y if activation == "none" else silu(y), whole[:, :, whole.type.shape[2] - (reach - 1) :]]


@converter("CumProd", since=26, host=(1,))
def cumprod(call: Call, x: Value, axis: Value) -> AbstractTensor:
    """Cumulative products, over twice as many elements at each step."""
    values: AbstractTensor = call.tensor(x)
    along = int(call.scalar(axis, "the axis")) % values.type.rank
    size, reverse = _known(values.type.shape[along]), call.attribute("reverse", 0)
    values = flip(values, along) if reverse else values
    if call.attribute("exclusive", 0):
        values = _later(values, along, 1)
    reach = 1
    while reach < size:
        values = values * _later(values, along, reach)
        reach *= 2
    return flip(values, along) if reverse else values


def _later(x: AbstractTensor, axis: int, by: int) -> AbstractTensor:
    """Elements moved along an axis by ``by`` positions, with ones before them."""
    amounts = [[by, -by] if i == axis else [0, 0] for i in range(x.type.rank)]
    return pad(x, [amount for both in reversed(amounts) for amount in both], value=1)
