"""One node of a schedule, with what its kernel wrote."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.ir import Node
from ..program.emitter import Operand
from ..program.statement import Code, Phase
from .registry import Choice


@dataclass(eq=False)
class Step:
    """One node of the schedule and what its kernel wrote, for so many workers."""

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
