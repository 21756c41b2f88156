"""Symbols, and the tracer that names what a module computes while it runs once.

A :class:`Symbol` is a value of a graph under construction that can be computed with. Gradient rules
and decompositions are written with symbols; a traced model's tensors carry one each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from ..base.arrays import Array
from ..base.lazy import pathlib
from ..errors import GraphError, LucidError, TraceError
from .builder import Builder, printable, snake_case
from .dims import Dim, SymDim
from .ir import Origin, Value
from .opdef import Attrs, ConstArray, OpDef
from .operators import Operators
from .ops.source import CONSTANT, ConstantAttrs
from .types import TensorType

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STANDARD = os.path.dirname(os.__file__) + os.sep

PARTS = ("lucid", "numpy", "networkx", "threadpoolctl", "safetensors", "graphviz")
"""Lucid, and what it is built on."""


class Symbol(Operators["Symbol"]):
    """One value of a graph under construction."""

    __slots__ = ("tracer", "value")

    def __init__(self, tracer: Tracer, value: Value) -> None:
        self.tracer = tracer
        self.value = value

    @property
    def type(self) -> TensorType:
        return self.tracer.builder.type(self.value)

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[Symbol, ...]:
        return self.tracer.emit(op, attrs, inputs)

    def constant(self, array: Array) -> Symbol:
        return self.tracer.emit(CONSTANT, ConstantAttrs(ConstArray(array)))[0]

    def __repr__(self) -> str:
        return f"<Symbol {self.value}: {self.type}>"


class Tracer:
    """Emits nodes for symbols, with the module path and the user's line as their origin.

    Parameters
    ----------
    builder
        Where the nodes go.
    locate
        Record the user's file and line with every node.

    Attributes
    ----------
    scopes
        Paths of the modules that are running, the innermost last: nodes belong to it.
    """

    def __init__(self, builder: Builder, *, locate: bool = False) -> None:
        self.builder = builder
        self.locate = locate
        self.scopes: list[str] = []
        self.origin: Origin | None = None

    def symbol(self, value: Value) -> Symbol:
        return Symbol(self, value)

    @contextmanager
    def at(self, origin: Origin) -> Iterator[None]:
        """Nodes emitted inside have this origin."""
        before, self.origin = self.origin, origin
        try:
            yield
        finally:
            self.origin = before

    def emit(
        self, op: OpDef, attrs: Attrs, inputs: Sequence[object] = (), name: str | None = None
    ) -> tuple[Symbol, ...]:
        """Apply ``op`` to symbols of this tracer (arrays become constants)."""
        values = [self._value(op, x) for x in inputs]
        origin = self.origin
        if origin is None:
            scope = self.scopes[-1] if self.scopes else ""
            origin = Origin((printable(scope),) if scope else (), (user_location(),) if self.locate else ())
        name = name or ".".join([*origin.modules[:1], snake_case(op.name)])
        try:
            outputs = self.builder.emit(op, attrs, values, name=name, origin=origin)
        except LucidError as error:
            if str(origin):
                error.add_note(f"in {origin}")
            raise
        return tuple(Symbol(self, value) for value in outputs)

    def _value(self, op: OpDef, x: object) -> Value:
        if isinstance(x, Symbol):
            if x.tracer.builder is not self.builder:
                raise GraphError(f"{op.name}: its inputs belong to two different graphs")
            return x.value
        if isinstance(x, np.ndarray):
            return self.builder.emit(CONSTANT, ConstantAttrs(ConstArray(x)))[0]
        raise GraphError(f"{op.name}: expected a symbol or an array, got {type(x).__name__}")


def user_location() -> str:
    """``file.py:12`` of the innermost frame that runs code of the user's."""
    frame = sys._getframe(1)
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return location(frame) if frame else ""


@lru_cache(maxsize=4096)
def is_library(filename: str) -> bool:
    """Whether code of this file is Lucid's, of what it is built on, or the standard library's."""
    if filename.startswith(("<frozen", "<lucid", _PACKAGE)):
        return True
    _, installed, inside = filename.replace(os.sep, "/").rpartition("-packages/")
    if installed:
        return inside.partition("/")[0].removesuffix(".py") in PARTS
    return filename.startswith(_STANDARD)


def location(frame: FrameType) -> str:
    """``file.py:12`` of a frame."""
    return f"{shown(frame.f_code.co_filename)}:{frame.f_lineno}"


@lru_cache(maxsize=1024)
def shown(filename: str) -> str:
    """A path relative to the working directory where it is below it, else folder and file: files go to others too."""
    path = pathlib.Path(filename)
    working = pathlib.Path.cwd()
    near = path.is_relative_to(working)
    return printable(str(path.relative_to(working)) if near else "/".join(path.parts[-2:]))


class TracedDim:
    """A symbolic size as a model sees it while it is traced: arithmetic works, deciding on its value does not."""

    __slots__ = ("sym",)

    def __init__(self, dim: SymDim) -> None:
        self.sym = dim

    @staticmethod
    def wrap(dim: Dim) -> Any:
        return TracedDim(dim) if isinstance(dim, SymDim) else dim

    def __add__(self, other: Any) -> Any:
        return TracedDim.wrap(self.sym + _plain(other))

    def __sub__(self, other: object) -> Any:
        return TracedDim.wrap(self.sym - _plain(other))

    def __rsub__(self, other: object) -> Any:
        return TracedDim.wrap(_plain(other) - self.sym)

    def __mul__(self, other: object) -> Any:
        return TracedDim.wrap(self.sym * _plain(other))

    def __floordiv__(self, other: object) -> Any:
        return TracedDim.wrap(self.sym // _plain(other))

    def __rfloordiv__(self, other: object) -> Any:
        return TracedDim.wrap(_plain(other) // self.sym)

    def __mod__(self, other: object) -> Any:
        return self - self // other * other

    def __neg__(self) -> Any:
        return TracedDim.wrap(-self.sym)

    __radd__ = __add__
    __rmul__ = __mul__

    def _refuse(self, *_: object) -> NoReturn:
        raise TraceError(
            f"the size {self.sym} is symbolic, so its value is not known while the model is traced "
            f"({user_location()}). Compile with that dimension fixed, lucid.spec with a number in its place, "
            f"or keep to arithmetic on it"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __int__ = __index__ = __float__ = __iter__ = __truediv__ = __rtruediv__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return str(self.sym)


def _plain(value: object) -> Any:
    return value.sym if isinstance(value, TracedDim) else value


active_trace: ContextVar[Any] = ContextVar("active_trace", default=None)
"""The recorder of the trace under way in this thread, or None."""
