"""One task of a schedule, with what its kernel wrote."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.ir import Node
from ..planning.phase import Phase
from ..planning.registry import Choice
from .emitter import Operand
from .statement import Code


@dataclass(eq=False)
class Step:
    """One task and what its kernel wrote, for so many workers.

    Attributes
    ----------
    name, node, choice
        Of the task.
    ins, outs
        Its operands; None for an output that nobody reads.
    buffers
        Working memory that the kernel asked for.
    overwritable
        ``(output, input)`` pairs: the output may take the input's memory if it dies here.
    workers
        Over how many the work is shared.
    code
        The statements.
    """

    name: str
    node: Node
    choice: Choice
    ins: tuple[Operand, ...]
    outs: tuple[Operand | None, ...]
    buffers: tuple[Operand, ...]
    overwritable: tuple[tuple[int, int], ...]
    workers: int
    code: Code

    @property
    def lowering(self) -> str:
        """Name of the lowering."""
        return self.choice.lowering.name

    @property
    def fixed(self) -> bool:
        """Whether it depends on parameters only."""
        return all(y is None or y.phase is Phase.STATE for y in self.outs)

    @property
    def memory(self) -> list[Operand]:
        """The outputs and buffers that have memory of their own."""
        return [y for y in (*self.outs, *self.buffers) if y is not None and y.base is None]
