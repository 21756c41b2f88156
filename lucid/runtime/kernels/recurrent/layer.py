"""What recurrent layers and their gradients have in common: sharing among workers, masks, and the loop over time.

A worker takes one direction, or all of them, for some sequences of the batch, and processes the times in chunks. What
can be computed for all times of a chunk at once is; then, step by step, what depends on the state, while the chunk is
in the cache. Lines are written with the names of views, ``v.cell``. Only views that lines ask for are bound: one tuple
for each chunk, and within it one for each time, before the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.ops.recurrent_types import RecurrentAttrs
from ....graph.types import TensorType, bool_
from ...planning.machine import this_machine
from ...planning.registry import Way
from ...planning.work import FORK, Product, Work
from ...program.emitter import Emitter, Operand
from ..shared.cut import pieces
from ..shared.loop import BlockLoop
from ..shared.panels import few_rows, is_streamed
from .steps_views import Chunks, Run, Spec

LEAST_ROWS = 256
"""The least rows of the product of a chunk: with fewer, it spends its time packing the weights."""
CHUNK_PART = 8
"""The gates of a chunk take up to one part in this many of the second-level cache."""


class StepNames:
    """The variables of views, as attributes; without variables, it records which views are asked for."""

    def __init__(self, names: dict[str, str] | None = None) -> None:
        self._names = names
        self.asked: dict[str, None] = {}

    def __getattr__(self, field: str) -> str:
        self.asked[field] = None
        return field if self._names is None else self._names[field]


Lines = Callable[[StepNames], Sequence[str]]
R = TypeVar("R", bound=RecurrentAttrs)


@struct(frozen=True)
class Share:
    """How the work is shared.

    Attributes
    ----------
    apart
        Whether a worker takes one direction instead of all.
    rows, batch
        The most sequences of a worker, and the size of the batch.
    together
        Whether a step computes all directions at once.
    """

    apart: bool
    rows: int
    batch: int
    together: bool = False

    def __str__(self) -> str:
        if self.together:
            return "both directions at once"
        sequences = f"{self.rows} sequence{'s' * (self.rows > 1)}" if self.rows < self.batch else ""
        return f"{' and '.join(filter(None, ['a direction' if self.apart else '', sequences]))} each"

    def runs(self, orders: Sequence[tuple[int, ...]]) -> list[list[Run]]:
        """For each worker, its directions, with their times, and its sequences."""
        rows = pieces(self.batch, self.rows) or [(0, 0)]
        found = [[Run(d, times, a, b) for d, times in enumerate(orders)] for a, b in rows]
        return [[run] for mine in found for run in mine] if self.apart else found


class LayerWriter(Generic[R]):
    """A layer, or its gradient, as its kernel writes it.

    Attributes
    ----------
    times, batch, features, directions, hidden, gates
        Its sizes; ``gates`` is the number of gates.
    runs
        For each worker, its directions and sequences, and the order of times of each direction.
    rows, lanes
        The most sequences of a worker, and the number of their states in a step.
    together
        Whether a step computes all directions at once.
    chunk
        The most times of a chunk.
    direction
        One of the directions that lines are being written for.
    """

    def __init__(self, k: Emitter[R], gates: int) -> None:
        attrs: R = k.attrs
        self.k, self.attrs = k, attrs
        self.finish: list[tuple[Operand, Operand]] = []
        self.x, self.weight, self.recurrent, self.bias = (k.laid_out(x) for x in k.ins[:4])
        self.times, self.batch, self.features = self.x.shape
        self.directions, self.gates, self.hidden = len(attrs.backwards), gates, self.recurrent.shape[2]
        self.width, self.dtype = gates * self.hidden, self.x.dtype
        share = k.way or Share(False, self.batch, self.batch)
        self.runs = share.runs([self.order(d) for d in range(self.directions)])
        self.rows = max(run.last - run.first for mine in self.runs for run in mine)
        self.together = share.together
        at_once = self.directions if self.together else 1
        self.lanes = self.rows * at_once
        self.chunk = chunk_of(self.times, self.rows, self.width * self.dtype.itemsize * at_once)
        self.direction = 0

    def order(self, direction: int) -> tuple[int, ...]:
        """The times in the order of the loop."""
        return tuple(range(self.times))[:: -1 if self.attrs.backwards[direction] else 1]

    # ------------------------------------------------------------ operands

    def out(self, number: int, label: str) -> Operand | None:
        """Row-major memory for a result: its own, or scratch to be copied at the end; None if nothing reads it."""
        y: Operand | None = self.k.outs[number]
        if y is None or (y.contiguous and y.type.order is None):
            return y
        made = self.k.scratch(y.shape, y.dtype, label)
        self.finish.append((y, made))
        return made

    def flat(self, x: Operand, columns: int) -> Operand:
        """An array of all times as a matrix with a row for each time of each sequence."""
        return self.k.target(x, (self.times * self.batch, columns), "rows")

    def state(self, number: int, label: str) -> Operand:
        """A last state, or scratch memory if nothing reads it."""
        return self.out(number, label) or self.k.scratch(
            (self.directions, self.batch, self.hidden), self.dtype, label
        )  # fmt: skip

    def valid(self, lengths: Operand) -> Operand:
        """A mask (T, N, 1) of the times within each sequence's length."""
        k, lengths = self.k, self.k.laid_out(lengths)
        valid = k.scratch((self.times, self.batch, 1), bool_, "valid")
        row = k.target(lengths, (1, self.batch, 1), "lengths")
        k.line(f"np.greater({row}, {k.use(np.arange(self.times).reshape(-1, 1, 1), k.name + '_times')}, out={valid})")
        return valid

    def beyond(self, valid: Operand) -> Operand:
        """A mask (T, N, 1) of the times beyond each sequence's length."""
        beyond = self.k.scratch(valid.shape, valid.dtype, "beyond")
        self.k.line(f"np.logical_not({valid}, out={beyond})")
        return beyond

    def memory(
        self, label: str, shape: Callable[[int], tuple[int, ...]], wanted: bool = True, *, value: int | None = None
    ) -> list[Operand | None]:  # fmt: skip
        """Scratch for each worker, whose shape depends on the number of sequences; None if it is not wanted.

        With a ``value``, it is that at first, and stays so where the layer writes nothing.
        """
        at_once = self.lanes // self.rows if self.rows else 1
        sizes = [max(run.last - run.first for run in mine) * at_once for mine in self.runs]

        def made(of: tuple[int, ...]) -> Operand:
            k = self.k
            return k.scratch(of, self.dtype, label) if value is None else k.filled(of, self.dtype, str(value), label)

        return [made(shape(rows)) if wanted else None for rows in sizes]

    def planes(self, rows: int) -> tuple[int, ...]:
        """The shape of all gates of a time."""
        return (self.gates, rows, self.hidden)

    def matrix(self, rows: int) -> tuple[int, ...]:
        """The shape of a state."""
        return (rows, self.hidden)

    def chunked(self, shape: Callable[[int], tuple[int, ...]]) -> Callable[[int], tuple[int, ...]]:
        """The shape with a leading axis for the times of a chunk."""
        return lambda rows: (self.chunk, *shape(rows))

    # ------------------------------------------------------------ the loop

    def over_time(
        self, before: Lines, lines: Lines, function: Callable[..., Chunks], *operands: object,
        after: Lines = lambda v: (),
    ) -> None:  # fmt: skip
        """Write the loop: for each chunk, the lines ``before`` its steps, for each time ``lines``, and ``after`` them.

        ``function(spec, *operands)`` binds their views.
        """
        for runs in self._alike():
            first, each = StepNames(), StepNames()
            before(first)
            after(first)
            lines(each)
            spec = Spec(tuple(first.asked), tuple(each.asked), runs, self.hidden, self.chunk)
            gone = [mine[:1] if self.together else mine for mine in runs]
            loop: BlockLoop[int] = BlockLoop(self.k, [[a for r in mine for a, _ in spec.chunks(r)] for mine in gone])
            *names, steps = loop.over(loop.bind("chunks", function, spec, *operands), *spec.before, "steps")
            of_chunk = StepNames(dict(zip(spec.before, names, strict=True)))
            loop.line(*before(of_chunk))
            fields = loop.fresh(*spec.fields)
            loop.for_each(fields, steps, *lines(StepNames(dict(zip(spec.fields, fields, strict=True)))))
            loop.line(*after(of_chunk))
            loop.emit()

    def _alike(self) -> Iterator[list[list[Run]]]:
        """The runs grouped by activations; each group by worker."""
        count = len(self.attrs.activations) // self.directions
        found: dict[object, list[int]] = {}
        for d in range(self.directions if self.times else 0):
            found.setdefault(tuple(self.attrs.activation(d, n) for n in range(count)), []).append(d)
        for directions in found.values():
            self.direction = directions[0]
            kept = [[run for run in mine if run.direction in directions] for mine in self.runs]
            yield [mine for mine in kept if mine]

    def end(self) -> None:
        """Copy results from scratch memory."""
        for y, made in self.finish:
            self.k.line(f"{y}[...] = {made}")


