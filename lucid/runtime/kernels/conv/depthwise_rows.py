"""Depthwise convolution of channels-last images by fused multiply-adds over runs of columns x channels.

``np.einsum`` multiplies and adds in one loop; a multiply and an add of their own read and write the product once
more. It is fast where that loop is long, so several columns are taken as one run, with the weights
repeated for each. What else was tried is in ``docs/decisions/0011-depthwise-by-einsum.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.lib.stride_tricks import as_strided

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.activation import acts_anywhere, combining, write_activation, zero_row
from ..shared.windows import Block, bind, channels_last, deal, laid_out, over_blocks, recheck
from .geometry import Conv
from .numbers import attrs_of, conv_of

RUN = 2048
"""Elements in a run that are aimed at; a few hundred already hide most of the cost of starting one."""
SHORT_RUN = 96
"""With fewer channels than this, the columns of a strided convolution are first brought side by side."""
MULTIPLY_ADD = 9.5e-11
"""Seconds of one multiply-add in a run."""
START = 1.5e-8
"""Seconds to start a run."""
COPY = 9e-9
"""Seconds to start copying the channels of one pixel."""
TURN = 1e-9
"""Seconds to copy one element into another memory order."""


@dataclass(frozen=True)
class Runs:
    """How one depthwise convolution is done.

    Attributes
    ----------
    conv
        Its numbers.
    columns
        Output columns in a run.
    planes
        Whether each column tap gets a copy of the input with its columns side by side (strided convolutions).
    direct
        Whether the input is read where it lies, without a padded copy.
    """

    conv: Conv
    columns: int
    planes: bool
    direct: bool

    @property
    def width(self) -> int:
        """Columns of a padded row, or of a plane."""
        cols = self.conv.cols
        return cols.count if self.planes else (cols.count - 1) * cols.stride + cols.extent

    def held(self, rows: int) -> int:
        """Input rows that so many output rows see."""
        return (rows - 1) * self.conv.rows.stride + self.conv.rows.extent

    def bytes(self, images: int, rows: int, itemsize: int) -> int:
        """Bytes of the padded rows."""
        planes = self.conv.cols.kernel if self.planes else 1
        return images * self.held(rows) * planes * self.width * self.conv.outputs * itemsize


def runs_of(conv: Conv, in_place: bool) -> Runs:
    """Choose the runs; ``in_place`` tells whether the input lies channels last, without gaps."""
    strided = conv.cols.stride > 1
    planes = strided and conv.outputs < SHORT_RUN
    columns = 1 if strided and not planes else min(conv.cols.count, -(-RUN // conv.outputs))
    # runs of equal length
    columns = -(-conv.cols.count // -(-conv.cols.count // max(1, columns))) if conv.cols.count else 1
    direct = in_place and not planes and not conv.padded and conv.outputs == conv.channels
    return Runs(conv, columns, planes, direct)


def work_of(runs: Runs, itemsize: int, threads: int, machine: Machine) -> list[list[Block]]:
    """Blocks of output rows, equally many for each worker.

    Input and output together may be twice the second-level cache: the sums take longer than either to come from
    beyond it, and fewer calls matter more.
    """
    conv, fits = runs.conv, 2 * machine.l2
    if not conv.pixels:
        return []
    rows, channels = conv.rows.count, conv.outputs
    image = runs.bytes(1, rows, itemsize) + rows * conv.cols.count * channels * itemsize
    most = max(1, fits // image)
    if conv.images >= threads and image <= fits:
        count = min(conv.images, _multiple(-(-conv.images // most), threads))
        cut = [(i * conv.images // count, (i + 1) * conv.images // count) for i in range(count)]
        return deal([Block(a, b, 0, channels, 0, rows) for a, b in cut], threads)
    parts = min(rows, _multiple(-(-image // fits), threads // math.gcd(threads, conv.images)))
    lines = [(i * rows // parts, (i + 1) * rows // parts) for i in range(parts)]
    return deal([Block(n, n + 1, 0, channels, a, b) for n in range(conv.images) for a, b in lines], threads)


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of


def seconds(runs: Runs, itemsize: int, threads: int, machine: Machine, turned: bool = False) -> float:
    """Predicted time on so many threads; ``turned`` if the output is not channels last."""
    work = work_of(runs, itemsize, threads, machine)
    if not work:
        return 0.0
    conv, total = runs.conv, 0.0
    for b in max(work, key=len):
        rows, images = b.r1 - b.r0, b.n1 - b.n0
        made = images * rows * conv.cols.count * conv.outputs
        taps = conv.rows.kernel * conv.cols.kernel
        starts = images * rows * -(-conv.cols.count // runs.columns) * taps
        total += made * taps * MULTIPLY_ADD * itemsize / 4 + starts * START
        copied = 0 if runs.direct else runs.bytes(images, rows, itemsize)
        if runs.planes or conv.outputs > conv.channels:
            total += copied / (conv.outputs * itemsize) * COPY
        total += (2 * copied + 4 * made * itemsize) / machine.near + 6 * machine.call
        total += 6 * machine.handover if len(work) > 1 else 0.0
        total += made * TURN if turned else 0.0
    return total + (machine.fork if len(work) > 1 else 0.0)


@dataclass(frozen=True)
class Workers:
    """How the work is cut: in equal blocks for so many."""

    number: int

    def __str__(self) -> str:
        return f"for {self.number}"


def _runs(node: Node, inputs: Sequence[TensorType], in_place: bool) -> Runs:
    x, w, y = inputs[0], inputs[1], node.outputs[0]
    return runs_of(conv_of(attrs_of(node), x.concrete, w.concrete, y.concrete), in_place)


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """One group for each channel; no pooling."""
    attrs = as_fused(node.attrs)
    return attrs.conv.groups == inputs[0].shape[1] and attrs.pool is None and acts_anywhere(node)


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """On all threads, or on one where more do not pay."""
    runs = _runs(node, inputs, inputs[0].order == CHANNELS_LAST)
    machine, itemsize, turned = this_machine(), inputs[0].dtype.itemsize, node.outputs[0].order != CHANNELS_LAST
    return [Way(seconds(runs, itemsize, n, machine, turned), Workers(n)) for n in sorted({1, threads})]


def _pack(k: Emitter, runs: Runs) -> Operand:
    """Weights (kernel rows, kernel columns, columns of a run x channels)."""
    conv, w = runs.conv, k.ins[1]
    kernel = (conv.rows.kernel, conv.cols.kernel)
    with k.once(w):
        packed = k.scratch((*kernel, runs.columns * conv.outputs), w.dtype, "packed")
        target = k.seen(packed, (*kernel, runs.columns, conv.outputs))
        source = f"{w}.reshape({(conv.outputs, *kernel)}).transpose(1, 2, 0)[:, :, None]"
        k.line(f"{target}[...] = {source}")
    return packed


def _row_bias(k: Emitter, conv: Conv, bias: Operand) -> Operand:
    """The bias repeated for all columns, so that whole rows are added at once."""
    with k.once(bias):
        row = k.scratch((conv.cols.count, conv.outputs), bias.dtype, "row_bias")
        k.line(f"{row}[...] = {bias}")
    return k.reshaped(row, (conv.cols.count * conv.outputs,), "row_bias")


def _padded(k: Emitter, runs: Runs, work: Sequence[Sequence[Block]], fill: str) -> list[Operand]:
    """Working memory for the input of any block: (images, rows, planes, columns, channels, multiplier)."""
    conv, blocks = runs.conv, [b for mine in work for b in mine]
    images, rows = max(b.n1 - b.n0 for b in blocks), runs.held(max(b.r1 - b.r0 for b in blocks))
    planes = conv.cols.kernel if runs.planes else 1
    shape = (images, rows, planes, runs.width, conv.channels, conv.group_out)
    memory = [k.scratch(shape, k.ins[0].dtype, "padded") for _ in work]
    for slab in memory:
        for plane, target, _ in column_parts(runs):
            for edge in (slice(0, target.start), slice(target.stop, runs.width)):
                if edge.stop > edge.start:
                    k.line(f"{slab}[:, :, {plane}, {edge.start}:{edge.stop}] = {fill}")
    return memory


def column_parts(runs: Runs) -> Iterator[tuple[int, slice, slice]]:
    """For each plane its number, the columns that are no padding, and where these lie in the input."""
    cols = runs.conv.cols
    if not runs.planes:
        left = min(cols.before, runs.width)
        real = max(0, min(cols.size, runs.width - left))
        yield 0, slice(left, left + real), slice(0, real)
        return
    for number, tap in enumerate(cols.taps()):
        yield number, slice(tap.first, tap.last), cols.source(tap)


def _rows(conv: Conv, block: Block) -> tuple[slice, slice]:
    """The rows of a block's padded memory that are no padding, and where these lie in the input."""
    low, high = conv.rows.span(block.r0, block.r1)
    top = max(0, low - (block.r0 * conv.rows.stride - conv.rows.before))
    return slice(top, top + high - low), slice(low, high)


