"""Softmax and the normalisations.

``Standardize`` (subtract the mean, divide by the standard deviation) is the one statistical step; layer, group,
instance and training-mode batch normalisation are that, followed by a scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_equal
from ..batching import merge_first_batch, prepend_axis, prepend_axis_to_first
from ..dims import Dim, as_dim, exact_quotient
from ..opdef import AbstractTensor, Attrs, GradContext, Gradients, OpDef, T, apply, apply_all, attributes, register
from ..types import Shape, TensorType, format_shape, is_float, product
from .elementwise import cast, exp, sqrt
from .reduce import mean_over
from .shape import AxisAttrs, along, reshape, stop_gradient
from .source import full


@attributes
class StandardizeAttrs(Attrs):
    """Mean and variance are taken over ``axes``, which must hold at least ``least`` values, or none at all."""

    axes: tuple[int, ...]
    eps: float = 1e-5
    least: int = 0


@attributes
class BatchNormAttrs(Attrs):
    eps: float = 1e-5


@attributes
class LayerNormAttrs(Attrs):
    """The last ``rank`` axes are normalised together."""

    rank: int
    eps: float = 1e-5


@attributes
class GroupNormAttrs(Attrs):
    groups: int
    eps: float = 1e-5


# ---------------------------------------------------------------- type rules


def _floating(op: str, *inputs: TensorType) -> None:
    if not is_float(inputs[0].dtype) or any(x.dtype != inputs[0].dtype for x in inputs):
        raise DTypeError(f"{op}: needs floating-point tensors of one type, got {', '.join(map(str, inputs))}")


def _softmax_infer(op: str) -> Callable[[AxisAttrs, TensorType], TensorType]:
    def infer(attrs: AxisAttrs, x: TensorType) -> TensorType:
        _floating(op, x)
        if not 0 <= attrs.axis < x.rank:
            raise ShapeError(f"{op}: axis {attrs.axis} is out of range for {x}")
        return x.with_shape(x.shape)

    return infer


def _standardize_infer(attrs: StandardizeAttrs, x: TensorType) -> tuple[TensorType, ...]:
    _floating("Standardize", x)
    if list(attrs.axes) != sorted(set(attrs.axes)) or any(not 0 <= axis < x.rank for axis in attrs.axes):
        raise ShapeError(f"Standardize: axes {attrs.axes} do not fit {x}")
    count = product(x.shape[axis] for axis in attrs.axes)
    if isinstance(count, int) and 0 < count < attrs.least:
        raise ShapeError(f"needs more than one value per channel for a variance, got {x}")
    statistic = x.with_shape(1 if axis in attrs.axes else dim for axis, dim in enumerate(x.shape))
    return x.with_shape(x.shape), statistic, statistic


def _check_vector(op: str, what: str, vector: TensorType, channels: Dim) -> None:
    if vector.shape != (channels,):
        raise ShapeError(f"{op}: the {what} must have shape ({channels},), got {format_shape(vector.shape)}")


def _batch_norm_infer(attrs: BatchNormAttrs, x: TensorType, *vectors: TensorType) -> TensorType:
    _floating("BatchNorm", x, *vectors)
    if x.rank < 2:
        raise ShapeError(f"BatchNorm: needs a batch and a channel axis, got {x}")
    for what, vector in zip(("running mean", "running variance", "weight", "bias"), vectors, strict=False):
        _check_vector("BatchNorm", what, vector, x.shape[1])
    return x.with_shape(x.shape)


def _layer_norm_infer(attrs: LayerNormAttrs, x: TensorType, *affine: TensorType) -> TensorType:
    _floating("LayerNorm", x, *affine)
    if not 0 < attrs.rank <= x.rank:
        raise ShapeError(f"LayerNorm: cannot normalise the last {attrs.rank} axes of {x}")
    for what, vector in zip(("weight", "bias"), affine, strict=False):
        if vector.shape != x.shape[-attrs.rank :]:
            raise ShapeError(f"LayerNorm: the {what} {vector} must have shape {format_shape(x.shape[-attrs.rank :])}")
    return x.with_shape(x.shape)


def _group_norm_infer(attrs: GroupNormAttrs, x: TensorType, *affine: TensorType) -> TensorType:
    _floating("GroupNorm", x, *affine)
    if x.rank < 2:
        raise ShapeError(f"GroupNorm: needs a batch and a channel axis, got {x}")
    if attrs.groups < 1 or exact_quotient(x.shape[1], attrs.groups) is None:
        raise ShapeError(f"GroupNorm: {x.shape[1]} channels do not divide into {attrs.groups} groups")
    for what, vector in zip(("weight", "bias"), affine, strict=False):
        _check_vector("GroupNorm", what, vector, x.shape[1])
    return x.with_shape(x.shape)


# ---------------------------------------------------------------- gradients and decompositions


def _softmax_gradient(c: GradContext[AxisAttrs]) -> Gradients:
    y, axis = c.outputs[0], c.attrs.axis
    return [y * (c.dy - (c.dy * y).sum(axis, keepdim=True))]


def _log_softmax_gradient(c: GradContext[AxisAttrs]) -> Gradients:
    return [c.dy - exp(c.outputs[0]) * c.dy.sum(c.attrs.axis, keepdim=True)]


def _standardize_gradient(c: GradContext[StandardizeAttrs]) -> Gradients:
    """As in Ioffe and Szegedy (2015), section 3, plus the gradients of the outputs mean and variance."""
    (x,), (y, mean, variance), a = c.inputs, c.outputs, c.attrs
    dx: AbstractTensor | None = None
    if c.cotangents[0] is not None:
        projection = y * mean_over(c.dy * y, a.axes)
        dx = (c.dy - mean_over(c.dy, a.axes) - projection) / sqrt(variance + a.eps)
    count = product(x.type.shape[axis] for axis in a.axes)
    if c.cotangents[1] is not None:
        spread = (c.cotangents[1] / count).expand(x.type.shape)
        dx = spread if dx is None else dx + spread
    if c.cotangents[2] is not None:
        spread = (x - mean) * (c.cotangents[2] * 2 / count)
        dx = spread if dx is None else dx + spread
    return [dx]


def _per_channel(vector: AbstractTensor, rank: int) -> AbstractTensor:
    """A vector over the channels (axis 1), reshaped to broadcast over a tensor of ``rank``."""
    return reshape(vector, (vector.type.shape[0], *(1,) * (rank - 2)))


def _affine(y: AbstractTensor, weight: AbstractTensor | None, bias: AbstractTensor | None) -> AbstractTensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _batch_norm_definition(
    attrs: BatchNormAttrs,
    x: AbstractTensor,
    mean: AbstractTensor,
    var: AbstractTensor,
    weight: AbstractTensor | None = None,
    bias: AbstractTensor | None = None,
) -> AbstractTensor:
    rank = x.type.rank
    scale = 1.0 / sqrt(var + attrs.eps)
    scale = scale if weight is None else scale * weight
    y = (x - _per_channel(mean, rank)) * _per_channel(scale, rank)
    return y if bias is None else y + _per_channel(bias, rank)


def _layer_norm_definition(
    attrs: LayerNormAttrs, x: AbstractTensor, weight: AbstractTensor | None = None, bias: AbstractTensor | None = None
) -> AbstractTensor:
    rank = x.type.rank
    return _affine(standardize(x, tuple(range(rank - attrs.rank, rank)), attrs.eps)[0], weight, bias)


def _group_norm_definition(
    attrs: GroupNormAttrs, x: AbstractTensor, weight: AbstractTensor | None = None, bias: AbstractTensor | None = None
) -> AbstractTensor:
    grouped = reshape(x, _grouped_shape(x.type.shape, attrs.groups))
    y = reshape(standardize(grouped, (2,), attrs.eps)[0], x.type.shape)
    return _affine(y, *(v if v is None else _per_channel(v, x.type.rank) for v in (weight, bias)))


def _grouped_shape(shape: Shape, groups: int) -> Shape:
    """The shape (N, groups, elements of a group)."""
    size = exact_quotient(shape[1], groups)
    if size is None:
        raise ShapeError(f"GroupNorm: {shape[1]} channels do not divide into {groups} groups")
    return (shape[0], groups, size * product(shape[2:]))


SOFTMAX = register(
    OpDef("Softmax", _softmax_infer("Softmax"), _softmax_gradient, attrs=AxisAttrs, batch=prepend_axis, family="reduce")
)
LOG_SOFTMAX = register(
    OpDef(
        "LogSoftmax",
        _softmax_infer("LogSoftmax"),
        _log_softmax_gradient,
        attrs=AxisAttrs,
        batch=prepend_axis,
        family="reduce",
    )
)
#: ``(x - mean) / sqrt(var + eps)``, the mean and the (biased) variance, whose axes stay with size 1.
STANDARDIZE = register(
    OpDef(
        "Standardize",
        _standardize_infer,
        _standardize_gradient,
        attrs=StandardizeAttrs,
        outputs=("y", "mean", "var"),
        batch=prepend_axis,
        centred=True,
    )
)
#: Batch normalisation with given statistics, per channel (axis 1).
BATCH_NORM = register(
    OpDef(
        "BatchNorm", _batch_norm_infer, None, _batch_norm_definition, attrs=BatchNormAttrs,
        inputs=("x", "mean", "var", "weight?", "bias?"), batch=merge_first_batch, channels_last=True, family="norm",
    )
)  # fmt: skip
LAYER_NORM = register(
    OpDef(
        "LayerNorm", _layer_norm_infer, None, _layer_norm_definition, attrs=LayerNormAttrs,
        inputs=("x", "weight?", "bias?"), batch=prepend_axis_to_first, family="norm",
    )
)  # fmt: skip
GROUP_NORM = register(
    OpDef(
        "GroupNorm", _group_norm_infer, None, _group_norm_definition, attrs=GroupNormAttrs,
        inputs=("x", "weight?", "bias?"), batch=merge_first_batch, family="norm",
    )
)  # fmt: skip


# ---------------------------------------------------------------- functions


def softmax(x: T, dim: int = -1, dtype: object = None) -> T:
    """``exp(x)`` divided by its sum over ``dim``, computed without overflow, in ``dtype``."""
    x = x if dtype is None else cast(x, dtype)
    return along("softmax", x, dim, lambda x, axis: apply(SOFTMAX, AxisAttrs(axis), x))


def log_softmax(x: T, dim: int = -1, dtype: object = None) -> T:
    """The logarithm of :func:`softmax`, computed without underflow, in ``dtype``."""
    x = x if dtype is None else cast(x, dtype)
    return along("log_softmax", x, dim, lambda x, axis: apply(LOG_SOFTMAX, AxisAttrs(axis), x))


def standardize(
    x: AbstractTensor, axes: tuple[int, ...], eps: float, least: int = 0
) -> tuple[AbstractTensor, AbstractTensor, AbstractTensor]:
    """``(x - mean) / sqrt(var + eps)``, mean and biased variance over ``axes`` (kept with size 1)."""
    y, mean, var = apply_all(STANDARDIZE, StandardizeAttrs(axes, float(eps), least), x)
    return y, mean, var


def _optional(
    x: AbstractTensor, weight: AbstractTensor | None, bias: AbstractTensor | None, shape: Shape
) -> list[AbstractTensor]:
    """Weight and bias as trailing inputs; a bias without a weight gets a weight of ones before it."""
    if weight is None and bias is not None:
        weight = full(x, 1.0, shape)
    return [v for v in (weight, bias) if v is not None]


def layer_norm(
    x: T, normalized_shape: int | Sequence[object], weight: T | None = None, bias: T | None = None, eps: float = 1e-5
) -> T:
    """Layer normalisation (Ba, Kiros and Hinton, 2016) over the last axes, whose shape is ``normalized_shape``."""
    sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    shape = tuple(as_dim(size, "layer_norm") for size in sizes)
    if not shape or x.type.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"layer_norm: the last axes of {x.type} are not {format_shape(shape)}",
            unequal=(x.type.shape[-len(shape) :], shape),
        )
    attrs = LayerNormAttrs(len(shape), float(eps))
    result: T = apply(LAYER_NORM, attrs, x, *_optional(x, weight, bias, shape))
    return result


def group_norm(x: T, num_groups: int, weight: T | None = None, bias: T | None = None, eps: float = 1e-5) -> T:
    """Group normalisation (Wu and He, 2018): the channels (axis 1) in ``num_groups`` groups, each normalised."""
    if isinstance(num_groups, bool) or not isinstance(num_groups, int) or num_groups < 1:
        raise OptionError(f"group_norm: num_groups must be a positive int, got {shown(num_groups)}")
    attrs = GroupNormAttrs(num_groups, float(eps))
    result: T = apply(GROUP_NORM, attrs, x, *_optional(x, weight, bias, x.type.shape[1:2]))
    return result


def batch_norm(
    x: AbstractTensor,
    running_mean: AbstractTensor | None,
    running_var: AbstractTensor | None,
    weight: AbstractTensor | None = None,
    bias: AbstractTensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> AbstractTensor:
    """Batch normalisation (Ioffe and Szegedy, 2015), as ``torch.nn.functional.batch_norm``.

    Parameters
    ----------
    x
        (N, C, ...).
    running_mean, running_var
        Statistics per channel, used unless ``training``. While training they are updated in place, by ``momentum``
        towards those of the batch (the variance unbiased), unless they are None.
    weight, bias
        Scale and shift per channel.
    training
        Normalise with the mean and (biased) variance of this batch.
    momentum, eps
        The share of the batch in the updated running statistics; the number added to the variance.
    """
    if x.type.rank == 1 and is_equal(x.type.shape[0], 0):  # as in PyTorch, an empty vector is returned
        return _affine(x, *(v if v is None else v[0] for v in (weight, bias)))
    if x.type.rank < 2:
        raise ShapeError(f"batch_norm: needs a batch and a channel axis, got {x.type}")
    if not training:
        if running_mean is None or running_var is None:
            raise OptionError("batch_norm: needs running_mean and running_var when it is not training")
        vectors = _optional(x, weight, bias, x.type.shape[1:2])
        return apply(BATCH_NORM, BatchNormAttrs(float(eps)), x, running_mean, running_var, *vectors)
    axes = tuple(axis for axis in range(x.type.rank) if axis != 1)
    return _with_batch_statistics("batch_norm", x, axes, running_mean, running_var, weight, bias, momentum, eps)


def instance_norm(
    x: AbstractTensor,
    running_mean: AbstractTensor | None = None,
    running_var: AbstractTensor | None = None,
    weight: AbstractTensor | None = None,
    bias: AbstractTensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> AbstractTensor:
    """Instance normalisation (Ulyanov et al., 2016): as :func:`batch_norm`, but each sample by itself."""
    if x.type.rank < 3:
        raise ShapeError(f"instance_norm: needs axes after the batch and channel axes, got {x.type}")
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, x.type.rank))
    return _with_batch_statistics("instance_norm", x, axes, running_mean, running_var, weight, bias, momentum, eps)


def _with_batch_statistics(
    op: str,
    x: AbstractTensor,
    axes: tuple[int, ...],
    running_mean: AbstractTensor | None,
    running_var: AbstractTensor | None,
    weight: AbstractTensor | None,
    bias: AbstractTensor | None,
    momentum: float,
    eps: float,
) -> AbstractTensor:
    shape, channels = x.type.shape, x.type.shape[1]
    for what, vector in zip(
        ("running mean", "running variance", "weight", "bias"), (running_mean, running_var, weight, bias), strict=True
    ):
        if vector is not None:
            _check_vector(op, what, vector.type, channels)
    count = product(shape[axis] for axis in axes)
    if count == 1:
        raise ShapeError(f"{op}: needs more than one value per channel for a variance, got {x.type}")
    y, mean, var = standardize(x, axes, eps, 2)
    if is_equal(count, 0):  # as in PyTorch: no values, and running statistics stay
        running_mean = running_var = None
    if running_mean is not None:
        _move(op, running_mean, stop_gradient(mean), momentum)
    if running_var is not None:
        _move(op, running_var, stop_gradient(var) * count / (count - 1), momentum)
    return _affine(y, *(v if v is None else _per_channel(v, len(shape)) for v in (weight, bias)))


def _move(op: str, running: AbstractTensor, batch: AbstractTensor, momentum: float) -> None:
    """Move running statistics towards those of a batch (averaged over samples if each has its own)."""
    if not hasattr(running, "copy_"):
        raise OptionError(f"{op}: running statistics are updated in place, so they must be tensors")
    batch = reshape(batch.mean(0), running.type.shape)
    running.copy_(running * (1 - momentum) + batch * momentum)
