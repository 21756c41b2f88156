"""Checks of arguments. Each returns the value as a plain Python one, or raises an :class:`OptionError` that names the
function or module, the argument and the value that it got."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import OptionError

V = TypeVar("V")

IN_WORDS = {
    1: "one int", 2: "one int or two (vertical, horizontal)", 3: "one int or three (depth, vertical, horizontal)"
}  # fmt: skip
"""What to give for each axis of an image, by the number of axes."""

LARGEST = (1 << 63) - 1
"""The largest size, stride or index: memory has no larger addresses."""

# made once: `isinstance(x, a | b)` would make the union at each call, which takes ten times as long as the check
_BOOLS = (bool, np.bool_)
_NUMBERS = (int, float)
_TEXTS = (str, bytes)
_LISTS = (tuple, list)


def shown(value: object) -> str:
    """Any value as text for a message: on one line, and not too long."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an object's own __repr__ may fail in any way
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:76]} ..."


def named(text: str) -> str:
    """A name or path for a message: as it is, or quoted if it is too long or has characters that cannot be printed."""
    return text if text.isprintable() and len(text) <= 1000 else shown(text)


def placed(owner: str, names: Sequence[str], args: Sequence[V], kwargs: Mapping[str, V]) -> list[V]:
    """Inputs in the order of ``names``, some given by position and the rest by name."""
    unknown = [name for name in kwargs if name not in names[len(args) :]]
    if len(args) > len(names) or unknown:
        raise OptionError(
            f"{owner}: expected the inputs {listed(names)}, got {len(args)} by position"
            + (f" and {listed(unknown)}" if unknown else "")
        )
    missing = [name for name in names[len(args) :] if name not in kwargs]
    if missing:
        raise OptionError(f"{owner}: the inputs {listed(missing)} are missing")
    return [*args, *(kwargs[name] for name in names[len(args) :])]


def listed(names: Iterable[str]) -> str:
    """Names as a list for a message."""
    return ", ".join(map(named, names))


def integer(owner: str, name: str, value: object, least: int = 1, most: int = LARGEST) -> int:
    """An int between ``least`` and ``most``; bools and floats are refused."""
    kind = "an int" if least == -most else f"an int of at least {least}"
    return _bounded(owner, name, kind, value, least, most)


def _bounded(owner: str, name: str, kind: str, value: object, least: int, most: int) -> int:
    found: int = value if type(value) is int else _indexed(owner, name, kind, value)
    if found < least:
        bound = "positive" if least == 1 else f"at least {least}"
        raise OptionError(f"{owner}: {name} must be {bound}, got {found}")
    if found > most:
        raise OptionError(f"{owner}: {name} must be at most {most}, got {shown(found)}")
    return found


def _indexed(owner: str, name: str, kind: str, value: object) -> int:
    """A value other than a plain int, such as a NumPy integer, as an int."""
    index = None if isinstance(value, _BOOLS) else getattr(type(value), "__index__", None)
    if index is None:
        raise OptionError(f"{owner}: {name} must be {kind}, got {shown(value)}")
    try:
        return int(index(value))
    except TypeError as error:  # an array of several elements
        raise OptionError(f"{owner}: {name} must be {kind}, got {shown(value)}") from error


def per_axis(owner: str, name: str, value: Any, least: int, axes: int = 2, *, single: bool = True) -> tuple[int, ...]:
    """An int for all axes of an image, or an int for each; with ``single`` also a sequence of one int."""
    kind = "an int or a tuple of ints"
    if type(value) is int or not (isinstance(value, _LISTS) or _is_sequence(value)):
        return (_bounded(owner, name, kind, value, least, LARGEST),) * axes
    if single and len(value) == 1:
        value = (value[0],) * axes
    if len(value) != axes:
        raise OptionError(f"{owner}: {name} must be {IN_WORDS[axes]}, got {len(value)}: {shown(tuple(value))}")
    return tuple(_bounded(owner, name, kind, one, least, LARGEST) for one in value)


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, _TEXTS)


def number(
    owner: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    below: float | None = None,
    nan: bool = False,
) -> float:
    """A real number (or a tensor or array of one element) between ``low`` and ``high``; NaN is refused unless ``nan``.

    With ``below`` it must be less than that, so that ``below=inf`` asks for a finite number.
    """
    scalar = value
    if not isinstance(value, _NUMBERS) and hasattr(type(value), "item"):
        scalar = value.item() if np.prod(np.shape(value)) == 1 else None
    if isinstance(scalar, bool) or not isinstance(scalar, _NUMBERS):
        raise OptionError(f"{owner}: {name} is a number, got {shown(value)}")
    try:
        found = float(scalar)
    except OverflowError as error:
        raise OptionError(f"{owner}: {name} is larger than any floating-point number: {shown(value)}") from error
    if nan and math.isnan(found):
        return found
    if not low <= found <= high or (below is not None and not -math.inf < found < below):
        raise OptionError(f"{owner}: {name} must {_bounds(low, high, below)}, got {shown(value)}")
    return found


def _bounds(low: float, high: float, below: float | None) -> str:
    if below is None:
        return f"lie between {low:g} and {high:g}"
    if low == -math.inf:
        return "be finite" if below == math.inf else f"be finite and below {below:g}"
    return f"be at least {low:g}" + (f" and below {below:g}" if below < math.inf else " and finite")


def mapping(owner: str, name: str, value: object) -> Mapping[Any, Any]:
    """A dict, or another mapping."""
    if not isinstance(value, Mapping):
        raise OptionError(f"{owner}: {name} is a dict, got {shown(value)}")
    return value


def several(owner: str, name: str, value: object) -> list[Any]:
    """The items of an iterable other than a string."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise OptionError(f"{owner}: {name} is a list or another iterable, got {shown(value)}")
    return list(value)


def function(owner: str, name: str, value: object) -> Any:
    """A callable."""
    if not callable(value):
        raise OptionError(f"{owner}: {name} is a function, got {shown(value)}")
    return value


def text(owner: str, name: str, value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise OptionError(f"{owner}: {name} is a string, got {shown(value)}")
    return value


def flag(owner: str, name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, _BOOLS):
        raise OptionError(f"{owner}: {name} is True or False, got {shown(value)}")
    return bool(value)


def choice(owner: str, name: str, value: object, options: Sequence[str]) -> str:
    """One of the options."""
    if not isinstance(value, str) or value not in options:
        listed = ", ".join(map(repr, options))
        raise OptionError(f"{owner}: {name} is one of {listed}, got {shown(value)}")
    return value


def is_device(value: object) -> bool:
    """Whether a value names a device rather than an element type."""
    return type(value).__name__ == "device" or (
        isinstance(value, str) and value.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "hip", "meta", "gpu", "tpu")
    )


def device(name: object = "cpu") -> str:
    """The name of the only device, the processor; for programs that pass a device around."""
    check_device("device", name)
    return "cpu"


def check_device(owner: str, value: object) -> None:
    """Raise for any device other than the processor."""
    if value is None or (is_device(value) and str(value).split(":")[0] == "cpu"):
        return
    raise OptionError(
        f'{owner}: there is no device {shown(value)}; everything runs on the processor: leave device out, or give "cpu"'
    )


_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def user_stacklevel() -> int:
    """The ``stacklevel`` for the caller's warning to point at the innermost frame outside this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
