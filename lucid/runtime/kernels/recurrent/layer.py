"""What the recurrent layers have in common: the product before the loop, the masks, and the loop over time.

A step's lines are written with the names of views, ``v.cell``. Of these only such are bound as the lines ask for:
for each time one tuple, before the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from ....graph.ir import Node
from ....graph.ops.recurrent_types import RecurrentAttrs
from ....graph.types import TensorType, bool_
from ...planning.machine import this_machine
from ...planning.registry import Way
from ...planning.work import Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.loop import BlockLoop
from ..shared.panels import few_rows, is_streamed
from .steps_views import Run, Spec, Steps


class StepNames:
    """The names of a step's views, as attributes; without names it notes which are asked for."""

    def __init__(self, names: dict[str, str] | None = None) -> None:
        self._names = names
        self.asked: dict[str, None] = {}

    def __getattr__(self, field: str) -> str:
        self.asked[field] = None
        return field if self._names is None else self._names[field]


R = TypeVar("R", bound=RecurrentAttrs)


class LayerWriter(Generic[R]):
    """A layer, or its gradient, while its kernel writes it.

    Attributes
    ----------
    times, batch, features, directions, hidden, gates
        Its sizes; ``gates`` how many of these there are.
    runs
        For each worker the directions that it takes, and in which order these go over time.
    direction
        One of those that are being written.
    planes
        Whether gates lie one after another, not side by side.
    """

    def __init__(self, k: Emitter[R], gates: int) -> None:
        attrs: R = k.attrs
        self.k, self.attrs = k, attrs
        self.finish: list[tuple[Operand, Operand]] = []
        self.x, self.weight, self.recurrent, self.bias = (k.laid_out(x) for x in k.ins[:4])
        self.times, self.batch, self.features = self.x.shape
        self.directions, self.gates, self.hidden = len(attrs.backwards), gates, self.recurrent.shape[2]
        self.width, self.dtype = gates * self.hidden, self.x.dtype
        runs = [Run(d, self.order(d)) for d in range(self.directions)]
        self.runs = [[run] for run in runs] if k.way else [runs]
        self.direction = 0
        self.planes = False

    def order(self, direction: int) -> tuple[int, ...]:
        """The times in the order in which the loop takes them."""
        return tuple(range(self.times))[:: -1 if self.attrs.backwards[direction] else 1]

    # ------------------------------------------------------------ operands

    def out(self, number: int, label: str) -> Operand | None:
        """A result row by row: itself, or memory that is copied to it at the end; None where nobody reads it."""
        y: Operand | None = self.k.outs[number]
        if y is None or (y.contiguous and y.type.order is None):
            return y
        made = self.k.scratch(y.shape, y.dtype, label)
        self.finish.append((y, made))
        return made

    def flat(self, x: Operand, columns: int) -> Operand:
        """An array of all times, as a matrix with a row for each time of each of the batch."""
        return self.k.target(x, (self.times * self.batch, columns), "rows")

    def state(self, number: int, label: str) -> Operand:
        """A last state, or working memory where nobody reads it."""
        return self.out(number, label) or self.k.scratch(
            (self.directions, self.batch, self.hidden), self.dtype, label
        )  # fmt: skip

    def valid(self, lengths: Operand) -> Operand:
        """Which times each of the batch has, (T, N, 1)."""
        k, lengths = self.k, self.k.laid_out(lengths)
        valid = k.scratch((self.times, self.batch, 1), bool_, "valid")
        row = k.target(lengths, (1, self.batch, 1), "lengths")
        k.line(f"np.greater({row}, {k.use(np.arange(self.times).reshape(-1, 1, 1), k.name + '_times')}, out={valid})")
        return valid

    def memory(self, *widths: int) -> tuple[tuple[Operand, ...], ...]:
        """For each worker working memory of so many columns for each of the batch."""
        k = self.k
        return tuple(tuple(k.scratch((self.batch, width), self.dtype, "room") for width in widths) for _ in self.runs)

    def over_time(
        self, lines: Callable[[StepNames], Sequence[str]], function: Callable[..., Steps], *operands: object
    ) -> None:
        """The loop: ``lines`` at each time, with the views that ``function(spec, *operands)`` binds.

        Directions with activations of their own have loops of their own.
        """
        count = len(self.attrs.activations) // self.directions
        each = [[self.attrs.activation(d, n) for n in range(count)] for d in range(self.directions)]
        if self.times and all(found == each[0] for found in each):
            self._loop(self.runs, lines, function, *operands)
        elif self.times:
            for run in [run for mine in self.runs for run in mine]:
                self.direction = run.direction
                self._loop([[run]], lines, function, *operands)

    def _loop(
        self,
        runs: Sequence[Sequence[Run]],
        lines: Callable[[StepNames], Sequence[str]],
        function: Callable[..., Steps],
        *operands: object,
    ) -> None:
        noted = StepNames()
        lines(noted)
        fields = tuple(noted.asked)
        loop: BlockLoop[int] = BlockLoop(self.k, [[t for run in mine for t in run.times] for mine in runs])
        names = loop.over(
            loop.bind("steps", function, Spec(fields, runs, self.hidden, self.planes), *operands), *fields
        )
        loop.line(*lines(StepNames(dict(zip(fields, names, strict=True)))))
        loop.emit()

    def end(self) -> None:
        """Copy the results that lie otherwise."""
        for y, made in self.finish:
            self.k.line(f"{y}[...] = {made}")


def step_panels(batch: int, hidden: int, gates: int, itemsize: int) -> int | None:
    """Columns of the panels of a gate's weights, where the product of a step is with such.

    What is no more than one gate is one run as it is: panels only spare BLAS to pack.
    """
    machine = this_machine()
    if gates == 1 and batch * hidden * hidden <= machine.unpacked:
        return None
    return few_rows(machine, batch, hidden, hidden, itemsize)


def ways(gates: int) -> Callable[[Node[RecurrentAttrs], tuple[TensorType, ...], int], list[Way]]:
    """One worker for all directions, or one for each."""

    def found(node: Node[RecurrentAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
        (times, batch, features), hidden = inputs[0].concrete, inputs[2].concrete[2]
        directions, itemsize, width = len(node.attrs.backwards), inputs[0].dtype.itemsize, gates * hidden
        before = Work(
            (Product(times * batch, features, directions * width, itemsize, packed=True, resident=False),),
            far=2.0 * times * batch * directions * width * itemsize, calls=2,
        )  # fmt: skip
        packed = batch > 1 and step_panels(batch, hidden, gates, itemsize) is None
        product = Product(
            batch, hidden, width, itemsize, packed, not is_streamed(this_machine(), hidden, width, itemsize)
        )
        step = Work((product,), near=4.0 * batch * width * itemsize, calls=10)
        along = step * times
        one = [Way(before + along * directions)]
        if directions == 1 or threads == 1:
            return one
        return [*one, Way(before + along.shared(directions, min(threads, directions)), "a direction each")]

    return found
