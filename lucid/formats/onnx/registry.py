"""The supported operators of ONNX, and how each is converted: by a function of tensors and host values.

A converter is registered for a domain, a name and the version of the domain since which it is valid::

    @converter("Relu", since=6)
    def relu(call: Call, x: Value) -> AbstractTensor:
        return clip(call.tensor(x), 0)

An operand is a tensor (or symbol) or a *host value*: an array that is known while the model is built, possibly with
symbolic sizes as elements (then an array of objects), or a sequence of these. An operator with host values only is
evaluated at once if :mod:`.host` can do so; thus shapes stay symbolic, and what depends on them alone is decided when
the model is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, TypeAlias, TypeGuard, TypeVar, overload

import numpy as np

from ...base.structs import struct
from ...base.texts import decoded
from ...errors import GraphError
from ...graph.dims import Dim, SymDim
from ...graph.maps import Maps
from ...graph.opdef import AbstractTensor
from ...graph.ops.elementwise import mul
from ...graph.ops.indexing import content
from ...graph.ops.promotion import cast
from ...graph.ops.shape import concat, reshape
from ...graph.ops.source import full
from ...graph.texts import Text
from ...graph.types import DType, as_dtype, float32, int64
from .float_integers import FloatIntegers
from .fractional_sizes import FractionalSize
from .limits import Allowance
from .model import Array, GraphDef, NodeDef
from .sequences import Items
from .sequences import Value as Value
from .surrogates import as_text, by_floats, by_numbers, is_text

M = TypeVar("M")


Slopes: TypeAlias = "Callable[[Call, str, Sequence[str], Sequence[Value], int], list[Value]]"
"""Computes the gradients of a named value with respect to the first ``count`` of some named inputs and their values."""


@struct(frozen=True)
class Call:
    """One use of an operator, for its converter.

    Attributes
    ----------
    node
        The node.
    world
        A tensor of the kind (eager or traced) that constants are made of.
    run
        Runs a graph that the node holds, which may read values of the node's own graph.
    kinds
        Numbers of the element types of values that are computed with as other types.
    training
        Whether the node's module is being trained, and updates the state that it reads.
    room
        What the model may still expand to.
    """

    node: NodeDef
    world: AbstractTensor
    run: Callable[[GraphDef, Sequence[Value]], list[Value]]
    kinds: Mapping[str, int] = field(default_factory=dict)
    training: bool = False
    room: Allowance = field(default_factory=Allowance)
    slopes: Slopes | None = None

    @overload
    def attribute(self, name: str) -> Any: ...
    @overload
    def attribute(self, name: str, default: M) -> M: ...
    def attribute(self, name: str, default: object = None) -> object:
        """An attribute, or the default if the node leaves it out."""
        return self.node.attributes.get(name, default)

    def required(self, name: str) -> Any:
        """An attribute that must be present."""
        if name not in self.node.attributes:
            raise GraphError(f"attribute {name!r} is missing")
        return self.node.attributes[name]

    def once(self, make: Callable[[], M], *of: Value) -> M:
        """The result of ``make``, which uses the attributes and these inputs; cached while the inputs are the same.

        A weight is the same array whenever the model is traced; iterations of an unrolled loop have different ones.
        """
        kept = self.node.made
        if not kept or any(one is not other for one, other in zip(of, kept[1:], strict=True)):
            kept[:] = [make(), *of]
        made: M = kept[0]  # type: ignore[assignment]  # what it put there
        return made

    @property
    def outputs(self) -> int:
        """The number of results that the node names."""
        return len(self.node.outputs)

    def tensor(self, value: Value) -> AbstractTensor:
        """The value, which must be present, as a tensor."""
        if isinstance(value, AbstractTensor):
            return value
        if isinstance(value, FloatIntegers):
            return value.tensor
        if value is None:
            raise GraphError("an input is missing")
        if isinstance(value, Items | Maps):
            raise GraphError("it takes tensors, and is given a sequence")
        if isinstance(value, Text) or is_text(value):
            raise GraphError("it takes numbers, and is given text")
        return as_tensor(self.world, value)

    def tensors(self, *values: Value) -> list[AbstractTensor]:
        """The values, which must be present, as tensors."""
        return [self.tensor(value) for value in values]

    def floats(self, value: Value, dtype: DType = float32) -> AbstractTensor:
        """The value as floats; gradients pass through integers held as floats."""
        found: AbstractTensor = cast(value.floats if isinstance(value, FloatIntegers) else self.tensor(value), dtype)
        return found

    def optional(self, value: Value) -> AbstractTensor | None:
        """The value as a tensor; None if it is left out."""
        return None if value is None else self.tensor(value)

    def text(self, value: Value) -> Text:
        """The value, which must be strings."""
        return as_text(self.world, value)

    def movable(self, values: Sequence[Value]) -> list[Value]:
        """The values with known strings converted, so that a graph can pass them on."""
        return [self.text(one) if is_text(one) and not isinstance(one, Items) else one for one in values]

    @staticmethod
    def is_text(value: Value) -> bool:
        """Whether a value is strings."""
        return is_text(value)

    def known(self, value: Value, what: str) -> Array:
        """A value on which the structure of the model depends: a host value, or data if nothing is recorded.

        Raises
        ------
        TraceError
            If a graph is recorded, which must be valid for other data too.
        """
        if is_host(value):
            return value
        words = f"{what} must be known when the model is built, and is computed from data; uncompiled, it runs"
        if isinstance(value, Text):
            return decoded(content(value.tensor, words))
        return content(self.tensor(value), words)

    def dims(self, value: Value, what: str) -> tuple[Dim, ...]:
        """A known value as sizes."""
        value = self.known(value, what)
        return tuple(int(one) if isinstance(one, int | np.integer) else one for one in np.ravel(value))

    def ints(self, value: Value, what: str) -> tuple[int, ...]:
        """A known value as sizes, none of which may be symbolic."""
        found = self.dims(value, what)
        if not all(isinstance(one, int) for one in found):
            raise GraphError(f"{what} must be numbers, not symbolic: {found}")
        return found  # type: ignore[return-value]

    def scalar(self, value: Value, what: str) -> float:
        """A known value with one element, as a Python number."""
        value = self.known(value, what)
        if np.size(value) != 1:
            raise GraphError(f"{what} must be one number, got {np.shape(value)}")
        found: float = concrete(value).reshape(()).item()
        return found

    def number(self, value: Value, what: str) -> float | AbstractTensor:
        """A value with one element: a Python number, or a tensor if it depends on data or symbolic sizes."""
        if is_host(value) and not is_symbolic(value):
            return self.scalar(value, what)
        return reshape(self.tensor(value), ())


def is_symbolic(value: Array) -> bool:
    """Whether a host value contains symbolic sizes."""
    return value.dtype == object and not all(isinstance(one, int | np.integer) for one in value.ravel())


def is_host(value: object) -> TypeGuard[Array]:
    """Whether a value is a host value, known while the model is built."""
    return isinstance(value, np.ndarray)


def as_tensor(world: AbstractTensor, value: Array) -> AbstractTensor:
    """A host value as a tensor; symbolic sizes get their values when the program runs."""
    if value.dtype != object:
        return world.constant(np.asarray(value, as_dtype(value.dtype), order="C"))
    kind = float32 if any(isinstance(one, FractionalSize | float) for one in value.ravel()) else int64
    made = [_element(world, one, kind) for one in value.ravel()]
    return reshape(concat(made, 0), value.shape) if made else world.constant(np.zeros(value.shape, kind))


def _element(world: AbstractTensor, value: Dim | FractionalSize | float, dtype: DType) -> AbstractTensor:
    if isinstance(value, FractionalSize):
        return mul(full(world, value.dim, (1,), dtype), 1 / value.over)
    return full(world, value if isinstance(value, SymDim) else dtype.type(value).item(), (1,), dtype)


def concrete(value: Value) -> Array:
    """A host value as an array of numbers; raises if it contains symbolic sizes."""
    assert isinstance(value, np.ndarray)
    if value.dtype != object:
        return value
    if is_symbolic(value):
        raise GraphError(f"the sizes {list(value.ravel())} are symbolic, and are needed as numbers")
    return value.astype(np.int64)


ONE = (AbstractTensor, np.ndarray, Text, FloatIntegers, Items, Maps)
"""The types of a single value."""
Results: TypeAlias = "Value | Sequence[Value]"
Convert: TypeAlias = "Callable[..., Results]"
F = TypeVar("F", bound=Convert)


@struct(frozen=True)
class Converter:
    """How an operator is converted.

    Attributes
    ----------
    since
        The version since which it is valid.
    function
        Takes a :class:`Call` and the inputs; returns the results, or a single one.
    names
        Names of the inputs that may be parameters.
    host
        Indices of inputs that do not depend on the model's data, and are passed as they are.
    state
        Indices of inputs that are kept with the parameters, but are not parameters.
    moves
        Indices of inputs whose elements it moves, whatever they are, including strings; -1 for all.
    picks
        Indices of inputs some of whose elements it returns, as a maximum does, or numbers in their place.
    """

    since: int
    function: Convert
    names: tuple[str, ...] = ()
    host: frozenset[int] = frozenset()
    state: frozenset[int] = frozenset()
    moves: frozenset[int] = frozenset()
    picks: frozenset[int] = frozenset()

    def results(self, call: Call, *inputs: Value) -> Sequence[Value]:
        """The results of the operator for these inputs."""
        if self.moves and any(is_text(one) for slot, one in enumerate(inputs) if self.moves & {slot, -1}):
            return by_numbers(lambda *given: self._results(call, *given), call.world, self.moves, inputs)
        slots = self.moves | self.picks
        if slots and any(isinstance(one, FloatIntegers) for slot, one in enumerate(inputs) if slots & {slot, -1}):
            return by_floats(lambda *given: self._results(call, *given), slots, inputs)
        return self._results(call, *inputs)

    def _results(self, call: Call, *inputs: Value) -> Sequence[Value]:
        found = self.function(call, *inputs)
        return [found] if found is None or isinstance(found, ONE) else found

    @cached_property
    def _takes(self) -> tuple[frozenset[int], int, bool]:
        """The indices of required inputs, the number of inputs, and whether any number may follow."""
        taken = list(inspect.signature(self.function).parameters.values())[1:]
        places = [one for one in taken if one.kind is one.POSITIONAL_OR_KEYWORD]
        needed = frozenset(i for i, one in enumerate(places) if one.default is one.empty)
        return needed, len(places), any(one.kind is one.VAR_POSITIONAL for one in taken)

    def check_inputs(self, node: NodeDef) -> None:
        """Raise unless the node has the inputs that the operator takes."""
        needed, places, any_number = self._takes
        given = {i for i, name in enumerate(node.inputs) if name}
        if not needed <= given or (max(given, default=-1) >= places and not any_number):
            most = " or more" if any_number else f" to {places}" if places > len(needed) else ""
            raise GraphError(f"it is given {len(given)} inputs, and takes {len(needed)}{most}")


_TABLE: dict[tuple[str, str], list[Converter]] = {}


def converter(
    *ops: str, since: int = 1, domain: str = "", names: Sequence[str] = (), host: Sequence[int] = (),
    state: Sequence[int] = (), moves: Sequence[int] = (), picks: Sequence[int] = (),
) -> Callable[[F], F]:  # fmt: skip
    """Register the decorated function for operators of a domain, from a version on.

    The other arguments are the attributes of :class:`Converter`.
    """
    places = [frozenset(one) for one in (host, state, moves, picks)]

    def decorate(function: F) -> F:
        made = Converter(since, function, tuple(names), *places)
        for op in ops:
            known = _TABLE.setdefault((domain, op), [])
            known.append(made)
            known.sort(key=lambda one: one.since)
        return function

    return decorate


def find(node: NodeDef) -> Converter | None:
    """The converter of a node; None if there is none."""
    fit = [one for one in _TABLE.get((node.domain, node.op), ()) if one.since <= node.version]
    return fit[-1] if fit else None


def known() -> dict[tuple[str, str], list[int]]:
    """For each operator, by domain and name, the versions since which its converters are valid."""
    return {key: [one.since for one in found] for key, found in sorted(_TABLE.items())}
