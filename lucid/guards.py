"""What a trace depends on besides its arguments, as one hashable value.

The structure clock tells whether *anything* was set on any module since the last call; only then is the
signature computed. Attributes that hold lists, dicts or arrays can change without a tick, so where a
model has any the signature is computed at every call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .arguments import static_key
from .errors import TraceError
from .nn.module import Module
from .tensor import Tensor

_INTERNAL = frozenset({"_parameters", "_buffers", "_transient", "_modules", "_pre_hooks", "_hooks"})


def module_signature(modules: Iterable[Module]) -> tuple[tuple[Any, ...], bool]:
    """The signature of modules, and whether it may change without a tick of the structure clock."""
    signature: list[Any] = []
    volatile = False
    for module in modules:
        tensors = [*module._parameters.items(), *module._buffers.items()]
        signature.append(id(module))
        signature.extend((name, id(t), t.dtype, t.requires_grad) for name, t in tensors if t is not None)
        signature.extend((name, id(child)) for name, child in module._modules.items())
        signature.extend(map(id, (*module._pre_hooks.values(), *module._hooks.values())))
        for name, value in module.__dict__.items():
            if name not in _INTERNAL:
                key, mutable = snapshot(value)
                signature.append((name, key))
                volatile = volatile or mutable
    return tuple(signature), volatile


def snapshot(value: Any) -> tuple[Any, bool]:
    """A hashable picture of a value, and whether the value can change without being set anew."""
    if isinstance(value, Tensor):
        return (id(value), value.dtype, value.requires_grad), False
    if isinstance(value, np.ndarray):
        return ("array", value.dtype, value.shape, value.tobytes()), True
    if isinstance(value, tuple):
        parts = [snapshot(item) for item in value]
        return ("tuple", *(key for key, _ in parts)), any(mutable for _, mutable in parts)
    if isinstance(value, list):
        return ("list", *(snapshot(item)[0] for item in value)), True
    if isinstance(value, set):
        return ("set", frozenset(snapshot(item)[0] for item in value)), True
    if isinstance(value, dict):
        return ("dict", *((repr(key), snapshot(item)[0]) for key, item in value.items())), True
    try:
        return static_key(value), False
    except TraceError:
        return _object_snapshot(value)


def _object_snapshot(value: Any) -> tuple[Any, bool]:
    """An object of the user's: its identity, and its attributes where they are plain."""
    fields = getattr(value, "__dict__", None)
    if not fields or isinstance(value, Module):
        return id(value), False
    plain = {k: v for k, v in fields.items() if isinstance(v, bool | int | float | str | list | tuple | None)}
    return (id(value), repr(sorted(plain.items()))), True


def function_snapshot(function: Callable[..., Any], seen: frozenset[int] = frozenset()) -> tuple[Any, ...]:
    """Defaults, closure and the plain globals that a Python function (and those it closes over) reads."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None or id(function) in seen:
        return ()
    cells = [cell.cell_contents for cell in function.__closure__ or () if not _empty(cell)]
    space: dict[str, Any] = function.__globals__
    read = [space[n] for n in code.co_names if isinstance(space.get(n), bool | int | float | str | list | dict)]
    values = [*(function.__defaults__ or ()), *cells, *read]
    inner = [function_snapshot(cell, seen | {id(function)}) for cell in cells if inspect.isroutine(cell)]
    return (*(snapshot(value)[0] for value in values), *inner)


def _empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return True
    return False
