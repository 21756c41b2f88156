"""The statements of a fused program on one set of operands: whole arrays, or blocks of them.

Each op is written by its own kernel, so nothing is computed differently from the unfused ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ....graph.ir import Node
from ....graph.opdef import find_op
from ....graph.ops.fused import FusedAttrs, LoopAttrs, Result, instruction_types
from ....graph.types import DType, TensorType
from ...planning.phase import Phase
from ...planning.registry import Lowering, choose
from ...program.emitter import Emitter, Operand
from ...program.statement import Statement

AddUp: TypeAlias = "Callable[[int, Operand], Sequence[str]]"


class Program:
    """The statements that run a program on operands of given types, and the temporaries they need.

    Parameters
    ----------
    k
        The emitter of the fused node.
    ins
        Its inputs, or blocks of them.
    outs
        The operands to write results to, by value number.
    like
        An operand with the memory order and phase that temporaries should have.
    add_up
        ``add_up(number, value)`` returns lines to write as soon as a value exists; for inputs, at the beginning.
    """

    def __init__(
        self, k: Emitter, ins: Sequence[Operand], outs: Mapping[int, Operand], like: Operand,
        add_up: AddUp = lambda number, value: (),
    ) -> None:  # fmt: skip
        self.k = k
        self.statements: list[Statement] = []
        self._once = like.phase is Phase.STATE
        self._like = like
        attrs: FusedAttrs = k.attrs
        types = instruction_types(attrs, [x.type for x in ins])
        values: list[Operand] = list(ins)
        for i, x in enumerate(ins):
            self._lines(add_up(i, x))
        last = {i: n for n, step in enumerate(attrs.program) for i in step.operands}
        free: dict[tuple[tuple[int, ...], DType], list[Operand]] = {}
        for number, step in enumerate(attrs.program):
            index = attrs.inputs + number
            type_ = types[index]
            node, read = Node(find_op(step.op), step.attrs, (type_,)), [values[i] for i in step.operands]
            lowering = choose(node, tuple(x.type for x in read)).lowering
            dead = {i for i in step.operands if last[i] == number and i >= attrs.inputs and i not in outs}
            out = outs.get(index)
            if out is None and lowering.in_place:
                out = next((values[i] for i in dead if types[i].same_value(type_)), None)
            if out is None:
                pool = free.get((type_.concrete, type_.dtype))
                out = pool.pop() if pool else self._temporary(type_)
            inner = self._emit(node, lowering, read, out)
            values.append(out)
            self._lines(add_up(index, out))
            if index in outs:
                self._may_overwrite(index, inner, last)
            if index not in last and index not in outs:
                dead.add(index)
            for i in dead:
                if i == index or values[i] is not out:
                    free.setdefault((types[i].concrete, types[i].dtype), []).append(values[i])

    def _lines(self, lines: Sequence[str]) -> None:
        phase = Phase.STATE if self._once else Phase.CALL
        self.statements += [Statement.of(line, phase) for line in lines]

    def _temporary(self, type_: TensorType) -> Operand:
        """Working memory with the layout of the results."""
        order = self._like.type.order if type_.rank == self._like.type.rank else None
        buffer = self.k.scratch(type_.concrete, type_.dtype, "block")
        buffer.type = type_.with_order(order)
        return buffer

    def _emit(self, node: Node, lowering: Lowering, ins: Sequence[Operand], out: Operand) -> Emitter:
        k = self.k
        inner = Emitter(node, k.name, k.names, ins, [out])
        lowering.emit(inner)
        k.buffers += inner.buffers
        k.code.state += inner.code.state
        k.code.bind += inner.code.bind
        if self._once:
            self.statements += inner.code.prepare
        else:
            k.code.prepare += inner.code.prepare
        self.statements += inner.code.run
        return inner

    def _may_overwrite(self, index: int, inner: Emitter, last: Mapping[int, int]) -> None:
        """Let a result take the memory of an input that no later op reads, if the op that writes it allows that.

        A kernel may write different lines for a short block than for a long one, so all programs of the node must allow
        it.
        """
        attrs, allowed = self.k.attrs, {slot for _, slot in inner.overwritable}
        number = index - attrs.inputs
        results = attrs.results if isinstance(attrs, LoopAttrs) else (Result(index),)
        output = next(slot for slot, result in enumerate(results) if result.value == index and not result.op)
        for i in range(attrs.inputs):
            slots = {slot for slot, operand in enumerate(attrs.program[number].operands) if operand == i}
            if last.get(i, -1) > number or not slots <= allowed:
                self.k.must_not_overwrite(output, i)
            elif (output, i) not in self.k.overwritable:
                self.k.may_overwrite(output, i)
