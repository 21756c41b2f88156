"""Checks of constructor arguments; errors name the module and the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar, cast

from ..base import checks
from ..errors import OptionError, ShapeError
from ..graph import public
from ..graph.ops.windows import AXES
from ..graph.types import DType, as_dtype, float32
from ..tensor.tensor import Tensor

V = TypeVar("V")


def size(owner: object, name: str, value: object, least: int = 1) -> int:
    """An int of at least ``least``."""
    return checks.integer(type(owner).__name__, name, value, least)


MOST_LAYERS = 1 << 16
"""A limit, as more layers would be created for minutes before memory runs out."""


def layers(owner: object, value: object) -> int:
    """A number of layers."""
    return checks.integer(type(owner).__name__, "num_layers", value, 1, MOST_LAYERS)


def sizes(
    owner: object, name: str, value: object, least: int = 1, axes: int = 2, *, single: bool = True
) -> tuple[int, ...]:
    """Sizes for all axes of an image: one int for all, or one for each."""
    return checks.per_axis(type(owner).__name__, name, value, least, axes, single=single)


def last_axes(owner: object, name: str, value: object) -> tuple[int, ...]:
    """The sizes of the last axes, at least one: an int, or several."""
    shape = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not shape:
        raise OptionError(f"{type(owner).__name__}: {name} must name at least one axis")
    return tuple(size(owner, name, one) for one in shape)


def flag(owner: object, name: str, value: object) -> bool:
    """True or False."""
    return checks.flag(type(owner).__name__, name, value)


def real(owner: object, name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A number between ``low`` and ``high``, both included."""
    return checks.number(type(owner).__name__, name, value, low, high)


def each(owner: object, name: str, value: object, check: Callable[[object, str, object], V]) -> V | tuple[V, ...]:
    """Check one value, or one for each axis, with ``check``."""
    if isinstance(value, list | tuple):
        return tuple(check(owner, name, one) for one in value)
    return check(owner, name, value)


def parameter_type(owner: object, device: object, dtype: object) -> DType:
    """The element type of a module's parameters; the device must be "cpu"."""
    checks.check_device(type(owner).__name__, device)
    return float32 if dtype is None else as_dtype(dtype)


def tensor(owner: object, x: object) -> Tensor:
    """An input as a tensor."""
    return cast(Tensor, public.tensor(type(owner).__name__, "the input", x, None))


def images(owner: object, x: object, axes: int) -> Tensor:
    """An image with ``axes`` axes, or a batch of images, as a tensor."""
    found = tensor(owner, x)
    if found.type.rank not in (1 + axes, 2 + axes):
        batch = AXES[axes]
        raise ShapeError(
            f"{type(owner).__name__}: needs a tensor {batch} or {batch.replace('N, ', '')}, got {found.type}"
        )
    return found


def choice(owner: object, name: str, value: object, *options: str) -> str:
    """One of the options."""
    return checks.choice(type(owner).__name__, name, value, options)


def divides(owner: object, divisor: str, by: int, **named: int) -> None:
    """Raise unless ``by`` divides each of the named numbers."""
    for name, value in named.items():
        if value % by:
            raise OptionError(f"{type(owner).__name__}: {divisor} {by} does not divide {name} {value}")
