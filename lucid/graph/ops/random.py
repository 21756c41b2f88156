"""Random ops. Each draws from a key that a ``RandomKey`` node makes anew at every run; one key, one draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import Batch, Outputs, with_leading_axis
from ..opdef import (
    NO_GRADIENT,
    AbstractTensor,
    Attrs,
    GradContext,
    Gradients,
    NoAttrs,
    OpDef,
    T,
    TypeAttrs,
    apply,
    attributes,
    register,
)
from ..types import DTYPES, DType, TensorType, as_dtype, is_float
from .elementwise import cast, leaky_relu, where
from .promotion import floating
from .shape import as_shape
from .source import full

KEY = TensorType((), DTYPES["uint64"])


@attributes
class DropoutAttrs(Attrs):
    """``p`` is the probability of an element to become zero."""

    p: float


def _check_key(op: str, key: TensorType) -> None:
    if key != KEY:
        raise DTypeError(f"{op}: the key must be {KEY}, got {key}")


def _key_infer(attrs: Attrs) -> TensorType:
    return KEY


def _draw_infer(op: str) -> Callable[[TypeAttrs, TensorType], TensorType]:
    def infer(attrs: TypeAttrs, key: TensorType) -> TensorType:
        _check_key(op, key)
        if not is_float(attrs.dtype):
            raise DTypeError(f"{op}: draws floating-point numbers, not {attrs.dtype.name}")
        return attrs.type

    return infer


def _dropout_infer(attrs: DropoutAttrs, x: TensorType, key: TensorType) -> TensorType:
    _check_key("Dropout", key)
    if not is_float(x.dtype):
        raise DTypeError(f"Dropout: needs a floating-point tensor, got {x}")
    if not 0 <= attrs.p <= 1:
        raise OptionError(f"Dropout: p must be between 0 and 1, got {attrs.p}")
    return x.with_shape(x.shape)


def _dropout_gradient(c: GradContext[DropoutAttrs]) -> Gradients:
    return [apply(DROPOUT, c.attrs, c.dy, c.inputs[1]), None]  # the same key, so the same elements


def _draw_batch(batch: Batch[TypeAttrs]) -> Outputs:
    return batch.apply(with_leading_axis(batch.attrs, batch.size), *batch.inputs)


def _dropout_batch(batch: Batch[DropoutAttrs]) -> Outputs:
    """With a key for all rows the same elements of each."""
    x, key = batch.whole(0), batch.inputs[1]
    if batch.batched[1]:
        return batch.apply(batch.attrs, x, key)
    (kept,) = batch.apply(batch.attrs, full(x, 1.0, batch.row(0)), key)
    return [where(kept == 0.0, 0.0, x * kept)]


RANDOM_KEY = register(
    OpDef("RandomKey", _key_infer, NO_GRADIENT, inputs=(), outputs=("key",), pure=False, random=True, family="random")
)
RANDOM_UNIFORM = register(
    OpDef(
        "RandomUniform", _draw_infer("RandomUniform"), NO_GRADIENT, attrs=TypeAttrs, inputs=("key",),
        batch=_draw_batch, family="random",
    )
)  # fmt: skip
RANDOM_NORMAL = register(
    OpDef(
        "RandomNormal", _draw_infer("RandomNormal"), NO_GRADIENT, attrs=TypeAttrs, inputs=("key",),
        batch=_draw_batch, family="norm",
    )
)  # fmt: skip
#: Zeros with probability ``p``, the rest divided by ``1 - p`` (Srivastava et al., 2014).
DROPOUT = register(
    OpDef(
        "Dropout",
        _dropout_infer,
        _dropout_gradient,
        attrs=DropoutAttrs,
        inputs=("x", "key"),
        batch=_dropout_batch,
        family="random",
    )
)


def random_key(like: T) -> T:
    """A key that differs at every call, and at every run of a compiled model."""
    return apply(RANDOM_KEY, NoAttrs(), like=like)


def _draw(op: OpDef, like: T, shape: Sequence[object] | None, dtype: object) -> T:
    type_ = like.type
    wanted: DType = type_.dtype if dtype is None else as_dtype(dtype)
    dims = (
        type_.shape
        if shape is None
        else as_shape(op.name, tuple(shape) if isinstance(shape, list | tuple) else (shape,))
    )
    if any(isinstance(dim, int) and dim < 0 for dim in dims):
        raise ShapeError(f"{op.name}: sizes must not be negative, got {dims}")
    return apply(op, TypeAttrs(dims, wanted), random_key(like))


def rand_like(x: T, shape: Sequence[object] | None = None, dtype: object = None) -> T:
    """Uniform numbers in [0, 1), of the shape and element type of ``x`` where not given."""
    result: T = _draw(RANDOM_UNIFORM, x, shape, dtype)
    return result


def randn_like(x: T, shape: Sequence[object] | None = None, dtype: object = None) -> T:
    """Standard normal numbers, of the shape and element type of ``x`` where not given."""
    result: T = _draw(RANDOM_NORMAL, x, shape, dtype)
    return result


def bernoulli(p: AbstractTensor) -> AbstractTensor:
    """1 with the probability that each element of ``p`` says, else 0."""
    return cast(rand_like(p) < p, p.type.dtype)


def probability(op: str, p: float, what: str = "p") -> float:
    """``p`` as a float; raise where it is none between 0 and 1."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise OptionError(f"{op}: {what} must be a number between 0 and 1, got {shown(p)}")
    return float(p)


