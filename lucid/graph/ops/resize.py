"""Resizing along any axes: nearest, linear, cubic and area, with every convention for pixel positions."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from ...base.checks import number, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..batching import Batch, Outputs
from ..dims import Dim, as_dim
from ..opdef import Attrs, GradContext, Gradients, OpDef, T, apply, attributes, register
from ..resampling import COORDINATES, MODES, ROUNDINGS, Resampling
from ..types import Shape, TensorType, format_shape, is_float


@attributes
class ResizeAttrs(Attrs):
    """How an input is resized; the options are explained in :mod:`lucid.graph.resampling`.

    Attributes
    ----------
    axes, sizes
        The axes to resize, and their new sizes.
    scales
        For each axis the factor of its coordinates; None for the ratio of the sizes.
    crop
        For each axis the part of it that is used, from 0 to 1; empty for all of it.
    fill
        The value at coordinates outside the original axis.
    """

    axes: tuple[int, ...]
    sizes: tuple[Dim, ...]
    scales: tuple[float | None, ...]
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    inside: bool = False
    antialias: bool = False
    crop: tuple[tuple[float, float], ...] = ()
    fill: float = 0.0

    @property
    def how(self) -> Resampling:
        """The options that are the same for all axes."""
        return Resampling(self.mode, self.coordinates, self.rounding, self.cubic, self.inside, self.antialias)


@attributes
class ResizeGradAttrs(Attrs):
    """``forward`` has the attributes of the resize, ``shape`` is that of its input."""

    forward: ResizeAttrs
    shape: Shape


def _resized(a: ResizeAttrs, shape: Shape) -> Shape:
    for name, value, known in (("mode", a.mode, MODES), ("rounding", a.rounding, ROUNDINGS)):
        if value not in known:
            raise OptionError(f"Resize: {name} is one of {', '.join(known)}, got {value!r}")
    if a.coordinates not in COORDINATES:
        raise OptionError(f"Resize: coordinates is one of {', '.join(COORDINATES)}, got {a.coordinates!r}")
    counts = {len(a.axes), len(a.sizes), len(a.scales), len(a.crop) or len(a.axes)}
    if len(counts) > 1 or len(set(a.axes)) < len(a.axes) or not all(0 <= axis < len(shape) for axis in a.axes):
        raise ShapeError(f"Resize: axes {a.axes}, sizes {a.sizes} and scales {a.scales} for {format_shape(shape)}")
    made = list(shape)
    for axis, size, scale in zip(a.axes, a.sizes, a.scales, strict=True):
        if any(isinstance(one, int) and one < 1 for one in (size, shape[axis])):
            raise ShapeError(f"Resize: axis {axis} of {format_shape(shape)} cannot be made one of {size} elements")
        if scale is not None and not scale > 0:
            raise OptionError(f"Resize: a scale is larger than 0, got {scale}")
        made[axis] = size
    return tuple(made)


def _resize_infer(attrs: ResizeAttrs, x: TensorType) -> TensorType:
    if attrs.mode != "nearest" and not is_float(x.dtype):
        raise DTypeError(f"Resize: mode {attrs.mode} needs numbers of a floating-point type, got {x}")
    return x.with_shape(_resized(attrs, x.shape))


def _resize_gradient(c: GradContext[ResizeAttrs]) -> Gradients:
    return [apply(RESIZE_GRAD, ResizeGradAttrs(c.attrs, c.inputs[0].type.shape), c.dy)]


def _resize_grad_infer(attrs: ResizeGradAttrs, dy: TensorType) -> TensorType:
    if not is_float(dy.dtype) or dy.shape != _resized(attrs.forward, attrs.shape):
        raise ShapeError(f"ResizeGrad: the gradient {dy} is not of what {format_shape(attrs.shape)} was resized to")
    return dy.with_shape(attrs.shape)


def _resize_grad_gradient(c: GradContext[ResizeGradAttrs]) -> Gradients:
    without = replace(c.attrs.forward, fill=0.0)
    return [apply(RESIZE, without, c.dy)]


def _moved(attrs: ResizeAttrs) -> ResizeAttrs:
    return replace(attrs, axes=tuple(axis + 1 for axis in attrs.axes))


def _grad_batch(batch: Batch[ResizeGradAttrs]) -> Outputs:
    return batch.apply(ResizeGradAttrs(_moved(batch.attrs.forward), (batch.size, *batch.attrs.shape)), *batch.inputs)


RESIZE = register(
    OpDef(
        "Resize", _resize_infer, _resize_gradient, attrs=ResizeAttrs,
        batch=lambda batch: batch.apply(_moved(batch.attrs), *batch.inputs), channels_last=True, family="shape",
    )
)  # fmt: skip
#: The transpose of ``Resize``: each element's gradient goes to those from which it was computed, by their weights.
RESIZE_GRAD = register(
    OpDef(
        "ResizeGrad", _resize_grad_infer, _resize_grad_gradient, attrs=ResizeGradAttrs, inputs=("dy",),
        outputs=("dx",), batch=_grad_batch, channels_last=True, family="gradient",
    )
)  # fmt: skip


def resize(x: T, attrs: ResizeAttrs) -> T:
    """``x`` resized; ``x`` itself if no axis changes."""
    cropped = attrs.coordinates == "tf_crop_and_resize"
    shape = x.type.shape
    kept = [
        i for i, (axis, size, scale) in enumerate(zip(attrs.axes, attrs.sizes, attrs.scales, strict=True))
        if cropped or size != shape[axis] or scale not in (None, 1.0)
    ]  # fmt: skip
    if not kept:
        return x

    chosen = replace(
        attrs, axes=tuple(attrs.axes[i] for i in kept), sizes=tuple(attrs.sizes[i] for i in kept),
        scales=tuple(attrs.scales[i] for i in kept), crop=tuple(attrs.crop[i] for i in kept) if attrs.crop else (),
    )  # fmt: skip
    result: T = apply(RESIZE, chosen, x)
    return result


FINEST = 10**6
"""Scales are rounded to fractions with denominators up to this, so that 1 / 3 is exact."""


def simple_fraction(scale: float) -> Fraction:
    """The simple fraction that a float scale approximates."""
    return Fraction(scale).limit_denominator(FINEST)


def scaled(size: Dim, scale: float) -> Dim:
    """``floor(size * scale)``."""
    ratio = simple_fraction(scale)
    return size * ratio.numerator // ratio.denominator


FILTERS = {
    "nearest": ("nearest", (1, 2, 3)), "nearest-exact": ("nearest", (1, 2, 3)), "area": ("area", (1, 2, 3)),
    "linear": ("linear", (1,)), "bilinear": ("linear", (2,)), "trilinear": ("linear", (3,)), "bicubic": ("cubic", (2,)),
}  # fmt: skip
"""PyTorch's modes: ours, and for images of how many axes."""