def bind_copies(runs: Runs, work: Any, memory: Any, x: Any) -> list[list[Any]]:
    """For each block the pairs to copy; pixels are copied whole where their channels lie side by side."""
    nhwc, bound = x.transpose(0, 2, 3, 1), []
    for mine, slab in zip(work, memory, strict=True):
        entries = []
        for block in map(Block._make, mine):
            inside, rows = _rows(runs.conv, block)
            pairs = []
            for plane, target, source in column_parts(runs):
                to = slab[: block.n1 - block.n0, inside, plane, target]
                pairs.append(whole_pixels(to, nhwc[block.n0 : block.n1, rows, source][..., None]))
            entries.append([pair for pair in pairs if pair[0].size])
        bound.append(entries)
    return bound


def whole_pixels(target: Any, source: Any) -> tuple[Any, Any]:
    """The channels of a pixel as one element, if they are contiguous on both sides and few: half the time."""
    size = target.shape[-2] * target.itemsize
    if target.shape[-1] > 1 or size > 4 * SHORT_RUN or source.strides[-2] != source.itemsize or not target.size:
        return target, source
    return target[..., 0].view(f"V{size}")[..., 0], source[..., 0].view(f"V{size}")[..., 0]


def bind_edges(runs: Runs, work: Any, memory: Any) -> list[list[Any]]:
    """For each block the rows of its memory that are padding."""
    bound = []
    for mine, slab in zip(work, memory, strict=True):
        entries = []
        for block in map(Block._make, mine):
            inside, _ = _rows(runs.conv, block)
            images = slab[: block.n1 - block.n0]
            edges = images[:, : inside.start], images[:, inside.stop : runs.held(block.r1 - block.r0)]
            entries.append([edge for edge in edges if edge.size])
        bound.append(entries)
    return bound


