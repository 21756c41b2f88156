"""Strided convolution of few channels: pixels a stride apart become channels, and rows are filtered minimally.

With stride s a convolution is one of stride 1 on s² times the channels, with a kernel s times smaller each way. A
window's row then is one run of numbers, as it lies; windows that do not overlap are the rows of a matrix, so a few
matrices that begin a pixel apart hold all of them and nothing is gathered. From one row of windows to the next F(m, r)
saves products (:mod:`.filtering`): both transforms go over whole rows.

The rounding error is some four times that of a direct sum, and an infinity or NaN spreads over the rows made with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused
from ....graph.types import CHANNELS_LAST, TensorType, is_float
from ....graph.windows import Axis
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter
from ...program.views import as_view
from ..pool.max import pooling_axes
from ..shared.activation import acts_anywhere
from ..shared.panels import cut_for, multiply_lines, product_seconds
from ..shared.panels_views import small_products
from ..shared.windows import bind, deal, pieces, recheck, tuple_of
from .blocks import FEW_CHANNELS, Part
from .filtering import ALONG_ONE, Filter, transforms
from .geometry import Conv
from .numbers import attrs_of, conv_of, convolved, passes
from .plain import LOOP
from .pooled import BlockWriter

WIDEST = 4
"""Most rows that one application of the filter makes."""


class Cut(NamedTuple):
    """How the work is cut: at most so many times ``m`` rows of the convolution at a time."""

    m: int
    tiles: int

    def __str__(self) -> str:
        return f"{self.m * self.tiles} rows"


@dataclass(frozen=True)
class Depth:
    """The numbers of one convolution whose strides became channels.

    Attributes
    ----------
    conv
        As it was before.
    filter
        What is done from row to row.
    across
        Columns of a window. Also, how many matrices hold the windows of a row.
    channels
        Numbers of a pixel.
    columns
        Pixels of a row, a multiple of ``across``.
    """

    conv: Conv
    filter: Filter
    across: int
    channels: int
    columns: int

    @property
    def weights(self) -> Depth:
        """The convolution of any images as far as the transformed weights depend on it."""
        rows, cols = (replace(axis, size=0, before=0, after=0, count=0) for axis in (self.conv.rows, self.conv.cols))
        return replace(self, conv=replace(self.conv, images=1, rows=rows, cols=cols), columns=self.across)

    @property
    def depth(self) -> int:
        """Numbers of a window's row."""
        return self.across * self.channels

    @property
    def row(self) -> int:
        """Numbers of a row of pixels."""
        return self.columns * self.channels

    def held(self, tiles: int) -> int:
        """Rows that so many applications of the filter read."""
        return self.filter.step * (tiles - 1) + self.filter.products


