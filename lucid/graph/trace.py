"""Symbols, and the tracer, which records what a module computes while it runs once.

A :class:`Symbol` is a value of a graph under construction that can be computed with. Gradient rules
and decompositions are written with symbols; a traced model's tensors carry one each.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import NoReturn

import numpy as np

from ..base.arrays import Array
from ..base.lazy import pathlib
from ..errors import GraphError, LucidError, TraceError
from .active import active_trace as active_trace
from .builder import Builder, printable, snake_case
from .dims import Dim, SymDim, symbol
from .ir import Origin, Value
from .opdef import Attrs, ConstArray, OpDef, TypeAttrs
from .operators import Operators
from .ops.source import CONSTANT, INPUT, ConstantAttrs
from .region import DEEPEST, Recorded, Region, read_inputs, with_inputs
from .types import TensorType
from .value_numbering import ValueNumbering

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_COMMANDS = os.path.join(_PACKAGE, "cli", "")
_STANDARD = os.path.dirname(os.__file__) + os.sep

PARTS = ("lucid", "numpy", "networkx", "threadpoolctl", "safetensors", "graphviz")
"""The packages of Lucid and its dependencies."""


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
        tracer = self.tracer
        for x in inputs:
            if isinstance(x, Symbol) and x.tracer.depth > tracer.depth:
                tracer = x.tracer  # in a region that captures the others
        return tracer.emit(op, attrs, inputs)

    def constant(self, array: Array) -> Symbol:
        return self.tracer.emit(CONSTANT, ConstantAttrs(ConstArray(array)))[0]

    def as_size(self) -> tuple[Dim, Symbol]:
        return self.tracer.as_size(self)

    def is_found(self, size: Dim) -> bool:
        return self.tracer.is_found(size)

    def record(self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]) -> Recorded:
        return self.tracer.record(types, *functions)

    def __bool__(self) -> NoReturn:
        raise TraceError(
            f"{self} stands for a value that is known when the graph runs: no branch on it, no 'or' and no 'and'; "
            f"where() chooses, and 'is None' asks whether there is one"
        )

    def __repr__(self) -> str:
        return f"<Symbol {self.value}: {self.type}>"


class Tracer:
    """Emits nodes for symbols, with the module path and the user's line as their origin.

    Parameters
    ----------
    builder
        Receives the nodes.
    locate
        Whether to record the user's file and line with every node.
    outer
        The tracer of the graph around, if this one traces a region of it: symbols of that graph are captured.

    Attributes
    ----------
    scopes
        Paths of the modules that are running, the innermost last; new nodes belong to it.
    """

    def __init__(self, builder: Builder, *, locate: bool = False, outer: Tracer | None = None) -> None:
        self.builder = builder
        self.locate = locate
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.scopes: list[str] = [] if outer is None else outer.scopes
        self.origin: Origin | None = None if outer is None else outer.origin
        self._alike = ValueNumbering(builder)
        self._sizes: dict[tuple[int, int], tuple[SymDim, Symbol]] = {}
        """The data-dependent sizes, by what computes them, with the scalars that determine them."""
        self.captured: dict[Value, tuple[Symbol, Symbol]] = {}
        """Values of the graph around, and their counterparts here."""

    def symbol(self, value: Value) -> Symbol:
        return Symbol(self, value)

    # ------------------------------------------------------------ regions

    def nested(self) -> Tracer:
        """A tracer for a region of this one's graph."""
        if self.depth == DEEPEST:
            raise GraphError(f"regions stand in regions more than {DEEPEST} deep")
        return Tracer(Builder(), locate=self.locate, outer=self)

    def input(self, type_: TensorType, name: str) -> Symbol:
        """A new input of the graph."""
        return self.emit(INPUT, TypeAttrs(type_.shape, type_.dtype), name=name)[0]

    def own(self, x: Symbol) -> Symbol:
        """The symbol in this graph: itself, or its counterpart if it is a symbol of a graph around."""
        if x.tracer.builder is self.builder:
            return x
        if self.outer is None:
            raise GraphError(f"{x} belongs to another graph")
        x = self.outer.own(x)
        if x.value not in self.captured:
            with self.at(Origin()):
                self.captured[x.value] = x, self.input(x.type, x.value.node)
        return self.captured[x.value][1]

    def record(self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]) -> Recorded:
        """Functions of symbols of these types as regions, all with the captures of each."""
        traced = []
        for function in functions:
            inner = self.nested()
            inputs = [inner.input(type_, f"x{number}") for number, type_ in enumerate(types)]
            traced.append((inner, function(*inputs)))
        return united(traced)

    def finished(self, results: Sequence[object]) -> tuple[Region, dict[Value, tuple[Symbol, str]]]:
        """The region that was traced, and its captures: values of the graph around with the names of their inputs."""
        region = Region(self.builder.finish([self._value("a region", y) for y in results]))
        live = {name for name, read in zip(region.graph.inputs, read_inputs(region), strict=True) if read}
        found = {v: (x, mine.value.node) for v, (x, mine) in self.captured.items() if mine.value.node in live}
        return region, found

    @contextmanager
    def at(self, origin: Origin) -> Iterator[None]:
        """While inside, nodes are emitted with this origin."""
        before, self.origin = self.origin, origin
        try:
            yield
        finally:
            self.origin = before

    def emit(
        self, op: OpDef, attrs: Attrs, inputs: Sequence[object] = (), name: str | None = None
    ) -> tuple[Symbol, ...]:
        """Apply ``op`` to symbols of this tracer (arrays become constants)."""
        values = [self._value(op.name, x) for x in inputs]
        origin = self.origin
        if origin is None:
            scope = self.scopes[-1] if self.scopes else ""
            origin = Origin(
                (printable(scope),) if scope else (), tuple(filter(None, (user_location(),))) if self.locate else ()
            )
        name = name or ".".join([*origin.modules[:1], snake_case(op.name)])
        try:
            outputs = self.builder.emit(op, attrs, values, name=name, origin=origin)
        except LucidError as error:
            if str(origin):
                error.add_note(f"in {origin}")
            raise
        return tuple(Symbol(self, value) for value in outputs)

    def as_size(self, count: Symbol) -> tuple[Dim, Symbol]:
        """The size that a scalar of this graph determines (see :meth:`AbstractTensor.as_size`)."""
        count = self.own(count)
        if self.outer is not None:
            raise TraceError(
                f"a size depends on data within a branch, a loop or what vmap maps ({user_location()}), which a graph "
                f"cannot hold there: compute it before, or keep the shape with lucid.where"
            )
        key = self._alike.number(count.value.node), count.value.output
        if key not in self._sizes:
            nodes = self.builder.dag.nodes(data="node")
            taken = {name for _, node in nodes for type_ in node.outputs for name in type_.symbols}
            numbers = itertools.count(len(self._sizes) + 1)
            name = next(name for number in numbers if (name := f"found_{number}") not in taken)
            self._sizes[key] = symbol(name), count
        return self._sizes[key]

    def is_found(self, size: Dim) -> bool:
        """Whether a size of this graph, or of one around it, depends on data."""
        tracer = self
        while tracer.outer is not None:
            tracer = tracer.outer
        names = (name for one, _ in tracer._sizes.values() for name in one.symbols)
        return isinstance(size, SymDim) and not size.symbols.isdisjoint(names)

    def _value(self, what: str, x: object) -> Value:
        if isinstance(x, Symbol):
            try:
                return self.own(x).value
            except GraphError as error:
                raise GraphError(f"{what}: its inputs belong to two different graphs") from error
        if isinstance(x, np.ndarray):
            return self.builder.emit(CONSTANT, ConstantAttrs(ConstArray(x)))[0]
        raise GraphError(f"{what}: expected a symbol or an array, got {type(x).__name__}")