def bind_runs(
    runs: Runs, work: Any, memory: Any, made: Any, x: Any, packed: Any, y: Any
) -> list[list[Any]]:  # fmt: skip
    """For each block its output as rows, and the windows, weights and outputs of its products.

    ``made`` is memory of the workers for outputs that do not lie channels last.
    """
    conv, nhwc, bound = runs.conv, y.transpose(0, 2, 3, 1), []
    for worker, mine in enumerate(work):
        entries = []
        for block in map(Block._make, mine):
            if made:
                out = made[worker][: block.n1 - block.n0, : block.r1 - block.r0]
            else:
                out = nhwc[block.n0 : block.n1, block.r0 : block.r1]
            rows = as_view(out, *out.shape[:2], conv.cols.count * conv.outputs)
            if runs.direct:
                source = x.transpose(0, 2, 3, 1)[block.n0 : block.n1, block.r0 * conv.rows.stride :, None]
            else:
                source = memory[worker][: block.n1 - block.n0]
                source = as_view(source, *source.shape[:4], conv.outputs)
            entries.append((rows, list(_products(runs, source, packed, out))))
        bound.append(entries)
    return bound


def _products(runs: Runs, source: Any, packed: Any, out: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Runs of full length, then what is left of each row."""
    conv, many = runs.conv, runs.columns
    v, h = conv.rows, conv.cols
    s0, s1, plane, pixel, item = source.strides
    o0, o1, o2, _ = out.strides
    tap, step = (plane, pixel) if runs.planes else (h.dilation * pixel, h.stride * pixel)
    full = h.count // many
    for first, number, columns in ((0, full, many), (full * many, 1, h.count - full * many)):
        if number * columns:
            size = columns * conv.outputs
            shape = (*out.shape[:2], number, v.kernel, h.kernel, size)
            strides = (s0, v.stride * s1, columns * step, v.dilation * s1, tap, item)
            at = source[:, :, :, first:]  # only side by side, or with stride 1, are there columns left
            target = as_strided(out[:, :, first:], (*out.shape[:2], number, size), (o0, o1, columns * o2, item))
            yield as_strided(at, shape, strides), packed[:, :, :size], target


def bind_rows(work: Any, array: Any) -> list[list[Any]]:
    """For each block its part of a channels-last array, as rows of columns x channels."""
    nhwc = array.transpose(0, 2, 3, 1)
    rows = as_view(nhwc, *nhwc.shape[:2], nhwc.shape[2] * nhwc.shape[3])
    return [[rows[b.n0 : b.n1, b.r0 : b.r1] for b in map(Block._make, mine)] for mine in work]


def bind_turned(work: Any, made: Any, y: Any) -> list[list[Any]]:
    """For each block its place in the output, and where it was made."""
    nhwc = y.transpose(0, 2, 3, 1)
    return [
        [
            (nhwc[b.n0 : b.n1, b.r0 : b.r1], memory[: b.n1 - b.n0, : b.r1 - b.r0])
            for b in map(Block._make, mine)
        ]
        for mine, memory in zip(work, made, strict=True)
    ]  # fmt: skip


@kernel(CONV, CONV_POOL, lowering="depthwise_rows", accepts=accepts, ways=ways, staged=True, ordered=True)
def depthwise_rows(k: Emitter) -> None:
    """Pad a block, sum its taps, add the bias, activate, while it is in the cache."""
    recheck(k)
    x, (y,) = k.ins[0], k.outs
    bias, residual = bias_and_residual(k.attrs, k.ins)
    runs = _runs(k.node, [t.type for t in k.ins], channels_last(x) and x.contiguous)
    work = work_of(runs, x.dtype.itemsize, k.way.number, this_machine())
    if not work:
        return
    plan, numbers = k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_blocks"), k.use(runs, f"{k.name}_runs")
    packed = _pack(k, runs)
    names, lists, body, memory, listed = [], [], [], [], "()"
    if not runs.direct:
        fill = f"{k.ins[-1]}.reshape({runs.conv.channels}, 1)" if getattr(k.attrs, "filled", False) else "0"
        memory = _padded(k, runs, work, fill)
        listed = f"({''.join(f'{m}, ' for m in memory)})"
        edges, edge, copies, target, source = (
            k.names.fresh(n) for n in ("edges", "edge", "copies", "target", "source")
        )
        names += [edges, copies]
        lists.append(bind(k, "edges", f"{k.use(bind_edges)}({numbers}, {plan}, {listed})", *memory))
        lists.append(bind(k, "copies", f"{k.use(bind_copies)}({numbers}, {plan}, {listed}, {x})", x, *memory))
        body += [
            f"for {edge} in {edges}:\n    {edge}[...] = {fill}",
            f"for {target}, {source} in {copies}:\n    {target}[...] = {source}",
        ]
    made = [] if channels_last(y) else _outputs(k, runs.conv, work)
    kept = f"({''.join(f'{m}, ' for m in made)})"
    out, products, window, weight, total = (k.names.fresh(n) for n in ("out", "products", "window", "weight", "sums"))
    call = f"{k.use(bind_runs)}({numbers}, {plan}, {listed}, {kept}, {x if runs.direct else None}, {packed}, {y})"
    names.append(f"({out}, {products})")
    lists.append(bind(k, "products", call, packed, y, *memory, *made, *([x] if runs.direct else [])))
    body.append(
        f"for {window}, {weight}, {total} in {products}:\n"
        f"    np.einsum('nrcijk,ijk->nrck', {window}, {weight}, out={total})"
    )
    if bias is not None:
        body.append(f"{combining(k)}({out}, {_row_bias(k, runs.conv, bias)}, out={out})")
    if residual is not None:
        added, laid = k.names.fresh("added"), laid_out(k, residual, True, "residual")
        names.append(added)
        lists.append(bind(k, "residuals", f"{k.use(bind_rows)}({plan}, {laid})", laid))
        body.append(f"np.add({out}, {added}, out={out})")
    if k.node.op is CONV_POOL:
        zeros = k.use(zero_row(y.dtype, runs.conv.cols.count * runs.conv.outputs), "zeros")
        activation = write_activation(k, y.dtype, y.shape, out, out, zeros)
        body += activation.lines if activation is not None else ()
    if made:
        place, value = k.names.fresh("place"), k.names.fresh("value")
        names.append(f"({place}, {value})")
        lists.append(bind(k, "turned", f"{k.use(bind_turned)}({plan}, {kept}, {y})", y, *made))
        body.append(f"{place}[...] = {value}")
    over_blocks(k, len(work), names, lists, body)


def _outputs(k: Emitter, conv: Conv, work: Sequence[Sequence[Block]]) -> list[Operand]:
    """Working memory for the output of any block, channels last."""
    blocks = [b for mine in work for b in mine]
    images, rows = max(b.n1 - b.n0 for b in blocks), max(b.r1 - b.r0 for b in blocks)
    return [k.scratch((images, rows, conv.cols.count, conv.outputs), k.ins[0].dtype, "made") for _ in work]