def interpolate(
    x: T,
    size: object = None,
    scale_factor: object = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> T:
    """Resize images (``torch.nn.functional.interpolate``).

    Parameters
    ----------
    x
        Shape (N, C, L), (N, C, H, W) or (N, C, D, H, W).
    size
        The new size of the axes after the channels: an int, or one for each.
    scale_factor
        Instead of ``size``, the factor of these axes (the product is rounded down): a number, or one for each.
    mode
        "nearest", "nearest-exact" or "area" for images of any number of axes, "linear" (one axis), "bilinear" and
        "bicubic" (two), "trilinear" (three).
    align_corners
        For the linear modes and the cubic: the centres of the corner pixels stay where they are.
    recompute_scale_factor
        Compute positions from the rounded sizes, not from ``scale_factor``.
    antialias
        For "bilinear" and "bicubic": use wider filters where an image gets smaller.
    """
    ours, count = _filter(mode, x.type), x.type.rank - 2
    if align_corners is not None and ours not in ("linear", "cubic"):
        raise OptionError(f"interpolate: align_corners is for the linear modes and the cubic, not for {mode}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise OptionError(f"interpolate: antialias is for bilinear and bicubic, not for {mode}")
    if (size is None) == (scale_factor is None):
        raise OptionError("interpolate: give either size or scale_factor")
    if size is not None:
        sizes = tuple(as_dim(one, "interpolate: size") for one in _each("size", size, count))
        scales: tuple[float | None, ...] = (None,) * count
    else:
        given = _each("scale_factor", scale_factor, count)
        factors = [number("interpolate", "scale_factor", one, 0, below=math.inf) for one in given]
        sizes = tuple(scaled(dim, factor) for dim, factor in zip(x.type.shape[2:], factors, strict=True))
        scales = (None,) * count if recompute_scale_factor or align_corners else tuple(factors)
    places = {"nearest": "asymmetric", "area": "asymmetric"}.get(mode, "half_pixel")
    attrs = ResizeAttrs(
        tuple(range(2, count + 2)), sizes, scales, ours, "align_corners" if align_corners else places,
        "floor" if mode == "nearest" else "round_prefer_ceil", -0.5 if antialias else -0.75, antialias, antialias,
    )  # fmt: skip
    return resize(x, attrs)


def _filter(mode: str, x: TensorType) -> str:
    """Our name for a mode of PyTorch, which must suit the number of axes."""
    if mode not in FILTERS:
        raise OptionError(f"interpolate: mode is one of {', '.join(FILTERS)}, got {shown(mode)}")
    ours, ranks = FILTERS[mode]
    if x.rank - 2 not in ranks:
        listed = " or ".join(str(rank + 2) for rank in ranks)
        raise ShapeError(f"interpolate: mode {mode} takes a tensor of {listed} axes, got {x}")
    return ours


def _each(name: str, value: object, count: int) -> tuple[object, ...]:
    """One for each axis."""
    found = tuple(value) if isinstance(value, list | tuple) else (value,) * count
    if len(found) != count:
        raise OptionError(f"interpolate: {name} is one number or {count}, got {shown(value)}")
    return found
