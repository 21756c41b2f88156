"""A task of a schedule, with what its kernel emitted."""

from __future__ import annotations

from ...base.lazy import pathlib
from ...base.structs import struct
from ...graph.ir import Node
from ..planning.phase import Phase
from ..planning.registry import Choice
from .emitter import Operand
from .statement import Code


@struct(eq=False)
class Step:
    """One task, with the code that its kernel emitted.

    Attributes
    ----------
    name, node, choice
        Those of the task.
    ins, outs
        Its operands; None for an output that nothing reads.
    buffers
        Working memory that the kernel asked for.
    overwritable
        ``(output, input)`` pairs: the output may take the input's memory if that is not read later.
    workers
        The number of workers that share the work.
    code
        The statements.
    inner
        For each region that the node runs: the attribute that holds it, and the region's steps.
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
    inner: tuple[tuple[str, tuple[Step, ...]], ...] = ()

    @property
    def lowering(self) -> str:
        """Name of the lowering."""
        return self.choice.lowering.name

    @property
    def fixed(self) -> bool:
        """Whether all its outputs depend on parameters only."""
        return all(y is None or y.phase is Phase.STATE for y in self.outs)

    @property
    def memory(self) -> list[Operand]:
        """The outputs and buffers that have memory of their own."""
        return [y for y in (*self.outs, *self.buffers) if y is not None and y.base is None]

    def __str__(self) -> str:
        """``features.0.conv2d: Conv2d by im2col -> float32[8, 32, 28, 28] (model.py:12)``."""
        types = ", ".join(str(y.type) for y in self.outs if y is not None)
        places = [pathlib.Path(place).name for place in self.node.origin.locations]
        where = f" ({', '.join(places)})" if places else ""
        return f"{self.name}: {self.node.op.name} by {self.lowering} -> {types}{where}"