def dropout(x: T, p: float = 0.5, training: bool = True) -> T:
    """While ``training``, each element is zero with probability ``p``, the others divided by ``1 - p``."""
    p = probability("dropout", p)
    if not training or p == 0:
        return x
    result: T = apply(DROPOUT, DropoutAttrs(p), x, random_key(x))
    return result


def dropout1d(x: AbstractTensor, p: float = 0.5, training: bool = True) -> AbstractTensor:
    """As :func:`dropout`, with whole channels of (N, C, L) or (C, L) as the unit."""
    return _without_channels("dropout1d", x, p, training, x.type.rank == 2)


def dropout2d(x: AbstractTensor, p: float = 0.5, training: bool = True) -> AbstractTensor:
    """As :func:`dropout`, with whole channels of (N, C, ...) as the unit."""
    return _without_channels("dropout2d", x, p, training, single=False)


def dropout3d(x: AbstractTensor, p: float = 0.5, training: bool = True) -> AbstractTensor:
    """As :func:`dropout`, with whole channels of (N, C, D, H, W) or (C, D, H, W) as the unit."""
    return _without_channels("dropout3d", x, p, training, x.type.rank == 4)


def _without_channels(op: str, x: AbstractTensor, p: float, training: bool, single: bool) -> AbstractTensor:
    p = probability(op, p)
    if not training or p == 0:
        return x
    return x * dropout(_ones(op, x, single), p)


def _ones(op: str, x: AbstractTensor, single: bool = False) -> AbstractTensor:
    """A one for each channel of a batch, or of what is ``single``."""
    if x.type.rank < 2:
        raise ShapeError(f"{op}: needs a batch and a channel axis, got {x.type}")
    lead = 1 if single else 2
    return full(x, 1.0, (*x.type.shape[:lead], *(1,) * (x.type.rank - lead)))


LOWEST = 1.7580993408473766
"""What the self-normalising activation :func:`~.activation.selu` comes down to, with its sign changed."""


def alpha_dropout(x: AbstractTensor, p: float = 0.5, training: bool = False) -> AbstractTensor:
    """While ``training``, elements are set to what ``selu`` comes down to, and mean and variance kept as they are
    (Klambauer et al., 2017)."""
    return _to_lowest("alpha_dropout", x, x, p, training)


def feature_alpha_dropout(x: AbstractTensor, p: float = 0.5, training: bool = False) -> AbstractTensor:
    """As :func:`alpha_dropout`, with whole channels of (N, C, ...) as the unit."""
    return _to_lowest("feature_alpha_dropout", x, _ones("feature_alpha_dropout", x), p, training)


def _to_lowest(op: str, x: AbstractTensor, units: AbstractTensor, p: float, training: bool) -> AbstractTensor:
    p = probability(op, p)
    if not is_float(x.type.dtype):
        raise DTypeError(f"{op}: needs a floating-point tensor, got {x.type}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    scale = 1 / math.sqrt((LOWEST * LOWEST * p + 1) * (1 - p))
    return where(rand_like(units) < p, -LOWEST, x) * scale + LOWEST * scale * p


def rrelu(x: AbstractTensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> AbstractTensor:
    """``x`` where positive, else a share of it: while ``training`` drawn for each element, then the mean of the two."""
    if not lower <= upper:
        raise OptionError(f"rrelu: lower {lower} must not be more than upper {upper}")
    x = floating(x)
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    return where(x > 0, x, x * (rand_like(x) * (upper - lower) + lower))