def depth_of(conv: Conv, m: int) -> Depth:
    """The convolution with its strides as channels, ``m`` rows at a time."""
    v, h = conv.rows, conv.cols
    across = -(-h.kernel // h.stride)
    columns = -(-(h.count + across - 1) // across) * across
    return Depth(conv, Filter(m, -(-v.kernel // v.stride), 1), across, v.stride * h.stride * conv.channels, columns)


def tiles_of(d: Depth, rows: int) -> int:
    """How often the filter is applied for so many rows."""
    return -(-rows // d.filter.m)


# ---------------------------------------------------------------- weights


def transform_weights(d: Depth, w: Any, out: Any) -> None:
    """The weights (products, panels, depth, outputs of a panel), transformed in double precision."""
    v, h = d.conv.rows, d.conv.cols
    g = transforms(d.filter).weights
    taps = np.zeros((d.filter.taps * v.stride, d.across * h.stride, *w.shape[1::-1]))
    taps[: v.kernel, : h.kernel] = w.transpose(2, 3, 1, 0)
    parted = taps.reshape(d.filter.taps, v.stride, d.across, h.stride, *taps.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    made = (g @ parted.reshape(d.filter.taps, -1)).reshape(len(g), d.depth, -1, out.shape[-1])
    out[...] = made.transpose(0, 2, 1, 3)


# ---------------------------------------------------------------- views


class Real(NamedTuple):
    """Of pixels a stride apart, of which the first lies at ``start``, those in the image: the places of them."""

    low: int
    high: int
    start: int

    @classmethod
    def of(cls, axis: Axis, start: int, count: int) -> Real:
        low = min(count, max(0, -(start // axis.stride)))
        high = max(low, min(count, (axis.size - 1 - start) // axis.stride + 1))
        return cls(low, high, start + low * axis.stride)

    def source(self, axis: Axis) -> slice:
        """Where they lie."""
        number = self.high - self.low
        return slice(self.start, self.start + (number - 1) * axis.stride + 1 if number else self.start, axis.stride)


def bind_pixels(
    d: Depth, work: Sequence[Sequence[Any]], memory: Sequence[Any], x: Any
) -> list[list[tuple[list[Any], list[Any]]]]:
    """For each part the rows to clear, and the pairs to copy: pixels of ``x`` to their place among the channels."""
    v, h, nhwc = d.conv.rows, d.conv.cols, x.transpose(0, 2, 3, 1)
    bound = []
    for mine, own in zip(work, memory, strict=True):
        entries = []
        for part in map(Part._make, mine):
            held = d.held(tiles_of(d, part.r1 - part.r0))
            pixels = as_view(own[: held * d.row], held, d.columns, v.stride, h.stride, d.conv.channels)
            edges, pairs = [], []
            for down in range(v.stride):
                rows = Real.of(v, part.r0 * v.stride - v.before + down, held)
                edges += [e for e in (pixels[: rows.low, :, down], pixels[rows.high :, :, down]) if e.size]
                for right in range(h.stride):
                    cols = Real.of(h, right - h.before, d.columns)
                    target = pixels[rows.low : rows.high, cols.low : cols.high, down, right]
                    source = nhwc[part.n0, rows.source(v), cols.source(h)]
                    pairs += _planes(target, source)
            entries.append((edges, pairs))
        bound.append(entries)
    return bound


def _planes(target: Any, source: Any) -> list[tuple[Any, Any]]:
    """A few channels that do not lie side by side one by one, along their rows."""
    if not target.size:
        return []
    if source.strides[-1] == source.itemsize or source.shape[-1] > FEW_CHANNELS:
        return [(target, source)]
    return [(target[..., c], source[..., c]) for c in range(source.shape[-1])]


class Views(NamedTuple):
    """What the steps of a part read and write; the names are those of the loop's variables."""

    pixels: Any
    filtered: Any
    products: list[tuple[Any, Any, Any]]
    sums: Any
    made: Any


def bind_views(
    d: Depth, work: Sequence[Sequence[Any]], memory: Sequence[tuple[Any, Any, Any, Any]], packed: Any, rows: int
) -> list[list[Views]]:
    """The views of every part; ``rows`` is that of a block of products."""
    return [
        [_views(d, tiles_of(d, part[3] - part[2]), own, packed, rows) for part in mine]
        for mine, own in zip(work, memory, strict=True)
    ]


def _views(d: Depth, tiles: int, own: tuple[Any, Any, Any, Any], packed: Any, rows: int) -> Views:
    pixels, filtered, sums, made = own
    n, m, item, outputs = d.filter.products, d.filter.m, pixels.itemsize, d.conv.outputs
    by_rows = as_strided(pixels, (tiles, n, d.row), (m * d.row * item, d.row * item, item))
    along = as_view(filtered[: n * tiles * d.row], n, tiles, d.row)
    # windows `across` pixels apart, one row after another: those of the last pixels read on into the next row
    count = tiles * d.columns // d.across
    windows = as_strided(
        filtered,
        (n, d.across, count, d.depth),
        (tiles * d.row * item, d.channels * item, d.depth * item, item),
    )
    each = as_view(sums[: n * tiles * d.columns * outputs], n, count, d.across, outputs).transpose(0, 2, 1, 3)
    products = list(small_products(windows, packed[:, None], each, rows))
    by_tiles = as_view(sums[: n * tiles * d.columns * outputs], n, tiles, d.columns * outputs).transpose(1, 0, 2)
    out = as_view(as_view(made, -1)[: tiles * m * d.columns * outputs], tiles, m, d.columns * outputs)
    return Views(by_rows, along.transpose(1, 0, 2), products, by_tiles, out)


# ---------------------------------------------------------------- the kernel


class DepthWriter(BlockWriter):
    """Writes the block loop: pixels to channels, filter, multiply, sum."""

    def __init__(
        self, k: Emitter, d: Depth, pool: tuple[Axis, Axis] | None, work: list[list[tuple[Part, Part]]]
    ) -> None:
        super().__init__(k, d.conv, pool, work, grid=(d.filter.m, d.columns))
        self.d = d
        self.tiles = max(tiles_of(d, p.r1 - p.r0) for mine in self.inner for p in mine)

    def gather(self) -> None:
        """The pixels of each part, and zeros around them."""
        k, d = self.k, self.d
        size = d.held(self.tiles) * d.row
        self.pixels_in = [k.zeroed((size,), self.y.dtype, "pixels") for _ in self.inner]
        self.names, self.lists = [], []
        self.numbers = k.use(d, f"{k.name}_depth")
        edges, copies, edge, target, source = (
            k.names.fresh(n) for n in ("edges", "copies", "edge", "target", "source")
        )
        call = f"{k.use(bind_pixels)}({self.numbers}, {self.parts}, {tuple_of(self.pixels_in)}, {k.ins[0]})"
        self.add(f"({edges}, {copies})", bind(k, "pixels", call, k.ins[0], *self.pixels_in))
        self.body = [
            f"for {edge} in {edges}:\n    {edge}.fill(0)",
            f"for {target}, {source} in {copies}:\n    {target}[...] = {source}",
        ]

    def multiply(self) -> None:
        k, d, dtype = self.k, self.d, self.y.dtype
        n, t = d.filter.products, transforms(d.filter)
        count = self.tiles * d.columns // d.across
        cut = cut_for(k, count, d.depth, d.conv.outputs)
        with k.once(k.ins[1]):
            packed = k.scratch((n, d.conv.outputs // cut.width, d.depth, cut.width), dtype, "transformed")
            k.line(f"{k.use(transform_weights)}({k.use(d.weights, f'{k.name}_weights')}, {k.ins[1]}, {packed})")
        after_last = d.depth - d.channels  # the last windows read on beyond the last row
        sizes = n * self.tiles * d.row + after_last, n * self.tiles * d.columns * d.conv.outputs
        filtered, sums = ([k.scratch((size,), dtype, name) for _ in self.inner]
                          for size, name in zip(sizes, ("filtered", "sums"), strict=True))  # fmt: skip
        memory = list(zip(self.pixels_in, filtered, sums, self.made, strict=True))
        listed = "".join(f"({', '.join(map(str, own))}), " for own in memory)
        call = f"{k.use(bind_views)}({self.numbers}, {self.parts}, ({listed}), {packed}, {cut.rows})"
        v = {name: k.names.fresh(name) for name in Views._fields}
        self.add(f"({', '.join(v.values())})", bind(k, "views", call, packed, *(x for own in memory for x in own)))
        before, after = (
            k.use(matrix.astype(dtype), name)
            for matrix, name in ((t.inputs, "input_transform"), (t.outputs, "output_transform"))
        )
        self.body += [
            f"np.matmul({before}, {v['pixels']}, out={v['filtered']})",
            multiply_lines(k, v["products"]),
            f"np.matmul({after}, {v['sums']}, out={v['made']})",
        ]

    def convolve(self) -> None:
        self.make()
        if self.pool is not None:
            self.finish_pooled()
        else:
            self.copy(self.made)
            self.shift_and_act(*self.late_activation())


def _numbers(node: Node, inputs: Sequence[TensorType]) -> tuple[Conv, tuple[Axis, Axis] | None]:
    full = convolved(node, tuple(inputs))
    conv = conv_of(attrs_of(node), inputs[0].concrete, inputs[1].concrete, full)
    pool = as_fused(node.attrs).pool
    if pool is None:
        return conv, None
    return conv, pooling_axes(pool, full, node.outputs[0].concrete[2:])


def _work(
    conv: Conv, pool: tuple[Axis, Axis] | None, cut: Cut, count: int, threads: int
) -> list[list[tuple[Part, Part]]]:
    """For each worker its parts: rows of one image of the convolution, and the output rows they make."""
    rows = pool[0] if pool is not None else None
    most = cut.m * cut.tiles if rows is None else (cut.m * cut.tiles - rows.extent) // rows.stride + 1
    cuts = [Part(n, n + 1, a, b, 0) for n in range(conv.images) for a, b in pieces(count, most)]
    return deal([(p if rows is None else Part(p.n0, p.n1, *rows.span(p.r0, p.r1), 0), p) for p in cuts], threads)


# ---------------------------------------------------------------- choosing the block

TILES = (2, 4, 8, 16)
"""Applications of the filter in a part that are considered."""
SMOOTH, BEYOND = 5e10, 2e10
"""Bytes a second that pass through the transforms of a part that takes at most twice the second-level cache, and of a
larger one."""
BEGIN = 8
"""Depth of a product that takes as long as to begin and end its sums."""
APART = 1.2e-9
"""Seconds to bring a number to its place among the channels."""


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Strides smaller than the kernel, no dilation, groups or residual; any pooling."""
    a, kernel, attrs = attrs_of(node), inputs[1].concrete[2:], as_fused(node.attrs)
    strided = max(a.stride) > 1 and all(size > step for size, step in zip(kernel, a.stride, strict=True))
    if not strided or a.groups != 1 or a.dilation != (1, 1) or not is_float(inputs[0].dtype):
        return False
    if _most_rows(kernel[0], a.stride[0]) < 2:
        return False
    return acts_anywhere(node) and not attrs.filled and not attrs.residual


def _most_rows(kernel: int, stride: int) -> int:
    """Rows that the filter makes at a time: as many as its accuracy allows."""
    return max((m for m in range(1, WIDEST + 1) if Filter(m, -(-kernel // stride), 1).points <= ALONG_ONE), default=0)


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    """Parts of several sizes."""
    conv, pool = _numbers(node, inputs)
    m, machine, count = _most_rows(conv.rows.kernel, conv.rows.stride), this_machine(), node.outputs[0].concrete[2]
    least = 1 if pool is None else pool[0].extent
    found: dict[str, Way] = {}
    for tiles in TILES:
        cut = Cut(m, max(tiles, -(-least // m)))
        work = _work(conv, pool, cut, count, threads)
        found.setdefault(str(work), Way(_seconds(node, inputs, depth_of(conv, m), work, machine), cut))
    return list(found.values())


def _seconds(
    node: Node, inputs: tuple[TensorType, ...], d: Depth, work: list[list[tuple[Part, Part]]], machine: Machine
) -> float:
    """Predicted time of the worker that has most to do."""
    if not work:
        return 0.0
    itemsize, n, m, outputs = inputs[0].dtype.itemsize, d.filter.products, d.filter.m, d.conv.outputs
    pool = as_fused(node.attrs).pool
    channels_first = inputs[0].order != CHANNELS_LAST
    total = 0.0
    for inner, made in max(work, key=len):
        tiles = tiles_of(d, inner.r1 - inner.r0)
        pixels, held = tiles * d.columns, d.held(tiles) * d.row
        resident = n * d.depth * outputs * itemsize <= machine.l2 // 2
        product = product_seconds(machine, pixels // d.across, d.depth + BEGIN, outputs, itemsize, resident)
        moved = held + 2 * n * tiles * d.row + (2 * n + m) * pixels * outputs
        memory = held + n * tiles * d.row + (n + m) * pixels * outputs
        rate = SMOOTH if memory * itemsize <= 2 * machine.l2 else BEYOND
        finished = 2 * max(1, passes(node, inputs)) * m * pixels * outputs
        total += n * d.across * product + moved * itemsize / rate + finished * itemsize / machine.near
        total += held * (APART if channels_first else APART / 2) + 12 * machine.call
        loops = 0 if pool is None else (made.r1 - made.r0) * node.outputs[0].concrete[3] * pool.kernel[1]
        total += loops * LOOP
    return total + (machine.fork if len(work) > 1 else 0.0)


@kernel(CONV, CONV_POOL, lowering="space_to_depth", accepts=accepts, ways=ways, exact=False, staged=True)
def space_to_depth(k: Emitter) -> None:
    """Part the pixels, filter, multiply, sum, pool, add the bias, activate."""
    recheck(k)
    conv, pool = _numbers(k.node, [x.type for x in k.ins])
    work = _work(conv, pool, k.way, k.outs[0].shape[2], k.threads)
    if work:
        DepthWriter(k, depth_of(conv, k.way.m), pool, work).emit()
