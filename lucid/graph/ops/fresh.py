"""Tensors with the element type of another: ``x.new_zeros(2, 3)``."""

from __future__ import annotations

from collections.abc import Sequence

from ...base.checks import check_device, shown
from ...errors import OptionError, ShapeError
from ..opdef import AbstractTensor
from ..public import as_array
from ..types import DType, as_dtype
from .promotion import check_fits
from .shape import as_shape
from .source import full


def _filled(
    name: str, x: AbstractTensor, value: float, size: Sequence[object], dtype: DType | None, device: object
) -> AbstractTensor:
    check_device(name, device)
    shape, kind = as_shape(name, tuple(size)), dtype or x.type.dtype
    if any(isinstance(dim, int) and dim < 0 for dim in shape):
        raise ShapeError(f"{name}: sizes must not be negative, got {shape}")
    check_fits(value, kind)
    return full(x, value, shape, kind)


def new_zeros(x: AbstractTensor, *size: object, dtype: DType | None = None, device: object = None) -> AbstractTensor:
    """Zeros of a size, of the element type of ``x`` where there is no ``dtype``."""
    return _filled("new_zeros", x, 0, size, dtype, device)


def new_empty(x: AbstractTensor, *size: object, dtype: DType | None = None, device: object = None) -> AbstractTensor:
    """What is to be written over: zeros, as of :func:`new_zeros`."""
    return _filled("new_empty", x, 0, size, dtype, device)


def new_ones(x: AbstractTensor, *size: object, dtype: DType | None = None, device: object = None) -> AbstractTensor:
    """Ones of a size, of the element type of ``x`` where there is no ``dtype``."""
    return _filled("new_ones", x, 1, size, dtype, device)


def new_full(
    x: AbstractTensor, size: object, fill_value: float, dtype: DType | None = None, device: object = None
) -> AbstractTensor:
    """``fill_value`` in a size, of the element type of ``x`` where there is no ``dtype``."""
    return _filled("new_full", x, fill_value, (size,), dtype, device)


def new_tensor(x: AbstractTensor, data: object, dtype: DType | None = None, device: object = None) -> AbstractTensor:
    """A copy of numbers or an array, of the element type of ``x`` where there is no ``dtype``."""
    check_device("new_tensor", device)
    if isinstance(data, AbstractTensor):
        raise OptionError(f"new_tensor: takes numbers or an array, got {shown(data)}; t.clone() copies a tensor")
    return x.constant(as_array("new_tensor", data, as_dtype(dtype or x.type.dtype)))