def united(traced: Sequence[tuple[Tracer, Sequence[object]]]) -> Recorded:
    """Traced regions, with their results, changed to have the same captures: those that any of them needs."""
    found = [inner.finished(results) for inner, results in traced]
    captures = {value: x for _, captured in found for value, (x, _) in captured.items()}
    regions = []
    for (inner, _), (region, captured) in zip(traced, found, strict=True):
        given = region.graph.inputs[: len(region.graph.inputs) - len(inner.captured)]
        rest = [captured[value][1] if value in captured else x.type for value, x in captures.items()]
        regions.append(Region(with_inputs(region.graph, [*given, *rest])))
    return Recorded(tuple(regions), tuple(captures.values()))


def user_location() -> str:
    """``file.py:12`` of the innermost frame that runs user code; empty on the command line."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_library(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith(_COMMANDS):
            return ""
        frame = frame.f_back
    return location(frame) if frame else ""


@lru_cache(maxsize=4096)
def is_library(filename: str) -> bool:
    """Whether code of this file belongs to Lucid, one of its dependencies, or the standard library."""
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
    """A path relative to the working directory if it is below it; otherwise folder and file, as files may be shared."""
    path = pathlib.Path(filename)
    working = pathlib.Path.cwd()
    near = path.is_relative_to(working)
    return printable(str(path.relative_to(working)) if near else "/".join(path.parts[-2:]))
