"""An ONNX file under construction: its nodes, arrays and names, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TypeAlias

import numpy as np

from ....base.structs import struct
from ....errors import LucidError
from ....graph.types import DType
from ..model import Array

LARGEST_SHARED = 64
"""Elements of a constant up to which equal ones are one."""

Setting: TypeAlias = "float | str | Array | Part | Sequence[int] | Sequence[float] | Sequence[str]"
"""What an attribute of a node may hold."""


class UnwritableError(LucidError):
    """What no operators of ONNX say; the message is the reason."""


@struct(frozen=True, eq=False)
class Item:
    """A value of the file: what it is called, and the element type that it has."""

    name: str
    dtype: DType


@struct(frozen=True)
class Step:
    """A node of the file."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Setting]
    domain: str = ""


@struct(eq=False)
class Part:
    """A graph of the file: the whole, or what a node of it runs.

    Attributes
    ----------
    inputs, outputs
        Names, with element types and the dimensions as they are written.
    steps
        Its nodes, in an order in which each comes after those it reads.
    around
        The graph that has the node; None of the whole.
    """

    around: Part | None = None
    inputs: list[tuple[Item, tuple[int | str, ...]]] = field(default_factory=list)
    outputs: list[tuple[Item, tuple[int | str, ...]]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    made: dict[object, Item] = field(default_factory=dict)
    """What is computed once and read often, by what it is."""


class Draft:
    """A whole file.

    Attributes
    ----------
    opset
        The version of the operators.
    part
        The graph that nodes are now put into.
    arrays
        Weights and constants by name.
    renamed
        What values are called in the end, as the graph gives them.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.part = Part()
        self.arrays: dict[str, Array] = {}
        self.renamed: dict[str, str] = {}
        self._taken: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Item] = {}

    def fresh(self, wanted: str) -> str:
        """The name, or with a number where it is taken; it is from now on."""
        name = wanted = wanted.encode("utf-8", "backslashreplace").decode() or "value"
        count = self._taken.get(wanted, 0)
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken[wanted] = count
        self._taken.setdefault(name, 0)
        return name

    def weight(self, name: str, array: Array) -> Item:
        """A weight under a name of its own."""
        item = Item(self.fresh(name), array.dtype)
        self.arrays[item.name] = array
        return item

    def constant(self, array: Array, name: str = "/constant") -> Item:
        """An array that is known; small ones that are equal, bit for bit, are one. Its name begins with a slash."""
        array = np.asarray(array)
        if array.size > LARGEST_SHARED:
            return self.weight(name, array)
        key = array.dtype.name, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self.weight(name, array)
        return self._constants[key]

    def emit(
        self, op: str, inputs: Sequence[Item | None], dtypes: Sequence[DType | None], attributes: Mapping[str, Setting],
        scope: str = "", domain: str = "",
    ) -> tuple[Item, ...]:  # fmt: skip
        """Put a node into the graph; a result without an element type is left out."""
        name = self.fresh(f"{scope}/{op}")
        count = len(dtypes)
        labels = [f"{name}_output_{i}" for i in range(count)]
        made = tuple(
            Item(self.fresh(label), dtype or np.dtype(bool)) for label, dtype in zip(labels, dtypes, strict=True)
        )
        outputs = tuple("" if dtype is None else one.name for one, dtype in zip(made, dtypes, strict=True))
        given = tuple("" if one is None else one.name for one in inputs)
        self.part.steps.append(Step(op, name, _short(given), _short(outputs), dict(attributes), domain))
        return made

    def give(self, made: Sequence[Item | None]) -> None:
        """Let what was made be the results of the graph, under the names that these have."""
        own = {name for step in self.part.steps for name in step.outputs}
        for item, (wanted, _) in zip(made, self.part.outputs, strict=True):
            if item is None:
                continue
            if item.name in own and item.name not in self.renamed:
                self.renamed[item.name] = wanted.name
            else:  # an input, a weight, or what is a result already
                self.part.steps.append(Step("Identity", self.fresh("/Identity"), (item.name,), (wanted.name,), {}))

    def remembered(self, key: object) -> Item | None:
        """What was made under this key in this graph, or in one around it."""
        part: Part | None = self.part
        while part is not None:
            if key in part.made:
                return part.made[key]
            part = part.around
        return None


def _short(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that are left out at the end."""
    while names and not names[-1]:
        names = names[:-1]
    return names
