"""Padding, with a constant or with elements of the tensor itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.checks import shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least
from ..batching import prepend_axis
from ..dims import Dim, as_dim
from ..opdef import Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..types import Shape, TensorType, format_shape, is_float
from .slices import take_slice

MODES = ("constant", "reflect", "replicate", "circular")


@attributes
class PadAttrs(Attrs):
    """``before`` and ``after`` say, per axis, how many elements are added; ``value`` is for mode "constant"."""

    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    mode: str = "constant"
    value: bool | int | float = 0.0


@attributes
class PadGradAttrs(Attrs):
    """As :class:`PadAttrs`; ``shape`` is that of the tensor that was padded."""

    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    mode: str
    shape: Shape


def _padded(attrs: PadAttrs | PadGradAttrs, shape: Shape) -> Shape:
    if not len(attrs.before) == len(attrs.after) == len(shape):
        raise ShapeError(f"Pad: {len(attrs.before)} paddings for {format_shape(shape)}")
    for axis, (before, after, dim) in enumerate(zip(attrs.before, attrs.after, shape, strict=True)):
        known = [amount for amount in (before, after) if isinstance(amount, int)]
        if min(known, default=0) < 0:
            raise ShapeError(f"Pad: the paddings of axis {axis} must not be negative, got {before} and {after}")
        limit = {"constant": None, "reflect": dim - 1, "replicate": None, "circular": dim}[attrs.mode]
        if attrs.mode == "replicate" and dim == 0 and before + after != 0:
            raise ShapeError(f"Pad: axis {axis} is empty, so there is nothing to replicate")
        if isinstance(limit, int) and max(known, default=0) > max(limit, 0):
            raise ShapeError(
                f"Pad: mode {attrs.mode} can add at most {max(limit, 0)} elements to axis {axis} of size {dim}, "
                f"got {before} and {after}"
            )
    return tuple(b + dim + a for b, dim, a in zip(attrs.before, shape, attrs.after, strict=True))


def _pad_infer(attrs: PadAttrs, x: TensorType) -> TensorType:
    if attrs.mode not in MODES:
        raise OptionError(f"Pad: mode is one of {', '.join(MODES)}, got {attrs.mode!r}")
    return x.with_shape(_padded(attrs, x.shape))


def _pad_gradient(c: GradContext[PadAttrs]) -> Gradients:
    a, shape = c.attrs, c.inputs[0].type.shape
    if a.mode == "constant":
        return [take_slice(c.dy, a.before, shape)]
    return [apply(PAD_GRAD, PadGradAttrs(a.before, a.after, a.mode, shape), c.dy)]


def _pad_grad_infer(attrs: PadGradAttrs, dy: TensorType) -> TensorType:
    if attrs.mode not in MODES:
        raise OptionError(f"PadGrad: mode is one of {', '.join(MODES)}, got {attrs.mode!r}")
    if dy.shape != _padded(attrs, attrs.shape):
        raise ShapeError(f"PadGrad: the gradient {dy} does not have the padded shape")
    return dy.with_shape(attrs.shape)


def _pad_grad_gradient(c: GradContext[PadGradAttrs]) -> Gradients:
    a = c.attrs
    return [apply(PAD, PadAttrs(a.before, a.after, a.mode), c.dy)]


PAD = register(OpDef("Pad", _pad_infer, _pad_gradient, attrs=PadAttrs, batch=prepend_axis, family="shape"))
#: The transpose of ``Pad``: each padded element's gradient is added to the element it was copied from.
PAD_GRAD = register(
    OpDef(
        "PadGrad", _pad_grad_infer, _pad_grad_gradient, attrs=PadGradAttrs, inputs=("dy",), outputs=("dx",),
        batch=prepend_axis, family="gradient",
    )
)  # fmt: skip


def pad(x: T, pad: Sequence[Dim], mode: str = "constant", value: float | None = None) -> T:
    """``x`` with elements added at its ends (``torch.nn.functional.pad``).

    Parameters
    ----------
    x
        Any tensor.
    pad
        ``(before, after)`` of the last axis, then of the last but one, and so on. Negative ones take
        elements away.
    mode
        "constant" adds ``value`` (0); "reflect" mirrors without repeating the edge; "replicate" repeats
        the edge; "circular" goes on at the other end.
    value
        For mode "constant" only.
    """
    rank = x.type.rank
    if mode not in MODES:
        raise OptionError(f"pad: mode is one of {', '.join(MODES)}, got {shown(mode)}")
    if mode != "constant" and value is not None:
        raise OptionError(f"pad: value is for mode constant only, not for {mode}")
    amounts = [as_dim(amount, "pad") for amount in pad]
    if len(amounts) % 2 or len(amounts) > 2 * rank:
        raise ShapeError(f"pad: needs pairs of ints for at most {rank} axes, got {tuple(pad)} for {x.type}")
    number = 0 if value is None else value
    if isinstance(number, float) and not is_float(x.type.dtype):
        if not number.is_integer():
            raise DTypeError(f"pad: the value {number} does not fit into {x.type.dtype.name}")
        number = int(number)
    untouched: list[Dim] = [0] * (rank - len(amounts) // 2)
    before, after = untouched + amounts[0::2][::-1], untouched + amounts[1::2][::-1]
    x = _crop(x, before, after)
    added = [tuple(_part(amount, 1) for amount in side) for side in (before, after)]
    if not any(any(side) for side in added):
        return x
    kept = float(number) if is_float(x.type.dtype) else bool(number) if x.type.dtype.kind == "b" else int(number)
    result: T = apply(PAD, PadAttrs(added[0], added[1], mode, kept), x)
    return result


def _part(amount: Dim, sign: int) -> Dim:
    """What is added (1) or taken away (-1) of an axis."""
    return amount * sign if is_at_least(amount, 0, likely=True) is (sign > 0) else 0


def _crop(x: T, before: Sequence[Dim], after: Sequence[Dim]) -> T:
    """``x`` less what negative paddings take away."""
    starts, ends = ([_part(amount, -1) for amount in side] for side in (before, after))
    sizes = [dim - a - b for dim, a, b in zip(x.type.shape, starts, ends, strict=True)]
    return take_slice(x, starts, sizes)
