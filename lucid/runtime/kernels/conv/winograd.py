"""Convolution by Winograd's minimal filtering, F(2x2) and F(4x4), with bias, activation and 2x2 max pooling.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015): of a 3x3 kernel, an output tile of m x m
pixels takes (m + 2)^2 products for each pair of channels instead of 9 m^2; other square kernels and a stride of two go
the same way (:mod:`.filtering`). Both transforms are separable and are done as matrix products: rows first, straight
from the padded rows (n rows of W x C numbers are a BLAS matrix as they lie), one gather, then columns.

The rounding error is some ten times that of a direct sum, and one infinity or NaN of the input spreads over
its tile; ``exact=True`` does not take these lowerings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....graph.ir import Node
from ....graph.ops.conv import CONV, ConvAttrs
from ....graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs, as_fused, bias_and_residual
from ....graph.types import TensorType, is_float
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.activation import acts_anywhere, combining, write_activation, zero_row
from ..shared.panels import Blocking, blocking, multiply_lines, product_seconds, small_products
from ..shared.windows import bind, deal, over_blocks, pieces, recheck
from .filtering import ALONG_BOTH, Filter, transforms
from .plain import attrs_of


@dataclass(frozen=True)
class Tiling:
    """The numbers of one Winograd convolution.

    Attributes
    ----------
    filter
        What is done along either axis of a tile.
    q
        Pixels of a tile after pooling: ``m``, or half of it.
    down, right
        Tiles that cover the output.
    top, left
        Padding before the first row and column.
    """

    filter: Filter
    q: int
    images: int
    rows: int
    cols: int
    channels: int
    outputs: int
    down: int
    right: int
    top: int
    left: int

    @property
    def m(self) -> int:
        """Output pixels of a tile, each way."""
        return self.filter.m

    @property
    def n(self) -> int:
        """Input pixels of a tile, each way."""
        return self.filter.products

    @property
    def width(self) -> int:
        """Columns of the padded rows."""
        return self.held(self.right)

    def held(self, tiles: int) -> int:
        """Input pixels of so many tiles side by side."""
        return self.filter.step * (tiles - 1) + self.n


class Strip(NamedTuple):
    """A block of work: some rows of tiles of some images, and some of the outputs."""

    n0: int
    n1: int
    r0: int
    r1: int
    k0: int
    k1: int

    @property
    def tile_rows(self) -> int:
        return (self.n1 - self.n0) * (self.r1 - self.r0)

    @property
    def outputs(self) -> int:
        return self.k1 - self.k0


class Block(NamedTuple):
    """How the work is cut: about how many tiles in a strip, in how many ranges the outputs, and the products."""

    tiles: int
    ranges: int
    product: Blocking

    def __str__(self) -> str:
        return f"{self.tiles} tiles" + (f", outputs in {self.ranges}" if self.ranges > 1 else "")


def strips(t: Tiling, block: Block) -> list[Strip]:
    """All tiles in strips; range by range of the outputs, so that a worker has few of them."""
    per_image = t.down * t.right
    if not t.images * per_image * t.outputs:
        return []
    if block.tiles >= per_image:
        cuts = [(a, b, 0, t.down) for a, b in pieces(t.images, block.tiles // per_image)]
    else:
        rows = pieces(t.down, max(1, block.tiles // t.right))
        cuts = [(n, n + 1, a, b) for n in range(t.images) for a, b in rows]
    size = t.outputs // block.ranges
    return [Strip(*cut, k, k + size) for k in range(0, t.outputs, size) for cut in cuts]


class Buffers(NamedTuple):
    """Numbers of elements of a worker's memory: the padded rows, and two buffers used in turn."""

    slab: int
    ping: int
    pong: int


def buffer_sizes(t: Tiling, work: Sequence[Strip]) -> Buffers:
    tile_rows = max(s.tile_rows for s in work)
    tiles = tile_rows * t.right
    outputs = max(s.outputs for s in work)
    slab = max((s.n1 - s.n0) * t.held(s.r1 - s.r0) for s in work) * t.width * t.channels
    ping = max(tile_rows * t.n * t.width * t.channels, t.n * t.n * tiles * t.channels, t.m * t.n * tiles * outputs)
    pong = max(t.n * t.n * tiles * t.channels, t.n * t.n * tiles * outputs)
    return Buffers(slab, ping, pong)


