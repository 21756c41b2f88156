"""Convolution, bias, activation and max pooling on one block of output rows while it is in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ....graph.ir import Node
from ....graph.ops.conv_pool import CONV_POOL, bias_and_residual
from ....graph.ops.pool import pad_constant
from ....graph.types import TensorType
from ....graph.windows import Axis, side_by_side
from ...planning.registry import kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..pool.max import lowest, pooling_axes
from ..shared.activation import Activation, combining, has_activation, write_activation, zero_row
from ..shared.cut import Block
from ..shared.pooling_views import padding_steps, window_steps
from ..shared.windows import (
    bind,
    channels_last,
    deal,
    image_scratch,
    laid_out,
    over_blocks,
    pixels_of_run,
    recheck,
    tiled,
    tuple_of,
)
from .blocks import (
    ONE_BY_ONE,
    Part,
    bind_bias,
    bind_outputs,
    bind_weights,
    by_images,
    emit_windows,
    multiply_windows,
    pack_weights,
    split,
    working_set,
)
from .geometry import Conv
from .numbers import conv_of, convolved
from .plain import im2col_ways


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Everything but padding that holds numbers."""
    attrs: Any = node.attrs
    return not attrs.filled and has_activation(node, inputs)


@kernel(CONV_POOL, lowering="im2col", accepts=accepts, ways=im2col_ways, staged=True, ordered=True)
def conv_pool(k: Emitter) -> None:
    """Gather, multiply, pool, add the bias, activate.

    What does not decrease (the bias, most activations) runs after the maximum, on a quarter of the elements
    where windows are 2x2; the values are the same.
    """
    recheck(k)
    x, w = k.ins[:2]
    (y,), a = k.outs, k.attrs
    full = convolved(k.node, tuple(t.type for t in k.ins))
    conv = conv_of(a.conv, x.shape, w.shape, full)
    pool = pooling_axes(a.pool, full, y.shape[2:]) if a.pool else None
    taps = ONE_BY_ONE
    if pool is not None and side_by_side(pool):
        taps = pool[0].kernel, pool[1].kernel
        cols = pool[1].count * taps[1]  # what is left of a row is read by no window
        conv = replace(conv, cols=replace(conv.cols, count=cols))
    windows = _deal_rows(conv, pool, y, k.threads)
    if not windows:
        return
    BlockWriter(k, conv, pool, windows, taps).emit()


def _deal_rows(conv: Conv, pool: tuple[Axis, Axis] | None, y: Operand, threads: int) -> list[list[tuple[Part, Part]]]:
    """For each worker its parts: rows of the convolution, and the output rows they make."""
    if pool is None:
        return [[(part, part) for part in mine] for mine in working_set(conv, y.dtype, threads)]
    rows = pool[0]
    per_row = min(conv.rows.count, rows.stride) * conv.cols.count
    parts = split(conv, rows.count, per_row, y.dtype.itemsize, shared=rows.extent > rows.stride)
    return deal([(Part(p.n0, p.n1, *rows.span(p.r0, p.r1), p.group), p) for p in parts], threads)


Grid: TypeAlias = "tuple[int, int]"
"""Rows that are made at a time, and pixels from one to the next."""


