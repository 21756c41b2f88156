"""The activation inside a fused convolution: the lines its own kernel writes, on a block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ....graph.ir import Node
from ....graph.ops.activated import activation_op
from ....graph.ops.elementwise import RELU
from ....graph.types import TensorType
from ...planning.phase import Phase
from ...planning.registry import choose, lowerings
from ...program.emitter import Emitter, Names, Operand
from ...program.statement import Statement, unmarked


@dataclass(frozen=True)
class Activation:
    """What the activation's kernel wrote for one block.

    ``in_place`` tells whether it may write over what it reads, ``buffers`` what it needs as working memory.
    With none its lines fit a block of any shape.
    """

    statements: tuple[Statement, ...]
    in_place: bool
    buffers: tuple[Operand, ...]
    monotone: bool

    @property
    def lines(self) -> tuple[str, ...]:
        """For the body of a loop."""
        return tuple(statement.line for statement in self.statements)

    @property
    def anywhere(self) -> bool:
        """It can run on any part of an array, in place."""
        return self.in_place and not self.buffers


@lru_cache(64)
def zero_row(dtype: Any, length: int) -> Any:
    """Zeros, to compare rows of this length with."""
    return np.zeros(length, dtype)


def write_activation(
    k: Emitter, dtype: Any, shape: tuple[int, ...], source: str, target: str, zeros: str | None = None
) -> Activation | None:
    """Run the activation's kernel on the loop variables ``source`` and ``target``.

    ``zeros`` names an array of zeros that broadcasts to them by rows: NumPy's maximum of two arrays is
    vectorised, that of an array and a number is not, and takes two to four times as long. None where there is no
    activation, as in an op that is not fused.
    """
    op = activation_op(k.attrs) if k.node.op.activates else None
    if op is None:
        return None
    if op is RELU and zeros is not None:
        line = Statement.of(f"np.maximum({source}, {zeros}, out={target})", Phase.CALL)
        return Activation((line,), True, (), True)
    type_ = TensorType(shape, dtype)
    node = Node(op, k.attrs.activation_attrs, (type_,))
    # to the kernel they are arrays whose address is not known before the call
    x = Operand(unmarked(source), type_, Phase.CALL, contiguous=False)
    y = Operand(unmarked(target), type_, Phase.CALL, contiguous=False)
    inner = Emitter(node, k.name, k.names, [x], [y], 1)
    choose(node, (type_,)).lowering.emit(inner)
    return Activation(
        (*inner.code.bind, *inner.code.run), (0, 0) in inner.overwritable, tuple(inner.buffers), op.monotone
    )


def combining(k: Emitter) -> str:
    """The function that brings in the third input: it is added, or the least that a result may be."""
    return "np.maximum" if getattr(k.attrs, "floor", False) else "np.add"


def has_activation(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    op = activation_op(node.attrs) if node.op.activates else None  # type: ignore[arg-type]
    return op is None or bool(lowerings(op))


def acts_anywhere(node: Node) -> bool:
    """Whether the activation, if any, may run in place on any part of the output, and after the pooling."""
    if not node.op.activates:
        return True
    if not has_activation(node, ()):
        return False
    (y,) = node.outputs
    written = write_activation(Emitter(node, "probe", Names(), (), ()), y.dtype, y.concrete, "a", "a")
    pooled = getattr(node.attrs, "pool", None) is not None
    return written is None or (written.anywhere and (written.monotone or not pooled))
