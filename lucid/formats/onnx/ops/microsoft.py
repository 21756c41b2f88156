"""Operators of ``com.microsoft`` into which ONNX Runtime's optimiser fuses standard ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor
from ....graph.ops import activation as act
from ....graph.ops import elementwise as ew
from ....graph.ops import reduce
from ....graph.ops.bounds import clip
from ....graph.ops.composite import eq
from ....graph.ops.indexing import embedding
from ....graph.ops.linalg import linear, matmul
from ....graph.ops.norm import layer_norm
from ....graph.ops.promotion import cast
from ....graph.ops.put import counted
from ....graph.ops.rms_norms import by_root_mean_square
from ....graph.ops.shape import permute, transpose
from ....graph.ops.solving import inv
from ....graph.types import DTYPES, int64
from ..model import MICROSOFT, Array
from ..registry import Call, Value, concrete, converter, is_host
from .products import gemm
from .windows import convolved


@converter("Gelu", "BiasGelu", domain=MICROSOFT, names=("", "bias"))
def gelu(call: Call, x: Value, bias: Value = None) -> AbstractTensor:
    return ew.gelu(_shifted(call, x, bias))


@converter("FastGelu", domain=MICROSOFT, names=("", "bias"))
def fast_gelu(call: Call, x: Value, bias: Value = None) -> AbstractTensor:
    return ew.gelu(_shifted(call, x, bias), "tanh")


def _shifted(call: Call, x: Value, bias: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    return values if bias is None else values + call.tensor(bias)


@converter("QuickGelu", domain=MICROSOFT)
def quick_gelu(call: Call, x: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    return values * ew.sigmoid(values * call.attribute("alpha", 1.702))


@converter("FusedMatMul", "TransposeMatMul", domain=MICROSOFT, names=("", "weight"))
def fused_matmul(call: Call, a: Value, b: Value) -> AbstractTensor:
    left, right = (_transposed(call, x, side) for x, side in zip(call.tensors(a, b), "AB", strict=True))
    y, alpha = matmul(left, right), call.attribute("alpha", 1.0)
    return y if alpha == 1.0 else y * alpha


def _transposed(call: Call, x: AbstractTensor, side: str) -> AbstractTensor:
    """A matrix operand with its rows moved from before the batch axes, or its last two axes swapped."""
    rank = x.type.rank
    if rank < 2:
        return x
    if call.attribute(f"transBatch{side}", 0):
        x = permute(x, (*range(1, rank - 1), 0, rank - 1))
    return transpose(x, -1, -2) if call.attribute(f"trans{side}", 0) else x


@converter("FusedGemm", domain=MICROSOFT, names=("", "weight", "bias"))
def fused_gemm(call: Call, a: Value, b: Value, c: Value = None) -> AbstractTensor:
    given = [call.attribute(f"activation_{name}") for name in ("alpha", "beta")]
    return _activated(call, gemm(call, a, b, c), [one for one in given if one is not None])


@converter("Inverse", domain=MICROSOFT)
def inverse(call: Call, x: Value) -> AbstractTensor:
    return inv(call.tensor(x))


@converter("FusedConv", domain=MICROSOFT, names=("", "weight", "bias"))
def fused_conv(call: Call, x: Value, weight: Value, bias: Value = None, more: Value = None) -> AbstractTensor:
    """A convolution to whose result another image may be added before the activation."""
    y = convolved(call, call.tensor(x), call.tensor(weight), call.optional(bias))
    y = y if more is None else y + call.tensor(more)
    return _activated(call, y, call.attribute("activation_params") or ())


def _activated(call: Call, y: AbstractTensor, given: Sequence[float]) -> AbstractTensor:
    """The activation that the node names, with its parameters."""
    ways: dict[str, Callable[..., AbstractTensor]] = {
        "": lambda y: y, "Relu": ew.relu, "Sigmoid": ew.sigmoid, "Tanh": ew.tanh, "LeakyRelu": ew.leaky_relu,
        "Elu": ew.elu, "Softplus": ew.softplus, "Softsign": act.softsign, "Clip": clip,
        "HardSigmoid": lambda y, slope=0.2, shift=0.5: act.hardsigmoid(y, slope, shift),
        "ThresholdedRelu": lambda y, least=1.0: act.threshold(y, least, 0.0),
    }  # fmt: skip
    name = call.attribute("activation", "")
    if name not in ways:
        raise GraphError(f"unknown activation {name!r} of a product here")
    return ways[name](y, *given)


# ---------------------------------------------------------------- transformers


@converter("SkipLayerNormalization", domain=MICROSOFT, names=("", "", "weight", "bias", "bias"))
def skip_layer_norm(
    call: Call, x: Value, skip: Value, scale: Value, shift: Value = None, bias: Value = None
) -> list[Value]:  # fmt: skip
    total = _shifted(call, x, skip) + (0.0 if bias is None else call.tensor(bias))
    return [_normalised(call, total, scale, shift), None, None, total]


def _normalised(call: Call, x: AbstractTensor, scale: Value, shift: Value) -> AbstractTensor:
    size = x.type.shape[-1:]
    return layer_norm(x, size, call.tensor(scale), call.optional(shift), call.attribute("epsilon", 1e-12))


@converter("SkipSimplifiedLayerNormalization", domain=MICROSOFT, names=("", "", "weight", "bias"))
def skip_rms_norm(call: Call, x: Value, skip: Value, scale: Value, bias: Value = None) -> list[Value]:
    total = _shifted(call, x, skip) + (0.0 if bias is None else call.tensor(bias))
    y = by_root_mean_square(total, (total.type.rank - 1,), call.attribute("epsilon", 1e-12)) * call.tensor(scale)
    return [y, None, None, total]


@converter("SimplifiedLayerNormalization", names=("", "weight"))
def rms_norm(call: Call, x: Value, scale: Value) -> AbstractTensor:
    values: AbstractTensor = call.tensor(x)
    axes = tuple(range(call.attribute("axis", -1) % values.type.rank, values.type.rank))
    return by_root_mean_square(values, axes, call.attribute("epsilon", 1e-5)) * call.tensor(scale)


@converter("EmbedLayerNormalization", domain=MICROSOFT, names=("", "", "word", "position", "segment", "weight", "bias"))
def embed_layer_norm(
    call: Call, ids: Value, segments: Value = None, words: Value = None, positions: Value = None, kinds: Value = None,
    scale: Value = None, shift: Value = None, mask: Value = None, places: Value = None,
) -> list[Value]:  # fmt: skip
    tokens: AbstractTensor = call.tensor(ids)
    where = counted(tokens, tokens.type.shape[-1]) if places is None else call.tensor(places)
    total = embedding(tokens, call.tensor(words)) + embedding(where, call.tensor(positions))
    if segments is not None and kinds is not None:
        total = total + embedding(call.tensor(segments), call.tensor(kinds))
    lengths = None if mask is None else cast(reduce.sum(cast(eq(call.tensor(mask), 1), int64), 1), DTYPES["int32"])
    return [_normalised(call, total, scale, shift), lengths, total]


# ---------------------------------------------------------------- weights of few bits


@converter("MatMulNBits", domain=MICROSOFT, names=("", "", "", "", "", "bias"), host=(1, 2, 3, 4))
def matmul_n_bits(
    call: Call, x: Value, packed: Value, scales: Value, zeros: Value = None, groups: Value = None, bias: Value = None
) -> AbstractTensor:  # fmt: skip
    """A product with weights (out, in) of 2, 4 or 8 bits, with a scale for each block of inputs."""
    if groups is not None or not is_host(packed) or not is_host(scales) or not (zeros is None or is_host(zeros)):
        raise GraphError("its weights must be constants of the file, their blocks in order")
    bits, block = call.attribute("bits", 4), call.required("block_size")
    inputs, outputs = call.required("K"), call.required("N")
    if bits not in (2, 4, 8):
        raise GraphError(f"weights have 2, 4 or 8 bits, got {bits}")
    blocks = -(-inputs // block)

    def weights() -> Array:
        numbers = _unpacked(concrete(packed), bits).reshape(outputs, blocks, -1)[:, :, :block].astype(np.float32)
        scale = concrete(scales).reshape(outputs, blocks, 1).astype(np.float32)
        zero: Array = np.full(scale.shape, 1 << (bits - 1), np.float32)
        if zeros is not None and concrete(zeros).dtype.kind == "f":
            zero = concrete(zeros).reshape(scale.shape).astype(np.float32)
        elif zeros is not None:
            zero = _unpacked(concrete(zeros).reshape(outputs, -1), bits)[:, :blocks, None].astype(np.float32)
        whole = ((numbers - zero) * scale).reshape(outputs, blocks * block)[:, :inputs]
        return np.ascontiguousarray(whole)

    kernel = call.world.constant(call.once(weights, packed, scales, zeros))
    values: AbstractTensor = call.tensor(x)
    return linear(values, kernel, *(() if bias is None else (call.tensor(bias),)))


def _unpacked(packed: Array, bits: int) -> Array:
    """The numbers packed into bytes, lowest bits first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    spread = (packed.astype(np.uint8)[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return spread.reshape(*packed.shape[:-1], -1)
