"""The epilogue of a layer's product, run on blocks of its result: bias or floor, residual, activation, pooling.

A kernel asks the :class:`Epilogue` of its node whether the kernel can run it, and lets it write the lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ....base.structs import struct
from ....graph.ir import Node
from ....graph.opdef import Attrs, NoAttrs, OpDef
from ....graph.ops.conv_pool import bias_and_residual
from ....graph.ops.fused_activation import activation_op
from ....graph.ops.pool import MaxPoolAttrs
from ....graph.types import DType, TensorType
from ...planning.phase import Phase
from ...planning.registry import choices, lowerings
from ...program.emitter import Emitter, Operand
from ...program.statement import Statement, unmarked
from .cut import bind_memory
from .loop import BlockLoop

B = TypeVar("B")

AT_ONCE = 2048
"""About how many elements one bias addition covers: several pixels together if a pixel has few outputs."""


@struct(frozen=True)
class Epilogue:
    """What follows the product of a node, in the order of the attributes; empty for ops without anything fused.

    Attributes
    ----------
    shift
        Whether there is a third input, a bias or a floor.
    floor
        Whether the third input is a lower bound of the results, instead of a bias.
    residual
        Whether an array of the result's shape is added.
    activation, activation_attrs
        A unary element-wise op, or None.
    pool
        A max pooling, or None.
    filled
        Whether the padding of the input has values other than zero.
    """

    shift: bool = False
    floor: bool = False
    residual: bool = False
    activation: OpDef | None = None
    activation_attrs: Attrs = NoAttrs()
    pool: MaxPoolAttrs | None = None
    filled: bool = False

    @classmethod
    def of(cls, node: Node, inputs: Sequence[Any]) -> Epilogue:
        """The epilogue of a layer with these inputs (operands, or their types)."""
        attrs: Any = node.attrs
        shift = bias_and_residual(attrs, inputs)[0] is not None
        if not node.op.activates:
            return cls(shift)
        return cls(
            shift, attrs.floor, getattr(attrs, "residual", False), activation_op(attrs), attrs.activation_attrs,
            getattr(attrs, "pool", None), getattr(attrs, "filled", False),
        )  # fmt: skip

    @property
    def passes(self) -> int:
        """The number of passes over the result."""
        return self.shift + self.residual + self.filled + (self.activation is not None) + (self.pool is not None)

    @property
    def runs(self) -> bool:
        """Whether its activation, if any, has a kernel."""
        return self.activation is None or bool(lowerings(self.activation))

    @property
    def anywhere(self) -> bool:
        """Whether the activation, if any, may run in place on any part of the result, also after the pooling."""
        if self.activation is None:
            return True
        return self.in_place and (self.pool is None or self.activation.rises(self.activation_attrs))

    @property
    def in_place(self) -> bool:
        """Whether the activation, if any, may overwrite its input, on any part of an array."""
        return self.activation is None or any(lowering.in_place for lowering in lowerings(self.activation))

    # ------------------------------------------------------------ lines

    def terms(self, out: object, shift: object = None, residual: object = None) -> list[str]:
        """Lines that combine the third input and the residual, if given, with ``out``."""
        lines = [] if shift is None else [f"{self.combine}({out}, {shift}, out={out})"]
        return lines if residual is None else [*lines, f"np.add({out}, {residual}, out={out})"]

    def activation_lines(
        self, loop: BlockLoop[B], out: object, shape: tuple[int, ...], place: object = None
    ) -> list[str]:
        """Lines that apply the activation to ``out``, a loop variable of this shape, in place or into ``place``."""
        activated = self.activate(loop.k, loop.k.outs[0].dtype, shape, out, out if place is None else place)
        if activated is None:
            return []
        activated.settle(loop)
        return list(activated.lines)

    @property
    def combine(self) -> str:
        """The NumPy function that combines the third input with the result."""
        return "np.maximum" if self.floor else "np.add"

    def activate(
        self, k: Emitter, dtype: DType, shape: tuple[int, ...], source: object, target: object, whole: bool = False
    ) -> Activating | None:
        """Let the activation's kernel write lines for the variables ``source`` and ``target``; None without activation.

        A kernel that can run in place is preferred: the memory that it needs does not depend on the block's shape.
        ``whole`` says that the variables are contiguous arrays instead of blocks.
        """
        if self.activation is None:
            return None
        type_ = TensorType(shape, dtype)
        node = Node(self.activation, self.activation_attrs, (type_,))
        # for the kernel they are arrays whose address is not known before the call
        x = Operand(unmarked(str(source)), type_, Phase.CALL, contiguous=whole)
        y = Operand(unmarked(str(target)), type_, Phase.CALL, base=k.outs[0], contiguous=whole)
        inner = Emitter(node, k.name, k.names, [x], [y], 1)
        by_time = [choice.lowering for choice in choices(node, (type_,))]
        next((lowering for lowering in by_time if lowering.in_place), by_time[0]).emit(inner)
        statements = *inner.code.bind, *inner.code.run
        return Activating(statements, (0, 0) in inner.overwritable, tuple(inner.buffers))


@struct(frozen=True)
class Activating:
    """What the activation's kernel wrote for one block.

    Attributes
    ----------
    statements
        Its lines.
    in_place
        Whether source and target may be the same.
    buffers
        The working memory it needs. If the kernel can run in place, the same buffers serve blocks of any shape.
    """

    statements: tuple[Statement, ...]
    in_place: bool
    buffers: tuple[Operand, ...]

    def settle(self, loop: BlockLoop[B]) -> None:
        """Give each worker of a loop working memory of its own."""
        for buffer in self.buffers:
            own = loop.scratch(buffer.shape, buffer.dtype, "activation")
            loop.named(loop.bind("room", bind_memory, loop.blocks, own), str(buffer))

    def write(self, k: Emitter) -> None:
        """Add the lines to those of a kernel without a loop."""
        k.adopt(self.buffers)
        k.take(self.statements)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines for the body of a loop."""
        return tuple(statement.line for statement in self.statements)


# ---------------------------------------------------------------- rows to add


def pixels_of_run(outputs: int, blocks: Iterable[int]) -> int:
    """The number of pixels, of ``outputs`` each, to add a bias to at once; divides the pixels of every block."""
    common = math.gcd(*blocks)
    return max(d for d in range(1, max(1, AT_ONCE // max(1, outputs)) + 1) if common % d == 0)


def tiled(k: Emitter, bias: Operand, tile: int) -> Operand:
    """The bias, repeated ``tile`` times."""
    if tile == 1:
        return bias
    with k.once(bias):
        row = k.scratch((tile * bias.shape[0],), bias.dtype, "biases")
        k.line(f"{k.seen(row, (tile, bias.shape[0]))}[...] = {bias}")
    return row
