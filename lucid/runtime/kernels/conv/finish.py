"""The epilogue and max pooling of a convolution, run on each block while it is in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from ....graph.ops.conv_pool import bias_and_residual
from ....graph.types import CHANNELS_LAST
from ...program.emitter import Operand
from ..shared.cut import Block, bind_memory, largest
from ..shared.epilogue import Epilogue, pixels_of_run, tiled
from ..shared.loop import BlockLoop, Bound, channels_last, laid_out
from ..shared.pooling import competing, lowest
from ..shared.pooling_views import padding_steps
from .finish_views import (
    PoolingSteps,
    bind_biases,
    bind_copies,
    bind_finals,
    bind_halves,
    bind_held,
    bind_padding,
    bind_pooling,
    bind_results,
    bind_runs,
)
from .geometry import Layer


class Finish:
    """Writes the lines that follow the product of each block.

    Monotone steps (the bias, most activations) run after the maximum, for 2x2 windows on a quarter of the elements; the
    values are the same.

    Attributes
    ----------
    loop, layer
        The loop that is written, and the layer; a block is a part of the output of one group.
    epilogue
        What follows the product.
    straight
        Whether products can be written to the output, with the epilogue in place.
    last
        Whether the output is channels last.
    """

    def __init__(self, loop: BlockLoop[Block], layer: Layer) -> None:
        self.loop, self.layer, self.k = loop, layer, loop.k
        self.epilogue = Epilogue.of(self.k.node, self.k.ins)
        self.bias, self.residual = bias_and_residual(self.k.attrs, self.k.ins)
        self.y: Operand = self.k.outs[0]
        self.last = channels_last(self.y)
        self.straight = not layer.pool and self.epilogue.in_place

    # ------------------------------------------------------------ where products go

    def results(self) -> Bound:
        """The blocks of the output, as matrices."""
        return self.loop.bind("results", bind_results, self.loop.blocks, self.y, self.last)

    @cached_property
    def held(self) -> tuple[Operand, ...]:
        """Scratch buffers for products that are pooled, or finished, before they are copied to the output."""
        shape = max(map(self.layer.held, self.loop.every)), self.layer.conv.group_out
        return self.loop.scratch(shape, self.y.dtype, "convolved")

    @cached_property
    def products(self) -> Bound:
        """The products of each block in scratch, as a matrix (pixels, outputs)."""
        return self.loop.bind("held", bind_held, self.layer, self.loop.blocks, self.held)

    # ------------------------------------------------------------ what follows them

    def finish(self, matrices: Bound, last: bool) -> None:
        """Add lines for bias, residual and activation on the results of each block, bound as ``matrices``."""
        if self.epilogue.activation is None and not self._shifts:
            return
        out = self._shift(matrices, last, (b.image_rows * self.y.shape[3] for b in self.loop.every))
        self.loop.line(*self.epilogue.activation_lines(self.loop, out, self.y.shape))

    def take(self) -> None:
        """Add lines that pool and finish the products in scratch, and copy them to the output."""
        late, layer = self.epilogue.anywhere, self.layer
        held = self.held if late else self._activated()
        if layer.by_taps:
            self._halve(held, late)
            return
        if not layer.pool:
            copies = self.loop.bind("copies", bind_copies, layer, self.loop.blocks, held, self.y)
            place, value = self.loop.over(copies, "place", "value")
            self.loop.line(f"{place}[...] = {value}")
        else:
            self._pool(held)
        if late:
            self.finish(self.results(), self.last)
        self._pad()

    @property
    def _shifts(self) -> bool:
        return self.epilogue.shift or self.epilogue.residual

    def _shift(self, matrices: Bound, last: bool, pixels: Iterable[int]) -> str:
        """Add lines for bias and residual, several pixels at once; returns the variable that holds these."""
        loop, k, conv = self.loop, self.k, self.layer.conv
        whole = last and conv.groups == 1
        tile = pixels_of_run(conv.outputs, pixels) if whole else 1

        def runs(bound: Bound, name: str) -> str:
            seen = bound if tile == 1 else loop.bind("runs", bind_runs, bound, tile * conv.outputs)
            return loop.over(seen, name)[0]

        out, shift, added = runs(matrices, "out"), None, None
        if self.bias is not None:
            shift = tiled(k, self.bias, tile) if whole else loop.each("bias", bind_biases, loop.blocks, self.bias, last)
        if self.residual is not None:
            residual = laid_out(k, self.residual, last, "residual")
            added = runs(loop.bind("residuals", bind_results, loop.blocks, residual, last), "residual")
        loop.line(*self.epilogue.terms(out, shift, added))
        return out

    def _activated(self) -> tuple[Operand, ...]:
        """Activate all products in scratch at once, into other memory if necessary; returns that of the results."""
        loop, dtype, shape = self.loop, self.y.dtype, self.held[0].shape
        if self._shifts:
            self._shift(self.products, True, map(self.layer.held, loop.every))
        source, target = loop.fresh("whole", "activated")
        activated = self.epilogue.activate(self.k, dtype, shape, source, target)
        assert activated is not None
        made = self.held if activated.in_place else loop.scratch(shape, dtype, "activated")
        activated.settle(loop)
        for name, own in ((source, self.held), (target, made)):
            loop.named(loop.bind("whole", bind_memory, loop.blocks, own), name)
        loop.take(activated.statements)
        return made

    def _halve(self, held: Sequence[Operand], late: bool) -> None:
        """Take the maximum of equal parts of the products, the last directly in the output if possible, and finish."""
        loop, straight = self.loop, self.last and self.layer.conv.groups == 1
        halves = loop.bind("halves", bind_halves, self.layer, loop.blocks, held, self.y, straight)
        h = loop.parts(halves, PoolingSteps)
        self._maxima(h.steps)
        if late:
            self.finish(loop.bind("finals", bind_finals, halves), True)
        if not straight:
            loop.line(f"{h.place}[...] = {h.value}")

    def _pool(self, held: Sequence[Operand]) -> None:
        loop, dtype = self.loop, self.y.dtype
        rows: Sequence[Operand | None] = (None,) * len(loop.work)
        if min(axis.kernel for axis in self.layer.pool) > 1:
            rows = loop.scratch((*largest(loop.every), self.layer.conv.cols.count), dtype, "rows", CHANNELS_LAST)
        self._maxima(loop.each("step", bind_pooling, self.layer, loop.blocks, held, rows, self.y, lowest(dtype)))

    def _pad(self) -> None:
        """Take the maximum with the padding, after the activation."""
        pool, y, blocks = self.epilogue.pool, self.y, self.loop.blocks
        pad = None if pool is None else competing(pool, y.dtype)
        if pad is None:
            return
        rows, cols = self.layer.pool
        if any(any(padding_steps(rows, cols, block)) for block in self.loop.every):
            self._maxima(self.loop.each("edge", bind_padding, self.layer, blocks, y, pad))

    def _maxima(self, steps: object) -> None:
        out, a, b = self.loop.fresh("out", "a", "b")
        self.loop.for_each((out, a, b), steps, f"np.maximum({a}, {b}, out={out})")
