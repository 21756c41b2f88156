"""The fields of attribute classes: their declared types, and checks of values against them."""

from __future__ import annotations

import dataclasses
import types as python_types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from ..errors import GraphError, LucidError, OptionError
from .dims import SymDim
from .opdef import Attrs, OpDef

# what the string aliases of dims.py and types.py stand for, as objects that can be taken apart
_ALIASES = {"Dim": int | SymDim, "Shape": tuple[int | SymDim, ...], "DType": np.dtype}


@cache
def declared_fields(cls: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Field name to declared kind of an attribute class, and the fields that have no default."""
    hints = typing.get_type_hints(cls, localns=_ALIASES)
    fields = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    required = frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)
    return {f.name: hints[f.name] for f in fields}, required


def fits(value: object, hint: object) -> bool:
    """Whether an attribute value has the kind that a field declares."""
    value = plain(value)
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, python_types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is tuple:
        if type(value) is not tuple:
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint is float:
        return type(value) in (int, float)
    if hint in (bool, int, str):
        return type(value) is hint
    cls = origin or hint
    return isinstance(cls, type) and not getattr(cls, "_is_protocol", False) and isinstance(value, cls)


def check_attrs(op: OpDef, attrs: Attrs) -> None:
    """Check that each attribute of a node has the kind that its class declares, except objects described by a protocol.

    Type hints are not enforced: without this check the ``__str__`` of any user object could become source of a program.
    """
    hints, _ = declared_fields(type(attrs))  # type: ignore[arg-type]  # classes do hash
    for name, value in attrs.items():
        if not getattr(hints[name], "_is_protocol", False) and not fits(value, hints[name]):
            raise OptionError(
                f"{op.name}: its {name} is declared {_hint(hints[name])} and cannot be a {type(value).__name__}"
            )


def _hint(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def build_attrs(cls: type[Attrs], values: Mapping[str, object]) -> Attrs:
    """An instance of an attribute class from decoded values, each checked against its field."""
    hints, required = declared_fields(cls)  # type: ignore[arg-type]  # classes do hash
    values = dict(values)
    for name, parts in cls.joined.items():
        if name not in values and values.keys() >= set(parts):
            values[name] = tuple(values.pop(part) for part in parts)
    for name, value in values.items():
        if name not in hints:
            known = f"has {', '.join(hints)}" if hints else "has none"
            raise GraphError(f"unknown attribute {name!r}; {cls.__name__} {known}")
        if not fits(value, hints[name]):
            raise GraphError(
                f"the attribute {name!r} of {cls.__name__} cannot be {repr(value)[:60]}; "
                f"it is declared {_hint(hints[name])}"
            )
    if not required <= values.keys():
        raise GraphError(f"the attributes {sorted(required - values.keys())} of {cls.__name__} are missing")
    try:
        return cls(**values)
    except LucidError as error:
        raise GraphError(f"{cls.__name__}: {error}") from error


def attrs_class(name: str) -> type[Attrs]:
    """The attribute class called ``name``, for attributes inside attributes."""
    found: list[type[Attrs]] = []
    stack: list[type[Attrs]] = [Attrs]
    while stack:
        cls = stack.pop()
        found += [cls] if cls.__name__ == name else []
        stack += cls.__subclasses__()
    if len(set(found)) != 1:
        raise GraphError(f"{'unknown' if not found else 'ambiguous'} attribute class {name!r}")
    return found[0]


def plain(value: object) -> Any:
    """A NumPy scalar as the Python number it equals; anything else unchanged."""
    return value.item() if isinstance(value, np.generic) else value
