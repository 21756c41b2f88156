"""Attributes of nodes: frozen and hashable, with symbolic sizes that can be bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np
import numpy.typing as npt

from ..base.keys import Content
from ..base.structs import struct
from .dims import SymDim, evaluate
from .types import DType, Shape, TensorType

_FIRST, _REST = slice(1 << 12), slice(1 << 12, None)
"""How many elements at the start of an array usually suffice to tell arrays apart."""


class ConstArray(Content):
    """An array as an attribute: read-only, compared and hashed by type and content."""

    __slots__ = ("_uniform",)

    def __init__(self, array: npt.ArrayLike) -> None:
        super().__init__(np.array(array, order="C"))
        self.array.flags.writeable = False
        self._uniform: bool | None = None

    @property
    def uniform(self) -> bool:
        """Whether all its elements are equal, bit for bit; computed only once."""
        if self._uniform is None:
            bits = self.array.reshape(-1).view(f"u{self.array.itemsize}")
            self._uniform = bool(bits.size) and all((bits[part] == bits[0]).all() for part in (_FIRST, _REST))
        return self._uniform

    def __repr__(self) -> str:
        return f"ConstArray({self.array.dtype.name}{list(self.array.shape)})"


class Bindable:
    """An attribute value that knows itself where it has symbolic sizes."""

    __slots__ = ()

    @property
    def symbols(self) -> frozenset[str]:
        """Names of the symbols in it."""
        raise NotImplementedError

    def bind(self, sizes: Mapping[str, int]) -> Bindable:
        """The same with every symbolic dim replaced by its size."""
        raise NotImplementedError


C = TypeVar("C")
R = TypeVar("R", bound=Bindable)


@dataclass_transform(frozen_default=True)
def attributes(cls: type[C]) -> type[C]:
    """The class as a frozen dataclass with the ``__repr__`` of :class:`Attrs`."""
    return struct(frozen=True, repr=False)(cls)


@attributes
class Attrs(Bindable):
    """Base of all attributes: frozen and hashable, so that equal nodes are found by comparing.

    A field holds None, bool, int, float, str, a dim, a NumPy dtype, a :class:`ConstArray`, other
    attrs, or a tuple of these; or, by itself, a :class:`~lucid.graph.region.Region`, a graph that the node
    runs. Text form, files and binding are generic over that.

    Attributes
    ----------
    joined
        Fields that were several in earlier files, and the names of those.
    """

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @property
    def exact(self) -> bool:
        """Whether the node rounds like a plain sum of products, which for whole numbers is exact."""
        return False

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in _names(type(self)))  # type: ignore[arg-type]  # classes do hash

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset[str]().union(*(_symbols(value) for _, value in self.items()))

    def bind(self, sizes: Mapping[str, int]) -> Attrs:
        """These attributes with every symbolic dim replaced by its size."""
        changed = {name: bound for name, value in self.items() if (bound := _bind(value, sizes)) is not value}
        return dataclasses.replace(self, **changed) if changed else self


@cache
def _names(cls: type[Attrs]) -> tuple[str, ...]:
    """The names of its fields, cached, as ``dataclasses.fields`` computes them at each call."""
    return tuple(field.name for field in dataclasses.fields(cls))


def _symbols(value: object) -> frozenset[str]:
    if isinstance(value, tuple):
        return frozenset[str]().union(*map(_symbols, value))
    return value.symbols if isinstance(value, SymDim | Bindable) else frozenset()


def _bind(value: object, sizes: Mapping[str, int]) -> object:
    if isinstance(value, SymDim):
        return evaluate(value, sizes)
    if isinstance(value, tuple):
        bound = tuple(_bind(item, sizes) for item in value)
        return bound if any(a is not b for a, b in zip(bound, value, strict=True)) else value
    if isinstance(value, Bindable):
        return value.bind(sizes)
    return value


@attributes
class NoAttrs(Attrs):
    """Attributes of ops that have none."""


@attributes
class TypeAttrs(Attrs):
    """Attributes that specify a type, for inputs and filled tensors."""

    shape: Shape
    dtype: DType

    @property
    def type(self) -> TensorType:
        return TensorType(self.shape, self.dtype)


@attributes
class ParameterAttrs(TypeAttrs):
    """``name`` is the key in the state dict; ``trainable`` tells parameters from buffers."""

    name: str
    trainable: bool = True