class BlockWriter:
    """Writes the block loop of one node.

    Parameters
    ----------
    k, conv, pool
        The node.
    work
        For each worker its parts: rows of the convolution, and the output rows they make.
    taps
        Pixels of the pooling's windows where their order is that of :func:`emit_windows`.
    grid
        A part is made in working memory with a multiple of so many rows for each image, which are so many pixels
        apart; without it, exactly its own.
    """

    def __init__(
        self, k: Emitter, conv: Conv, pool: tuple[Axis, Axis] | None, work: list[list[tuple[Part, Part]]],
        taps: tuple[int, int] = ONE_BY_ONE, grid: Grid | None = None,
    ) -> None:  # fmt: skip
        self.k, self.conv, self.pool = k, conv, pool
        self.bias, self.residual = bias_and_residual(k.attrs, k.ins)
        self.y: Operand = k.outs[0]
        self.inner = [[convolved for convolved, _ in mine] for mine in work]
        self.outer = [[made for _, made in mine] for mine in work]
        self.parts = k.use([list(map(tuple, mine)) for mine in self.inner], f"{k.name}_parts")
        self.geometry = k.use(conv, f"{k.name}_conv")
        self.taps = taps
        self.grid = grid or (1, conv.cols.count)
        self.pixels = max(pixels_held(p, self.grid) for mine in self.inner for p in mine)

    def gather(self) -> None:
        """Begin the loop with what the product reads."""
        self.windows = windows = emit_windows(self.k, self.k.ins[0], self.conv, self.inner, self.taps)
        self.names, self.lists, self.body = windows.names, windows.lists, windows.body

    def emit(self) -> None:
        self.gather()
        self.convolve()
        over_blocks(self.k, len(self.inner), self.names, self.lists, self.body)

    def convolve(self) -> None:
        """What each part goes through after that."""
        if self.pool is not None:
            self.make()
            self.finish_pooled()
        elif not self._direct(channels_last(self.y)):
            self.make()
            self._through_scratch()

    def add(self, name: str, source: str) -> None:
        self.names.append(name)
        self.lists.append(source)

    def _shift(self, target: str, last: bool) -> None:
        """Add the bias to ``target``, and the residual."""
        if self.bias is not None:
            k, name = self.k, self.k.names.fresh("bias")
            source = f"{k.use(bind_bias)}({self.geometry}, {self.parts}, {self.bias}, {last})"
            self.add(name, bind(k, "biases", source, self.bias))
            self.body.append(f"{combining(k)}({target}, {name}, out={target})")
        if self.residual is not None:
            k, name = self.k, self.k.names.fresh("residual")
            added = laid_out(k, self.residual, last, "residual")
            source = f"{k.use(bind_outputs)}({self.geometry}, {self.parts}, {added}, {last})"
            self.add(name, bind(k, "residuals", source, added))
            self.body.append(f"np.add({target}, {name}, out={target})")

    def _direct(self, last: bool) -> bool:
        """Without pooling: multiply into the output, where the activation can run on it there."""
        k, conv, out = self.k, self.conv, self.k.names.fresh("out")
        zeros = k.use(zero_row(self.y.dtype, conv.group_out), "zeros") if last else None
        acts = write_activation(k, self.y.dtype, (self.pixels, conv.group_out), out, out, zeros)
        if acts is not None and not acts.anywhere:
            return False
        if last and conv.groups == 1:
            self._by_runs(out)
            return True
        source = f"{k.use(bind_outputs)}({self.geometry}, {self.parts}, {self.y}, {last})"
        self.add(out, bind(k, "outputs", source, self.y))
        if last:
            multiply_windows(k, self.windows, self.inner, conv, k.ins[1], self.lists[-1], self.y)
        else:
            packed, weight = pack_weights(k, k.ins[1], conv), k.names.fresh("weight")
            self.add(weight, bind(k, "weights", f"{k.use(bind_weights)}({self.parts}, {packed})", packed))
            turned = f"{k.use(by_images)}({self.windows.matrix}, {out})"
            self.body.append(f"np.matmul({weight}, {turned}, out={out})")
        self._shift(out, last)
        self.body += acts.lines if acts is not None else ()
        return True

    def _by_runs(self, out: str) -> None:
        """Multiply into the output, and finish several pixels at a time."""
        k, conv = self.k, self.conv
        source = f"{k.use(bind_outputs)}({self.geometry}, {self.parts}, {self.y}, True)"
        self.add(out, bind(k, "outputs", source, self.y))
        multiply_windows(k, self.windows, self.inner, conv, k.ins[1], self.lists[-1], self.y)
        self._finish_runs(source, self.inner, conv.cols.count)

    def _finish_runs(self, parts: str, work: Sequence[Sequence[Part]], columns: int) -> None:
        """Add the bias and the residual and activate, with several pixels of ``parts`` (pixels, outputs) as one row."""
        k, outputs = self.k, self.conv.outputs
        tile = pixels_of_run(outputs, ((p.n1 - p.n0) * (p.r1 - p.r0) * columns for mine in work for p in mine))

        def rows(label: str, source: str, *reads: Operand) -> str:
            name = k.names.fresh(label)
            views = f"[[{k.seen('part', (-1, tile * outputs))} for part in mine] for mine in {source}]"
            self.add(name, bind(k, f"{label}s", views, *reads))
            return name

        run = rows("run", parts, self.y)
        if self.bias is not None:
            self.body.append(f"{combining(k)}({run}, {tiled(k, self.bias, tile)}, out={run})")
        if self.residual is not None:
            added = laid_out(k, self.residual, True, "residual")
            source = f"{k.use(bind_outputs)}({self.geometry}, {self.parts}, {added}, True)"
            self.body.append(f"np.add({run}, {rows('residual', source, added)}, out={run})")
        zeros = k.use(zero_row(self.y.dtype, tile * outputs), "zeros")
        acts = write_activation(k, self.y.dtype, (self.pixels, outputs), run, run, zeros)
        self.body += acts.lines if acts is not None else ()

    def make(self) -> None:
        """The convolution of the block into scratch."""
        k = self.k
        self.made = [k.scratch((self.pixels, self.conv.group_out), self.y.dtype, "convolved") for _ in self.inner]
        self.listed = "".join(f"{m}, " for m in self.made)
        self.product = k.names.fresh("product")
        source = f"{k.use(bind_flat)}({self.parts}, ({self.listed}), {self.grid})"
        self.add(self.product, bind(k, "flat", source, *self.made))
        self.multiply()

    def multiply(self) -> None:
        """The product of what was gathered."""
        multiply_windows(self.k, self.windows, self.inner, self.conv, self.k.ins[1], self.lists[-1], *self.made)

    def _whole_activation(self) -> Sequence[Operand]:
        """Activate the whole scratch, whatever part of it the block fills; returns where the result is."""
        k, source, target = self.k, self.k.names.fresh("whole"), self.k.names.fresh("activated")
        acts = write_activation(k, self.y.dtype, self.made[0].shape, source, target)
        if acts is None:
            return self.made
        for buffer in acts.buffers:  # a loop variable too: each worker has its own
            own = [k.scratch(buffer.shape, buffer.dtype, "activation") for _ in self.inner]
            lists = "".join(f"[{b}] * {len(p)}, " for b, p in zip(own, self.inner, strict=True))
            self.add(str(buffer), bind(k, "working", f"({lists})", *own))
        results = self.made if acts.in_place else [k.scratch(m.shape, m.dtype, "activated") for m in self.made]
        pairs = "".join(f"[({m}, {r})] * {len(p)}, " for m, r, p in zip(self.made, results, self.inner, strict=True))
        self.add(f"({source}, {target})", bind(k, "activations", f"({pairs})", *self.made, *results))
        self.body += acts.lines
        return results

    def _through_scratch(self) -> None:
        """Without pooling, where the activation needs working memory of its own."""
        self._shift(self.product, True)
        results = self._whole_activation()
        self.copy(results)

    def copy(self, results: Sequence[Operand]) -> None:
        """What was made goes to the output."""
        k = self.k
        out, value = k.names.fresh("out"), k.names.fresh("value")
        source = f"{k.use(bind_copies)}({self.geometry}, {self.parts}, {tuple_of(results)}, {self.y}, {self.grid})"
        self.add(f"({out}, {value})", bind(k, "copies", source, self.y, *results))
        self.body.append(f"{out}[...] = {value}")

    def late_activation(self) -> tuple[str, Activation | None]:
        """The activation on a part of the output, and the name it goes by there."""
        k, out = self.k, self.k.names.fresh("out")
        zeros = None
        if channels_last(self.y):
            zeros = k.use(zero_row(self.y.dtype, self.conv.group_out).reshape(-1, 1, 1), f"{k.name}_zeros")
        return out, write_activation(k, self.y.dtype, self.y.shape, out, out, zeros)

    def finish_pooled(self) -> None:
        """The pooling of what was made, and what follows it."""
        out, acts = self.late_activation()
        late = acts is None or (acts.anywhere and acts.monotone)
        results: Sequence[Operand] = self.made
        if not late:
            self._shift(self.product, True)
            results = self._whole_activation()
        if self.taps != ONE_BY_ONE:
            self._pooled_by_groups(results, late)
            return
        steps, edges = self._steps()
        self._run_steps("steps", steps, results)
        if late:
            self.shift_and_act(out, acts)
        if any(any(e) for mine in edges for e in mine):
            self._run_steps("edges", edges, results)

    def _pooled_by_groups(self, results: Sequence[Operand], late: bool) -> None:
        """The maximum of equal parts of the product, the last one where the results lie; what follows on these."""
        k, conv, listed = self.k, self.conv, tuple_of(results)
        straight = channels_last(self.y) and conv.groups == 1
        parts = k.use([list(map(tuple, mine)) for mine in self.outer], f"{k.name}_pooled")
        call = f"({self.geometry}, {parts}, {listed}, {self.y}, {self.taps[0] * self.taps[1]}, {straight})"
        entries = bind(k, "pooling", f"{k.use(bind_groups)}{call}", self.y, *results)
        steps, final, place, value, out, a, b = (
            k.names.fresh(n) for n in ("steps", "final", "place", "value", "out", "a", "b")
        )
        self.add(f"({steps}, {final}, {place}, {value})", entries)
        self.body.append(f"for {out}, {a}, {b} in {steps}:\n    np.maximum({a}, {b}, out={out})")
        if late:
            self._finish(final, f"[[entry[1] for entry in mine] for mine in {entries}]")
        if not straight:
            self.body.append(f"{place}[...] = {value}")

    def _finish(self, final: str, parts: str) -> None:
        """Add the bias and activate the pooled matrix (pixels, outputs of a group) of each part."""
        k, outputs = self.k, self.conv.group_out
        if self.conv.groups == 1:
            self._finish_runs(parts, self.outer, self.y.shape[3])
            return
        self._shift(final, True)
        zeros = k.use(zero_row(self.y.dtype, outputs), "zeros")
        acts = write_activation(k, self.y.dtype, (self.pixels, outputs), final, final, zeros)
        self.body += acts.lines if acts is not None else ()

    def shift_and_act(self, out: str, acts: Activation | None) -> None:
        """What follows the pooling."""
        k = self.k
        blocks = k.use([[tuple(b) for b in mine] for mine in self._blocks()], f"{k.name}_blocks")
        source = f"{k.use(bind_parts)}({blocks}, {self.y})"
        if channels_last(self.y) and self.conv.groups == 1:
            pixels = f"[[part.transpose(0, 2, 3, 1) for part in mine] for mine in {source}]"
            self._finish_runs(pixels, self.outer, self.y.shape[3])
            return
        self.add(out, bind(k, "outputs", source, self.y))
        if self.bias is not None:
            name = k.names.fresh("bias")
            biases = f"{k.use(bind_bias)}({self.geometry}, {self.parts}, {self.bias}, False)"
            self.add(name, bind(k, "biases", f"{k.use(bind_planes)}({biases})", self.bias))
            self.body.append(f"{combining(k)}({out}, {name}, out={out})")
        self.body += acts.lines if acts is not None else ()

    def _blocks(self) -> list[list[Block]]:
        size = self.conv.group_out
        return [
            [Block(p.n0, p.n1, p.r0, p.r1, p.group * size, (p.group + 1) * size) for p in mine] for mine in self.outer
        ]

    def _steps(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """The pooling of each block, and what its padding does after the activation."""
        assert self.pool is not None
        a, (rows, cols) = self.k.attrs.pool, self.pool
        competes = any(a.padding) and pad_constant(a.pad_value, self.y.dtype) != lowest(self.y.dtype)
        steps, edges = [], []
        for blocks, inner in zip(self._blocks(), self.inner, strict=True):
            steps.append([
                list(window_steps(rows, cols, b, (b.n0, b.c0, p.r0))) for b, p in zip(blocks, inner, strict=True)
            ])  # fmt: skip
            edges.append([list(padding_steps(rows, cols, b)) if competes else [] for b in blocks])
        return steps, edges

    def _run_steps(self, label: str, steps: list[list[Any]], results: Sequence[Operand]) -> None:
        k = self.k
        if not hasattr(self, "held"):
            self.held = self._row_buffers()
        program = k.use(steps, f"{k.name}_{label}")
        held = "".join(f"{h}, " for h in self.held)
        pad = np.array(pad_constant(k.attrs.pool.pad_value, self.y.dtype))
        source = (
            f"{k.use(bind_pooling)}({self.geometry}, {self.parts}, {program}, ({''.join(f'{r}, ' for r in results)}), "
            f"({held}), {self.y}, {k.use(lowest(self.y.dtype), 'lowest')}, {k.use(pad, 'padding')}, {self.grid})"
        )
        views = bind(k, label, source, self.y, *results, *self.held)
        name, out, first, second = (k.names.fresh(n) for n in (label, "out", "a", "b"))
        self.add(name, views)
        self.body.append(f"for {out}, {first}, {second} in {name}:\n    np.maximum({first}, {second}, out={out})")

    def _row_buffers(self) -> list[Operand]:
        assert self.pool is not None
        if min(self.pool[0].kernel, self.pool[1].kernel) == 1:
            return []
        parts = [p for mine in self.outer for p in mine]
        images, rows = max(p.n1 - p.n0 for p in parts), max(p.r1 - p.r0 for p in parts)
        size = (images, self.conv.group_out, rows, self.conv.cols.count)
        return [image_scratch(self.k, size, self.y.dtype, True, "rows") for _ in self.outer]


def pixels_held(part: Part, grid: Grid) -> int:
    """Pixels of the scratch that a part fills."""
    tile, pitch = grid
    return (part.n1 - part.n0) * -(-(part.r1 - part.r0) // tile) * tile * pitch


def bind_flat(work: Sequence[Sequence[Any]], made: Sequence[Any], grid: Grid) -> list[list[Any]]:
    """The rows of the scratch that each part fills."""
    return [
        [memory[: pixels_held(part, grid)] for part in map(Part._make, mine)]
        for mine, memory in zip(work, made, strict=True)
    ]


def _images(conv: Conv, part: Part, memory: Any, grid: Grid) -> Any:
    """The scratch of a part as (images, outputs, rows, columns)."""
    flat = memory[: pixels_held(part, grid)]
    images = as_view(flat, part.n1 - part.n0, -1, grid[1], conv.group_out).transpose(0, 3, 1, 2)
    return images[:, :, : part.r1 - part.r0, : conv.cols.count]


def bind_copies(
    conv: Conv, work: Sequence[Sequence[Any]], results: Sequence[Any], y: Any, grid: Grid
) -> list[list[Any]]:
    """Where each part goes, and where it is."""
    bound = []
    for mine, memory in zip(work, results, strict=True):
        entries = []
        for part in map(Part._make, mine):
            outputs = slice(part.group * conv.group_out, (part.group + 1) * conv.group_out)
            entries.append((y[part.images, outputs, part.rows], _images(conv, part, memory, grid)))
        bound.append(entries)
    return bound


def bind_groups(
    conv: Conv, work: Sequence[Sequence[Any]], results: Sequence[Any], y: Any, taps: int, straight: bool
) -> list[list[Any]]:
    """For each part of the output the steps ``maximum(a, b, out=out)``, its matrix, its place in ``y``, and its images.

    The product of a part is ``taps`` matrices of its size, one after another. ``straight`` tells that the last step
    goes to ``y`` itself.
    """
    bound = []
    for mine, memory in zip(work, results, strict=True):
        entries = []
        for part in map(Part._make, mine):
            place = y[part.images, part.group * conv.group_out : (part.group + 1) * conv.group_out, part.rows]
            pixels, nhwc = place.size // conv.group_out, place.transpose(0, 2, 3, 1)
            final = as_view(nhwc, pixels, conv.group_out) if straight else memory[:pixels]
            steps, groups = [], taps
            while groups > 1:
                half, kept = groups // 2, groups - groups // 2
                first, second = memory[: half * pixels], memory[kept * pixels : groups * pixels]
                steps.append((first if kept > 1 else final, first, second))
                groups = kept
            entries.append((steps, final, nhwc, as_view(final, nhwc.shape)))
        bound.append(entries)
    return bound


def bind_parts(blocks: Sequence[Sequence[Sequence[int]]], y: Any) -> list[list[Any]]:
    """The views of the blocks."""
    return [[y[n0:n1, c0:c1, r0:r1] for n0, n1, r0, r1, c0, c1 in mine] for mine in blocks]


def bind_planes(biases: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Each bias with an axis more, to broadcast over rows and columns."""
    return [[bias[..., None] for bias in mine] for mine in biases]


def bind_pooling(
    conv: Conv, work: Sequence[Sequence[Any]], steps: Sequence[Sequence[Any]], results: Sequence[Any],
    held: Sequence[Any], y: Any, least: Any, pad: Any, grid: Grid,
) -> list[list[list[tuple[Any, ...]]]]:  # fmt: skip
    """Views for the pooling steps of each part."""
    bound = []
    for worker, (mine, memory) in enumerate(zip(work, results, strict=True)):
        entries = []
        for part, program in zip(map(Part._make, mine), steps[worker], strict=True):
            arrays: tuple[Any, ...] = (_images(conv, part, memory, grid), held[worker] if held else None, y, least, pad)
            entries.append([tuple(arrays[i][at] for i, at in step) for step in program])
        bound.append(entries)
    return bound
