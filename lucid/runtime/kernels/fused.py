"""Kernel of ``FusedElementwise``: the kernels of its ops, one after another on a block that stays in the cache.

Each op is written by its own kernel, on operands that are blocks of the node's operands, so nothing is
computed differently from the unfused ops. Where the operands are laid out alike, axes that are adjacent
in all of them become one; blocks are ranges of one axis below which everything fits into the cache.
Otherwise the ops run on whole arrays with as few temporaries as their lifetimes allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...graph.ir import Node
from ...graph.opdef import Attrs, find_op
from ...graph.ops.fused import FUSED_ELEMENTWISE, FusedAttrs, instruction_types
from ...graph.types import DType, TensorType
from ..planning.phase import Phase
from ..planning.registry import choose, kernel
from ..program.emitter import Emitter, Operand
from ..program.statement import Statement

BLOCK_BYTES = 1 << 17
"""Bytes of one operand's block: a handful of them fit into a core's own cache."""

THREAD_WORK = 1 << 20
"""Element operations below which sharing the work over threads costs more than it gives."""


@kernel(FUSED_ELEMENTWISE)
def fused(k: Emitter) -> None:
    (y,) = k.outs
    steps = len(k.attrs.program)
    if y.phase is Phase.STATE or y.type.nbytes <= 2 * BLOCK_BYTES or not all(_alike(x, y) for x in k.ins):
        k.take(_Program(k, k.ins, y).statements)
    else:
        grid = _Grid.of(k)
        threads = k.threads if steps * math.prod(grid.shape) >= THREAD_WORK else 1
        _share(k, grid, threads)


def _share(k: Emitter, grid: _Grid, threads: int) -> None:
    parts = [p for p in grid.parts(threads) if p[0] < p[1]]
    if len(parts) == 1:
        k.line("\n".join(grid.loop(k, *parts[0])))
        return
    body = []
    for worker, part in enumerate(parts):
        body += [f"if worker == {worker}:", *(f"    {line}" for line in grid.loop(k, *part))]
    k.shared(k.names.fresh(f"{k.name}_parts"), len(parts), body)


# ---------------------------------------------------------------- the program on one set of operands


class _Program:
    """The statements that run the program on operands of given types, and the temporaries they need."""

    def __init__(self, k: Emitter, ins: Sequence[Operand], y: Operand) -> None:
        self.k = k
        self.statements: list[Statement] = []
        self.once = y.phase is Phase.STATE
        attrs: FusedAttrs = k.attrs
        types = instruction_types(attrs, [x.type for x in ins])
        values: list[Operand] = list(ins)
        last = {i: n for n, step in enumerate(attrs.program) for i in step.operands}
        free: dict[tuple[tuple[int, ...], DType], list[Operand]] = {}
        inner = None
        for number, step in enumerate(attrs.program):
            index = attrs.inputs + number
            type_ = types[index]
            if number == len(attrs.program) - 1:
                out = y
            else:
                pool = free.get((type_.concrete, type_.dtype))
                out = pool.pop() if pool else self._temporary(type_, y)
            inner = self._emit(step.op, step.attrs, [values[i] for i in step.operands], out)
            values.append(out)
            for i in {i for i in step.operands if i >= attrs.inputs and last[i] == number}:
                free.setdefault((types[i].concrete, types[i].dtype), []).append(values[i])
        assert inner is not None
        self._may_overwrite(inner, attrs)

    def _temporary(self, type_: TensorType, y: Operand) -> Operand:
        """Working memory laid out as the result is."""
        order = y.type.order if type_.rank == y.type.rank else None
        buffer = self.k.scratch(type_.concrete, type_.dtype, "block")
        buffer.type = type_.with_order(order)
        return buffer

    def _emit(self, op: str, attrs: Attrs, ins: Sequence[Operand], out: Operand) -> Emitter:
        k = self.k
        node = Node(find_op(op), attrs, (out.type,))
        inner = Emitter(node, k.name, k.names, ins, [out])
        choose(node, tuple(x.type for x in ins)).lowering.emit(inner)
        k.buffers += inner.buffers
        k.code.state += inner.code.state
        k.code.bind += inner.code.bind
        if self.once:
            self.statements += inner.code.prepare
        else:
            k.code.prepare += inner.code.prepare
        self.statements += inner.code.run
        return inner

    def _may_overwrite(self, inner: Emitter, attrs: FusedAttrs) -> None:
        """Only the last op writes the output, so an input may give its memory if that op allows it."""
        allowed = {slot for _, slot in inner.overwritable}
        for i in range(attrs.inputs):
            slots = {slot for slot, operand in enumerate(attrs.program[-1].operands) if operand == i}
            if slots <= allowed and (0, i) not in self.k.overwritable:
                self.k.may_overwrite(0, i)


# ---------------------------------------------------------------- blocks


def _memory(x: Operand) -> tuple[int, ...]:
    return x.type.order or tuple(range(x.type.rank))


def _alike(x: Operand, y: Operand) -> bool:
    """Whether ``x``, or what it is broadcast from, lies in memory in the order of ``y``, without gaps."""
    lead = y.type.rank - x.type.rank
    wanted = [axis - lead for axis in _memory(y) if axis >= lead and x.shape[axis - lead] != 1]
    gapless = x.contiguous or x.phase is Phase.CALL  # what comes with the call is copied where it is not
    return gapless and wanted == [axis for axis in _memory(x) if x.shape[axis] != 1]


@dataclass
class _Grid:
    """The output's axes in memory order, adjacent ones made one, and how blocks are cut from them.

    Attributes
    ----------
    shape
        Sizes of the joined axes, outermost first.
    axis
        Blocks are ranges of this axis, whole in the axes after it, single in those before.
    step
        How long a range.
    ins, y
        The operands seen in the joined axes.
    """

    shape: tuple[int, ...]
    axis: int
    step: int
    ins: list[Operand]
    y: Operand

    @classmethod
    def of(cls, k: Emitter) -> _Grid:
        (y,) = k.outs
        memory = _memory(y)
        sizes = [y.shape[axis] for axis in memory]
        padded = [(1,) * (y.type.rank - x.type.rank) + x.shape for x in k.ins]
        spread = [tuple(p[axis] == 1 for p in padded) for axis in memory]
        groups: list[list[int]] = []
        for i, size in enumerate(sizes):
            if size == 1:
                continue
            if groups and spread[groups[-1][-1]] == spread[i]:
                groups[-1].append(i)
            else:
                groups.append([i])
        shape = tuple(math.prod(sizes[i] for i in g) for g in groups)
        ins = []
        for x, p in zip(k.ins, padded, strict=True):
            seen = tuple(math.prod(p[memory[i]] for i in g) for g in groups)
            ins.append(cls._scalar(k, x) if x.type.size == 1 else cls._seen(k, x, y, seen))
        return cls(shape, *_cut(shape, y.dtype.itemsize), ins, cls._seen(k, y, y, shape))

    @staticmethod
    def _seen(k: Emitter, x: Operand, y: Operand, shape: tuple[int, ...]) -> Operand:
        lead = y.type.rank - x.type.rank
        turned = k.permuted(x, tuple(axis - lead for axis in _memory(y) if axis >= lead))
        return k.target(turned, shape, "flat") if x is y else k.reshaped(turned, shape)

    @staticmethod
    def _scalar(k: Emitter, x: Operand) -> Operand:
        return x if x.type.rank == 0 else k.target(x, (), "scalar")

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Ranges of the block axis (or, where there is one, of the outermost axis) for each thread."""
        size = self.shape[0]
        unit = self.step if self.axis == 0 else 1
        blocks = -(-size // unit)
        cuts = [min(size, blocks * i // count * unit) for i in range(count + 1)]
        return list(pairwise(cuts))

    def loop(self, k: Emitter, start: int, stop: int) -> list[str]:
        """Lines that compute the given range of the outermost axis, block by block."""
        lines: list[str] = []
        indent = ""
        index = []
        for axis in range(self.axis):
            index.append(k.names.fresh(f"i{axis}"))
            first, last = (start, stop) if axis == 0 else (0, self.shape[axis])
            lines.append(f"{indent}for {index[-1]} in range({first}, {last}):")
            indent += "    "
        first, last = (start, stop) if self.axis == 0 else (0, self.shape[self.axis])
        rest = (last - first) % self.step
        if last - rest > first:
            a = k.names.fresh("a")
            lines.append(f"{indent}for {a} in range({first}, {last - rest}, {self.step}):")
            lines += self._block(k, index, f"{a}:{a} + {self.step}", self.step, indent + "    ")
        if rest:
            lines += self._block(k, index, f"{last - rest}:{last}", rest, indent)
        return lines

    def _block(self, k: Emitter, index: Sequence[str], window: str, length: int, indent: str) -> list[str]:
        shape = (length, *self.shape[self.axis + 1 :])
        lines: list[str] = []

        def cut(x: Operand) -> Operand:
            if x.type.rank != len(self.shape):
                return x
            keys = [i if size > 1 else "0" for i, size in zip(index, x.shape, strict=False)]
            small = x.shape[self.axis] == 1
            own = tuple(1 if d == 1 else n for d, n in zip(x.shape[self.axis :], shape, strict=True))
            block = Operand(k.names.unique(f"{x.name}_block"), TensorType(own, x.dtype), Phase.CALL, base=x)
            lines.append(f"{block} = {x}[{', '.join([*keys, ':' if small else window])}]")
            return block

        ins = [cut(x) for x in self.ins]
        y = cut(self.y)
        lines += [statement.line for statement in _Program(k, ins, y).statements]
        return [f"{indent}{line}" for text in lines for line in text.splitlines()]


def _cut(shape: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """The axis that blocks are ranges of, and their length."""
    wanted = max(1, BLOCK_BYTES // itemsize)
    inner = 1
    for axis in range(len(shape) - 1, -1, -1):
        if inner * shape[axis] > wanted or axis == 0:
            return axis, min(shape[axis], max(1, wanted // inner))
        inner *= shape[axis]
    return 0, 1