def chunk_of(times: int, rows: int, row: int) -> int:
    """The most times of a chunk, if the gates of a sequence at one time take ``row`` bytes."""
    cached = this_machine().l2 // CHUNK_PART // max(1, rows * row)
    most = max(1, cached, -(-LEAST_ROWS // max(1, rows)))
    return max((b - a for a, b in pieces(times, most)), default=1)


def step_panels(rows: int, depth: int, columns: int, single: bool, itemsize: int) -> int | None:
    """The width of panels of weights for the product of a step; None without panels.

    A ``single`` product that is small enough needs none, since panels only save BLAS the packing.
    """
    machine = this_machine()
    if single and rows * depth * columns <= machine.unpacked:
        return None
    return few_rows(machine, rows, depth, columns, itemsize)


# ---------------------------------------------------------------- ways to share it


def ways(gates: int, *, back: bool = False) -> Callable[[Node[RecurrentAttrs], tuple[TensorType, ...], int], list[Way]]:
    """Ways: one worker for all; or workers share the directions, the batch, or both. ``back`` is for the gradient."""

    def found(node: Node[RecurrentAttrs], inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
        (times, batch, features), hidden = inputs[0].concrete, inputs[2].concrete[2]
        directions, itemsize, width = len(node.attrs.backwards), inputs[0].dtype.itemsize, gates * hidden
        kept = times * batch * directions * width * itemsize

        def work(rows: int, runs: int, workers: int, at_once: int = 1) -> Work:
            chunks = -(-times // chunk_of(times, rows, width * itemsize * at_once))
            step = replace(_step(rows, hidden, gates, itemsize, back) * at_once, calls=8 + 2 * at_once)
            mine = (step * times + Work(calls=4 * chunks * at_once)) * (runs / at_once)
            before = Product(times * rows, features, runs * width, itemsize, packed=True, resident=False)
            if not back:
                return mine + Work((before,), far=kept / workers)
            weights = Product(times * batch, hidden + 2 * features, directions * width / workers, itemsize, True, False)
            return mine + Work((weights,), far=4 * kept / workers, calls=5)

        one = [Way(work(batch, directions, 1))]
        if batch and not back and _go_together(node) and _stay(batch, width * itemsize, hidden):
            in_order = Work(far=2 * kept / gates, calls=directions)
            one.append(Way(work(batch, directions, 1, directions) + in_order, Share(False, batch, batch, True)))
        for apart in (False, True)[:directions]:
            count = threads // directions if apart else threads
            rows = batch if getattr(node.attrs, "rounded", False) else -(-batch // max(1, count))
            workers = (directions if apart else 1) * -(-batch // max(1, rows))
            if 1 < workers <= threads:
                share = work(rows, 1 if apart else directions, workers)
                one.append(Way(share + FORK * (1 + back), Share(apart, rows, batch)))
        return one

    return found


def _go_together(node: Node[RecurrentAttrs]) -> bool:
    """Whether a step may compute both directions at once.

    They must have the same activations, neither lengths nor peepholes, and no gradient that reads the gates they keep,
    which are ordered by time.
    """
    attrs, keeps = node.attrs, len(node.outputs) > len(node.op.outputs or ()) - node.op.kept
    half = len(attrs.activations) // 2
    alike = len(attrs.backwards) > 1 and attrs.activations[:half] == attrs.activations[half:]
    return alike and not keeps and not attrs.lengths and not getattr(attrs, "peepholes", False)


def _stay(rows: int, gates: int, hidden: int) -> bool:
    """Whether the data of steps that compute both directions stay in the cache; ``gates`` is bytes per sequence.

    A product of one row takes as long as reading its weight; one of several rows hides reading it from the next cache.
    With many sequences, gates take so long that the number of calls does not matter.
    """
    l2 = this_machine().l2
    return 2 * gates * hidden <= l2 * (1 if rows == 1 else 4) and 2 * rows * gates <= l2 // CHUNK_PART


def _step(rows: int, hidden: int, gates: int, itemsize: int, back: bool) -> Work:
    """The work of one time for ``rows`` sequences."""
    width, machine = gates * hidden, this_machine()
    depth, columns = (width, hidden) if back else (hidden, width)
    packed = rows > 1 and step_panels(rows, depth, hidden, back or gates == 1, itemsize) is None
    product = Product(rows, depth, columns, itemsize, packed, not is_streamed(machine, hidden, width, itemsize))
    return Work((product,), near=(6.0 if back else 4.0) * rows * width * itemsize)
