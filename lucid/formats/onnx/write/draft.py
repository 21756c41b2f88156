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
"""The most elements of a constant for equal ones to be shared."""

Setting: TypeAlias = "float | str | Array | Part | Sequence[int] | Sequence[float] | Sequence[str]"
"""The value of an attribute of a node."""


class UnwritableError(LucidError):
    """Something cannot be expressed by operators of ONNX; the message is the reason."""


@struct(frozen=True, eq=False)
class Item:
    """A value in the file: its name, and its element type."""

    name: str
    dtype: DType


@struct(frozen=True)
class Step:
    """A node in the file."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Setting]
    domain: str = ""


@struct(eq=False)
class Part:
    """A graph in the file: the whole, or one that a node runs.

    Attributes
    ----------
    inputs, outputs
        Names, with element types and the dimensions to be written.
    steps
        Its nodes, in topological order.
    around
        The graph of the node that runs it; None for the whole.
    """

    around: Part | None = None
    inputs: list[tuple[Item, tuple[int | str, ...]]] = field(default_factory=list)
    outputs: list[tuple[Item, tuple[int | str, ...]]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    made: dict[object, Item] = field(default_factory=dict)
    """What is computed once and read often, by what it is."""


class Draft:
    """A file under construction.

    Attributes
    ----------
    opset
        The version of the operators.
    part
        The graph to which nodes are added.
    arrays
        Weights and constants by name.
    renamed
        The final names of values that are results of graphs.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.part = Part()
        self.arrays: dict[str, Array] = {}
        self.renamed: dict[str, str] = {}
        self._taken: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Item] = {}

    def fresh(self, wanted: str) -> str:
        """The wanted name, with a number if it is taken; it is taken from now on."""
        name = wanted = wanted.encode("utf-8", "backslashreplace").decode() or "value"
        count = self._taken.get(wanted, 0)
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken[wanted] = count
        self._taken.setdefault(name, 0)
        return name

    def weight(self, name: str, array: Array) -> Item:
        """A weight, under a name of its own."""
        item = Item(self.fresh(name), array.dtype)
        self.arrays[item.name] = array
        return item

    def constant(self, array: Array, name: str = "/constant") -> Item:
        """A constant; small ones that are equal, bit for bit, are shared. Its name begins with a slash."""
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
        """Add a node to the graph; a result without an element type is left out."""
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
        """Make these values the results of the graph, under the names of its outputs."""
        own = {name for step in self.part.steps for name in step.outputs}
        for item, (wanted, _) in zip(made, self.part.outputs, strict=True):
            if item is None:
                continue
            if item.name in own and item.name not in self.renamed:
                self.renamed[item.name] = wanted.name
            else:  # an input, a weight, or what is a result already
                self.part.steps.append(Step("Identity", self.fresh("/Identity"), (item.name,), (wanted.name,), {}))

    def remembered(self, key: object) -> Item | None:
        """The value made under this key in this graph, or in one around it; None if there is none."""
        part: Part | None = self.part
        while part is not None:
            if key in part.made:
                return part.made[key]
            part = part.around
        return None


def _short(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names without empty ones at the end."""
    while names and not names[-1]:
        names = names[:-1]
    return names