PART = 1 << 15
"""Transformed weights that are made at a time, in double precision: a quarter of a common second-level cache."""


def pack(k: Emitter, w: Operand, f: Filter, panel: int) -> Operand:
    """The transformed weights (n * n, panels, channels, outputs of a panel), once for each change of the parameters."""
    outputs, channels, n = w.shape[0], w.shape[1], f.products
    kernel = k.use(transforms(f).weights, "weight_transform")
    with k.once(w):
        packed = k.scratch((n * n, outputs // panel, channels, panel), w.dtype, "transformed")
        k.line(f"{k.use(transform_weights)}({kernel}, {w}, {packed})")
    return packed


def transform_weights(g: Any, w: Any, out: Any) -> None:
    """G w G^T for every pair of channels, in double precision, by parts that stay in the cache."""
    both = np.kron(g, g)
    _, panels, channels, width = out.shape
    taps, step = w.reshape(panels, width, channels, math.prod(w.shape[2:])), max(1, PART // (width * len(both)))
    for panel, c in product(range(panels), range(0, channels, step)):
        part = taps[panel, :, c : c + step].transpose(2, 1, 0).astype(np.float64)
        out[:, panel, c : c + step] = (both @ part.reshape(len(part), -1)).reshape(len(both), -1, width)


class Views(NamedTuple):
    """What one strip reads and writes, step by step; the names are those of the loop's variables."""

    edges: list[Any]
    inside: Any
    rows: Any
    by_rows: Any
    seen: Any
    tiles: Any
    lines: Any
    by_both: Any
    products: list[tuple[Any, Any, Any]]
    sums: Any
    by_lines: Any
    thin: Any
    made: Any


class Real(NamedTuple):
    """The part of a strip's padded rows that is no padding, and where it lies in the input."""

    top: int
    bottom: int
    left: int
    right: int
    first: int


def _real(t: Tiling, s: Strip, height: int, width: int) -> Real:
    start = t.filter.step * s.r0 - t.top
    top = max(0, -start)
    bottom = max(top, min(t.held(s.r1 - s.r0), height - start))
    return Real(top, bottom, t.left, min(t.width, t.left + width), start + top)


def bind_sources(t: Tiling, work: Any, x: Any) -> list[list[Any]]:
    """The part of the input that each strip reads."""
    nhwc, bound = x.transpose(0, 2, 3, 1), []
    for mine in work:
        entries = []
        for s in map(Strip._make, mine):
            real = _real(t, s, *nhwc.shape[1:3])
            rows = slice(real.first, real.first + real.bottom - real.top)
            entries.append(nhwc[s.n0 : s.n1, rows, : real.right - real.left])
        bound.append(entries)
    return bound


def bind_biases(work: Any, bias: Any) -> list[list[Any]]:
    """The part of the bias that each strip adds."""
    return [[bias[s.k0 : s.k1] for s in map(Strip._make, mine)] for mine in work]


def bind_strips(t: Tiling, work: Any, memory: Any, size: tuple[int, int], packed: Any, rows: int) -> list[list[Views]]:
    """The views of every strip of every worker; ``size`` is that of an input image, ``rows`` of a block of products."""
    return [
        [_bind_strip(t, Strip(*strip), slab, ping, pong, size, packed, rows) for strip in strips_]
        for strips_, (slab, ping, pong) in zip(work, memory, strict=True)
    ]


def _bind_strip(
    t: Tiling, s: Strip, slab: Any, ping: Any, pong: Any, size: tuple[int, int], packed: Any, block_rows: int
) -> Views:  # fmt: skip
    images, down, outputs = s.n1 - s.n0, s.r1 - s.r0, s.outputs
    n, m, c, count = t.n, t.m, t.channels, s.tile_rows * t.right
    height, step = t.held(down), t.filter.step
    padded = as_view(slab[: images * height * t.width * c], images, height, t.width, c)
    top, bottom, left, right, _ = _real(t, s, *size)
    edges = [padded[:, :top], padded[:, bottom:], padded[:, top:bottom, :left], padded[:, top:bottom, right:]]
    s0, s1, _, item = padded.strides
    rows = as_strided(padded, (images, down, n, t.width * c), (s0, step * s1, s1, item))
    by_rows = as_view(ping[: images * down * n * t.width * c], images, down, n, t.width * c)
    e0, e1, e2, item = by_rows.strides
    seen = as_strided(by_rows, (n, n, images, down, t.right, c), (e2, c * item, e0, e1, step * c * item, item))
    tiles = as_view(pong[: n * n * count * c], n, n, images, down, t.right, c)
    by_both = as_view(ping[: n * n * count * c], n, n, count * c)
    product = as_view(pong[: n * n * count * outputs], n * n, count, outputs)
    panels = packed[:, s.k0 // packed.shape[3] : s.k1 // packed.shape[3]]
    products = list(small_products(as_view(by_both, n * n, count, c), panels, product, block_rows))
    by_lines = as_view(ping[: m * n * count * outputs], m, n * count * outputs)
    made = as_view(pong[: m * m * count * outputs], m, m, count * outputs)
    return Views(
        [edge for edge in edges if edge.size], padded[:, top:bottom, left:right],
        rows, by_rows, seen, tiles, as_view(tiles, n, n, count * c), by_both,
        products, as_view(product, n, n * count * outputs), by_lines,
        as_view(by_lines, m, n, count * outputs), made,
    )  # fmt: skip


class Results(NamedTuple):
    """Where a strip's tiles go: the two maxima of the pooling (if any), all pixels as a matrix, and the copies."""

    halves: tuple[Any, Any, Any]
    quarters: tuple[Any, Any, Any]
    final: Any
    copies: list[tuple[Any, Any, Any]]


def bind_results(t: Tiling, work: Any, memory: Any, y: Any, residual: Any) -> list[list[Results]]:
    """Views of what follows the last transform."""
    nhwc, added = (array if array is None else array.transpose(0, 2, 3, 1) for array in (y, residual))
    return [
        [_bind_result(t, Strip(*strip), ping, pong, nhwc, added) for strip in strips_]
        for strips_, (_, ping, pong) in zip(work, memory, strict=True)
    ]


def _bind_result(t: Tiling, s: Strip, ping: Any, pong: Any, nhwc: Any, added: Any) -> Results:
    m, q, outputs = t.m, t.q, s.outputs
    nhwc, added = (array if array is None else array[..., s.k0 : s.k1] for array in (nhwc, added))
    images, down = s.n1 - s.n0, s.r1 - s.r0
    size = s.tile_rows * t.right * outputs
    planes = pong[: m * m * size]
    final, halves, quarters = planes, (planes,) * 3, (planes,) * 3
    if q < m:
        pairs = as_view(planes, q, 2, q, 2, size)
        first = as_view(ping[: q * m * size], q, q, 2, size)
        final = planes[: q * q * size]
        halves = (pairs[:, 0], pairs[:, 1], first)
        quarters = (first[:, :, 0], first[:, :, 1], as_view(final, q, q, size))
    tiles = as_view(final, q, q, images, down, t.right, outputs)
    return Results(halves, quarters, as_view(final, -1, outputs), list(_copies(q, s, tiles, nhwc, added)))


def _copies(q: int, s: Strip, tiles: Any, nhwc: Any, added: Any) -> Any:
    """Whole tiles in one copy; those that the border cuts in three more. With each the residual, if any."""
    height, width = nhwc.shape[1:3]
    full_down, full_right = min(s.r1, height // q) - s.r0, width // q
    bands = [(0, full_down, q), (full_down, full_down + 1, height - (s.r0 + full_down) * q)]
    strips_ = [(0, full_right, q), (full_right, full_right + 1, width - full_right * q)]
    for r0, r1, rows in bands:
        for c0, c1, cols in strips_:
            if r1 > r0 and c1 > c0 and 0 < rows <= q and 0 < cols <= q and r1 <= s.r1 - s.r0:
                part = tiles[:rows, :cols, :, r0:r1, c0:c1]
                places = [a if a is None else _tiled(q, s, a, r0, c0, part.shape) for a in (nhwc, added)]
                yield places[0], part, places[1]


def _tiled(q: int, s: Strip, nhwc: Any, r0: int, c0: int, shape: Sequence[int]) -> Any:
    """The tiles of a strip from one row and column of them on, where they lie in the image."""
    place = nhwc[s.n0 : s.n1, (s.r0 + r0) * q :, c0 * q :]
    o0, o1, o2, o3 = place.strides
    return as_strided(place, shape, (o1, o2, o0, q * o1, q * o2, o3))


def _tiling(m: int, a: ConvAttrs, x: Sequence[int], w: Sequence[int], pooled: bool) -> Tiling:
    top, left, bottom, right = a.padding
    f = Filter(m, w[2], a.stride[0])
    rows, cols = ((size - f.taps) // f.stride + 1 for size in (x[2] + top + bottom, x[3] + left + right))
    return Tiling(
        f, m // 2 if pooled else m, x[0], rows, cols, x[1], w[0], -(-rows // m), -(-cols // m), top, left
    )  # fmt: skip


def _pools(node: Node) -> bool:
    return as_fused(node.attrs).pool is not None


def accepts(m: int, node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Square kernels larger than the stride, no dilation or groups; then a 2x2 pooling without padding, or none."""
    a, (height, width), (down, right) = attrs_of(node), inputs[1].concrete[2:], attrs_of(node).stride
    plain = height == width and down == right < height and a.dilation == (1, 1) and a.groups == 1
    if not plain or Filter(m, height, down).points > ALONG_BOTH or not is_float(inputs[0].dtype):
        return False
    return acts_anywhere(node) and _halves(as_fused(node.attrs))


def _halves(attrs: ConvPoolAttrs) -> bool:
    """No pooling, or one of 2x2 windows side by side."""
    pool = attrs.pool
    return pool is None or (
        pool.kernel == pool.stride == (2, 2)
        and pool.dilation == (1, 1)
        and not any(pool.padding)
        and not pool.ceil_mode
    )


def emit(k: Emitter, m: int, block: Block) -> None:
    """Each worker takes strips of tiles through all steps, which stay in its cache."""
    recheck(k)
    x, w = k.ins[:2]
    bias, residual = bias_and_residual(k.attrs, k.ins)
    (y,) = k.outs
    t = _tiling(m, attrs_of(k.node), x.shape, w.shape, _pools(k.node))
    packed = pack(k, w, t.filter, block.product.width)
    work: list[list[Strip]] = deal(strips(t, block), k.threads)
    if not work:
        return
    sizes = buffer_sizes(t, [s for mine in work for s in mine])
    memory = [tuple(k.scratch((n,), x.dtype, name) for name, n in sizes._asdict().items()) for _ in work]
    flat = [operand for mine in memory for operand in mine]
    plan = k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_strips")
    tiling = k.use(t, f"{k.name}_tiling")
    listed = "".join(f"({', '.join(map(str, mine))}), " for mine in memory)
    arguments = f"{tiling}, {plan}, ({listed}), {x.shape[2:]}"
    before = k.use(transforms(t.filter).inputs.astype(x.dtype), "input_transform")
    after = k.use(transforms(t.filter).outputs.astype(x.dtype), "output_transform")
    source, shift = (k.names.fresh(name) for name in ("source", "shift"))
    v, r = ({name: k.names.fresh(name) for name in kind._fields} for kind in (Views, Results))
    body = [
        f"for edge in {v['edges']}:\n    edge.fill(0)",
        f"{v['inside']}[...] = {source}",
        f"np.matmul({before}, {v['rows']}, out={v['by_rows']})",
        f"{v['tiles']}[...] = {v['seen']}",
        f"np.matmul({before}, {v['lines']}, out={v['by_both']})",
        multiply_lines(k, v["products"]),
        f"np.matmul({after}, {v['sums']}, out={v['by_lines']})",
        f"np.matmul({after}, {v['thin']}, out={v['made']})",
    ]
    if _pools(k.node):
        body += [f"np.maximum({r[x]}[0], {r[x]}[1], out={r[x]}[2])" for x in ("halves", "quarters")]
    if bias is not None:
        body.append(f"{combining(k)}({r['final']}, {shift}, out={r['final']})")
    if residual is not None:
        body.append(f"for _, value, added in {r['copies']}:\n    np.add(value, added, out=value)")
    if k.node.op is CONV_POOL:
        zeros = k.use(zero_row(x.dtype, t.outputs // block.ranges), "zeros")
        activation = write_activation(k, x.dtype, y.shape, r["final"], r["final"], zeros)
        body += activation.lines if activation is not None else ()
    body.append(f"for target, value, _ in {r['copies']}:\n    target[...] = value")
    names = [source, f"({', '.join(v.values())})", f"({', '.join(r.values())})"]
    lists = [
        bind(k, "sources", f"{k.use(bind_sources)}({tiling}, {plan}, {x})", x),
        bind(k, "views", f"{k.use(bind_strips)}({arguments}, {packed}, {block.product.rows})", packed, *flat),
        _bind_results(k, f"{tiling}, {plan}, ({listed}), {y}", residual, (y, *flat)),
    ]
    if bias is not None:
        names.append(shift)
        lists.append(bind(k, "biases", f"{k.use(bind_biases)}({plan}, {bias})", bias))
    over_blocks(k, len(work), names, lists, body)


def _bind_results(k: Emitter, arguments: str, residual: Operand | None, reads: Sequence[Operand]) -> str:
    also = () if residual is None else (residual,)
    return bind(k, "results", f"{k.use(bind_results)}({arguments}, {residual})", *reads, *also)


# ---------------------------------------------------------------- choosing the tile and the block

CANDIDATES = (7, 14, 28, 56, 112, 196, 392)
"""Tiles in a block that are considered."""


def seconds(t: Tiling, block: Block, itemsize: int, threads: int, machine: Machine) -> float:
    """Predicted time of all strips, when each thread takes its share of them."""
    work = strips(t, block)
    if not work:
        return 0.0
    largest = max(work, key=lambda s: s.tile_rows)
    count, c, k, square = largest.tile_rows * t.right, t.channels, largest.outputs, t.n**2
    sizes = buffer_sizes(t, [largest])
    # weights come from beyond the second-level cache again for every strip where they do not fit into it
    resident = square * c * k * itemsize <= machine.l2 // 2
    product = square * product_seconds(machine, count, c, k, itemsize, resident)
    moved = 2 * sizes.slab + 2 * largest.tile_rows * t.n * t.width * c + 4 * square * count * c
    moved += (2 * square + 2 * t.m * t.n + 3 * t.m**2) * count * k
    inside = (sizes.ping + sizes.pong) * itemsize <= machine.l2
    transforms = moved * itemsize / (machine.near if inside else machine.far)
    calls = (14 + square) * machine.call
    share = -(-len(work) // threads)
    return share * (product + transforms + calls) + (machine.fork if min(threads, len(work)) > 1 else 0.0)


def ways(t: Tiling, itemsize: int, threads: int) -> list[Way]:
    """Ways to cut the work that differ."""
    machine = this_machine()
    found: dict[tuple[Strip, ...], Way] = {}
    for ranges in {1, threads} if t.outputs % threads == 0 else {1}:
        outputs = t.outputs // ranges
        for tiles in CANDIDATES:
            cut = tuple(strips(t, Block(tiles, ranges, Blocking(1, outputs))))
            if cut not in found:
                count = max((s.tile_rows for s in cut), default=0) * t.right
                block = Block(tiles, ranges, blocking(machine, count, t.channels, outputs, itemsize))
                found[cut] = Way(seconds(t, block, itemsize, threads, machine), block)
    return list(found.values())


def _tiling_of(node: Node, inputs: tuple[TensorType, ...], m: int) -> Tiling:
    return _tiling(m, attrs_of(node), inputs[0].concrete, inputs[1].concrete, _pools(node))


def _register(m: int) -> None:
    def cuts(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
        return ways(_tiling_of(node, inputs, m), inputs[0].dtype.itemsize, threads)

    @kernel(CONV, CONV_POOL, lowering=f"winograd{m}", accepts=partial(accepts, m), ways=cuts, exact=False, staged=True)
    def lower(k: Emitter) -> None:
        emit(k, m, k.way)


for _m in (2, 4):
    _register(_m)
