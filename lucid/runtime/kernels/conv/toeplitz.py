"""Convolution of few channels: all outputs of a tile at once, by one product with a block-Toeplitz matrix.

The pixels under a tile of outputs (its patch) make one row of a matrix. The columns of the weight matrix are
the outputs of the tile, with a zero wherever an output does not see a pixel: more products than needed, but
one large product instead of many thin ones, and little to gather. The columns are grouped by their place in
the pooling window, so the pooling is a maximum over groups of columns.

One infinity or NaN of the input spreads over its tile, because zero times infinity is NaN; ``exact=True`` does
not take this lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused
from ....graph.types import CHANNELS_LAST, TensorType, is_float
from ...planning.machine import Machine, kept_for_machine, this_machine
from ...planning.phase import Phase
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ..shared.activation import acts_anywhere, combining, write_activation
from ..shared.panels import cut_for, multiply_lines, product_seconds
from ..shared.panels_views import bind_products, panels_of
from ..shared.windows import bind, channels_last, deal, over_blocks, recheck, tuple_of
from .numbers import attrs_of, convolved
from .plain import RUN
from .toeplitz_blocks import (
    Side,
    Strip,
    Tiling,
    bind_copies,
    bind_direct,
    bind_matrices,
    bind_outputs,
    bind_padded,
    bind_results,
    bind_sources,
    bind_windows,
    spread,
    strips,
    tiles_of,
)

KEPT_NODES = 256
"""How many nodes keep their ways, which take 30 KB each and are asked for several times while a plan is made."""


class Writer:
    """Writes the block loop of one node, or plain lines where there is one block."""

    def __init__(self, k: Emitter, t: Tiling, work: list[list[Strip]]) -> None:
        self.k, self.t, self.work = k, t, work
        self.y: Operand = k.outs[0]
        self.tiling = k.use(t, f"{k.name}_tiling")
        self.plan = k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_strips")
        self.tiles = max(tiles_of(t, s) for mine in work for s in mine)
        self.names: list[str] = []
        self.lists: list[str] = []
        self.body: list[str] = []
        self.phases: list[Phase] = []
        self.single = len(work) == len(work[0]) == 1

    def emit(self) -> None:
        k = self.k
        self.gather()
        self.multiply()
        if not self.single:
            over_blocks(k, len(self.work), self.names, self.lists, self.body)
            return
        for name, source, phase in zip(self.names, self.lists, self.phases, strict=True):
            k.define(name, f"{source}[0][0]", phase)
        k.line("\n".join(self.body))

    def add(self, names: Sequence[str], label: str, source: str, *reads: Operand) -> None:
        """Loop variables, and what they run over."""
        self.names.append(names[0] if len(names) == 1 else f"({', '.join(names)})")
        self.lists.append(bind(self.k, label, source, *reads))
        self.phases.append(max(x.phase for x in reads))

    def scratch(self, size: Sequence[int], label: str) -> list[Operand]:
        """Working memory for each worker."""
        return [self.k.scratch(size, self.y.dtype, label) for _ in self.work]

    def fresh(self, *names: str) -> list[str]:
        return [self.k.names.fresh(name) for name in names]

    def gather(self) -> None:
        k, t, x = self.k, self.t, self.k.ins[0]
        (seen,) = self.fresh("patches")
        self.seen = seen
        if t.inside and x.phase is not Phase.CALL:
            self.add([seen], "patches", f"{k.use(bind_direct)}({self.tiling}, {self.plan}, {x})", x)
            return
        most = max(s.n1 - s.n0 for mine in self.work for s in mine)
        rows = max(s.r1 - s.r0 for mine in self.work for s in mine)
        size = most * t.channels * t.rows.pixels(rows) * t.cols.pixels(t.cols.tiles)
        whole = not t.inside and rows == t.rows.tiles  # the same pixels are padding in every strip of whole images
        room = k.zeroed if whole else k.scratch
        padded = [room((size,), self.y.dtype, "padded") for _ in self.work]
        edges, edge, inside, source = self.fresh("edges", "edge", "inside", "source")
        views = f"{k.use(bind_padded)}({self.tiling}, {self.plan}, {tuple_of(padded)})"
        self.add([edges, inside, seen], "padded", views, *padded)
        if not t.inside and not whole:
            self.body.append(f"for {edge} in {edges}:\n    {edge}.fill(0)")
        if self.single and not t.last and self._all_seen():
            source = str(x)
        else:
            self.add([source], "sources", f"{k.use(bind_sources)}({self.tiling}, {self.plan}, {x})", x)
        self.body.append(f"{inside}[...] = {source}")

    def _all_seen(self) -> bool:
        """Whether the tiles see all of the input."""
        sides = (self.t.rows, self.t.cols)
        return all((side.real(0, side.tiles)[1] - side.real(0, side.tiles)[0]) == side.size for side in sides)

    def multiply(self) -> None:
        k, t = self.k, self.t
        w, bias = k.ins[1], k.ins[2] if len(k.ins) > 2 else None
        width = t.taps * t.made
        cut = cut_for(k, self.tiles, t.depth, width)
        packed, panels = self.weights(w, cut.width)
        shift = None if bias is None else self._bias(bias)
        windows = self.scratch((self.tiles * t.depth,), "windows")
        pooled = t.taps > 1
        products = self.scratch((self.tiles * t.taps * t.made,), "products") if pooled else windows
        maxima = self.scratch((self.tiles * t.taps * t.made,), "maxima") if t.taps > 3 else products
        buffers = "".join(f"({a}, {b}, {c}), " for a, b, c in zip(windows, products, maxima, strict=True))
        cols, matrix, made, steps, first, second = self.fresh("cols", "matrix", "made", "steps", "first", "second")
        if pooled:
            views = f"{k.use(bind_matrices)}({self.tiling}, {self.plan}, ({buffers}))"
            self.add([cols, matrix, made, steps, first, second], "matrices", views, *windows, *products, *maxima)
        else:
            views = f"{k.use(bind_windows)}({self.tiling}, {self.plan}, {tuple_of(windows)})"
            self.add([cols, matrix], "matrices", views, *windows)
        gathered = self.lists[-1]
        out = self._results(shift)
        self.body.append(f"{cols}[...] = {self.seen}")
        if cut.width == width:
            self.body.append(f"{matrix}.dot({packed}, out={made if pooled else out})")
        else:
            results = f"[[entry[2] for entry in mine] for mine in {gathered}]"
            results = results if pooled else f"[[entry[0] for entry in mine] for mine in {self.lists[-1]}]"
            matrices = f"[[entry[1] for entry in mine] for mine in {gathered}]"
            weights = f"[[{panels}] * len(mine) for mine in {gathered}]"
            source = f"{k.use(bind_products)}({matrices}, {weights}, {results}, {cut.rows})"
            (blocks,) = self.fresh("products")
            self.add([blocks], "blocks", source, panels, *windows, *products, *(() if pooled else self.made_in))
            self.body.append(multiply_lines(k, blocks))
        if pooled:
            a, b, c = self.fresh("a", "b", "c")
            if t.taps > 2:
                self.body.append(f"for {a}, {b}, {c} in {steps}:\n    np.maximum({a}, {b}, out={c})")
            self.body.append(f"np.maximum({first}, {second}, out={out})")
        self._finish(out, shift)

    def weights(self, w: Operand, width: int) -> tuple[Operand, Operand]:
        """The block-Toeplitz matrix (pixels of a patch, outputs of a tile), and its panels of so many columns."""
        k, t = self.k, self.t
        columns = t.taps * t.made
        with k.once(w):
            packed = k.scratch((t.depth, columns), w.dtype, "toeplitz")
            k.line(f"{k.use(spread)}({k.use(t.weights, f'{k.name}_weights')}, {w}, {packed})")
            if width == columns:
                return packed, packed
            panels = k.scratch((columns // width, t.depth, width), w.dtype, "panels")
            k.line(f"{panels}[...] = {k.use(panels_of)}({packed}, {width})")
        return packed, panels

    def _bias(self, bias: Operand) -> Operand:
        """The bias of every output of a strip: adding equal shapes takes a third of the time of broadcasting."""
        k, t = self.k, self.t
        with k.once(bias):
            shift = k.scratch((self.tiles, t.made), bias.dtype, "shift")
            k.line(f"{k.seen(shift, (self.tiles, t.made // t.outputs, t.outputs))}[...] = {bias}")
        return shift

    def _results(self, shift: Operand | None) -> str:
        k, t, y = self.k, self.t, self.y
        out, self.shift, self.zeros = self.fresh("out", "shift", "zeros")
        zeros = k.use(np.zeros((self.tiles, t.made), y.dtype), "zeros")
        reads = () if shift is None else (shift,)
        self.direct = t.whole and channels_last(y) and y.contiguous
        self.made_in: Sequence[Operand] = [y]
        if self.direct:
            views = f"{k.use(bind_outputs)}({self.tiling}, {self.plan}, {y}, {shift}, {zeros})"
            self.add([out, self.shift, self.zeros], "outputs", views, y, *reads)
        else:
            self.made_in = self.results = self.scratch((self.tiles, t.made), "results")
            views = f"{k.use(bind_results)}({self.tiling}, {self.plan}, {tuple_of(self.results)}, {shift}, {zeros})"
            self.add([out, self.shift, self.zeros], "results", views, *self.results, *reads)
        return out

    def _finish(self, out: str, shift: Operand | None) -> None:
        k, t = self.k, self.t
        if shift is not None:
            self.body.append(f"{combining(k)}({out}, {self.shift}, out={out})")
        if k.node.op is CONV_POOL:
            activation = write_activation(k, self.y.dtype, (self.tiles, t.made), out, out, self.zeros)
            self.body += activation.lines if activation is not None else ()
        if not self.direct:
            copies, target, value = self.fresh("copies", "target", "value")
            views = f"{k.use(bind_copies)}({self.tiling}, {self.plan}, {tuple_of(self.results)}, {self.y})"
            self.add([copies], "copies", views, self.y, *self.results)
            self.body.append(f"for {target}, {value} in {copies}:\n    {target}[...] = {value}")


def write_strips(k: Emitter, writer: type[Writer]) -> None:
    """Each worker takes strips of tiles through all steps, which stay in its cache."""
    recheck(k)
    t, most, workers = k.way
    work: list[list[Strip]] = deal(strips(t, most), workers)
    if work:
        writer(k, t, work).emit()


# ---------------------------------------------------------------- choosing the tile and the block

FEW = 32
"""Channels; with more the zeros in the matrix cost more than the windows that need no gathering."""
TILES = (64, 128, 256, 512, 1024, 2048)
"""Tiles in a strip that are considered."""
SIDES = (1, 2, 3, 4)
"""Outputs of a tile, each way, that are considered; without pooling twice as many."""
TILES_COST = 1.25
"""What the sum of the parts falls short of, on average over many shapes: patches overlap in the cache."""
LOOP = 2.5e-8
"""Seconds of one loop of a maximum over the few outputs of a tile."""
VECTOR = 16
"""Columns of a product that take as long as one."""


def seconds(t: Tiling, most: int, itemsize: int, workers: int, machine: Machine) -> float:
    """Predicted time of all strips, when each worker takes its share of them."""
    work = strips(t, most)
    if not work:
        return 0.0
    largest = max(work, key=lambda s: tiles_of(t, s))
    tiles, width = tiles_of(t, largest), t.taps * t.made
    columns = -(-width // VECTOR) * VECTOR
    resident = t.depth * width * itemsize <= machine.l2 // 2
    multiply = product_seconds(machine, tiles, t.depth, columns, itemsize, resident)
    runs = tiles * t.rows.patch * (1 if t.last else t.channels)
    moved = 2 * tiles * t.depth + 3 * tiles * t.made
    if not t.inside:
        moved += tiles * t.rows.step * t.cols.step * t.channels
    if not t.whole:
        runs += tiles * t.rows.tile
        moved += 2 * tiles * t.made
    inside = tiles * (t.depth + 2 * width) * itemsize <= machine.l2
    move = moved * itemsize / (machine.near if inside else machine.far)
    calls = (6 + t.taps // 2) * machine.call / 2  # of so small arrays
    share = -(-len(work) // workers)
    pool = tiles * (t.taps - 1).bit_length() * LOOP
    return share * TILES_COST * (multiply + runs * RUN + pool + move + calls) + (machine.fork if workers > 1 else 0.0)


def _side(a: int, node: Node, x: Sequence[int], w: Sequence[int], counts: Sequence[int], pool: int, tile: int) -> Side:
    conv = attrs_of(node)
    count = counts[2 + a] // pool
    return Side(
        x[2 + a], w[2 + a], conv.stride[a], conv.dilation[a], conv.padding[a], pool, count, min(tile, max(1, count))
    )


def tilings(node: Node, inputs: tuple[TensorType, ...]) -> Iterator[Tiling]:
    x, w, counts = inputs[0].concrete, inputs[1].concrete, convolved(node, inputs)
    pool = _pool(node)
    last = inputs[0].order is not None
    for tile in product(*(SIDES if p > 1 else (1, 2, 4, 8) for p in pool)):
        rows, cols = (_side(a, node, x, w, counts, pool[a], tile[a]) for a in (0, 1))
        yield Tiling(x[0], x[1], w[0], rows, cols, last)


Cost: TypeAlias = "Callable[[Tiling, int, int], float]"
"""Predicted seconds of a tiling in strips of so many tiles, for so many workers."""


class Block(NamedTuple):
    """How the work is cut: the tiles, how many of them are a strip at most, and how many workers share the strips."""

    tiling: Tiling
    most: int
    workers: int

    def __str__(self) -> str:
        return f"{self.tiling.rows.tile}x{self.tiling.cols.tile} tiles, {self.most} a strip"


def best_ways(node: Node, inputs: tuple[TensorType, ...], threads: int, cost: Cost) -> list[Way]:
    """For each tiling the best way to share it."""

    def best(t: Tiling) -> Way:
        blocks = (Block(t, most, workers) for most in TILES for workers in sorted({1, threads}))
        return min((Way(cost(*block), block) for block in blocks), key=lambda way: way.seconds)

    return [best(t) for t in dict.fromkeys(tilings(node, inputs))]


@kept_for_machine(KEPT_NODES)
def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    machine, itemsize = this_machine(), inputs[0].dtype.itemsize
    return best_ways(node, inputs, threads, lambda t, most, workers: seconds(t, most, itemsize, workers, machine))


def _pool(node: Node) -> tuple[int, ...]:
    pool = as_fused(node.attrs).pool
    return (1, 1) if pool is None else pool.kernel


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """Few channels, no groups; then a pooling of windows side by side without padding, or none."""
    x, attrs = inputs[0], as_fused(node.attrs)
    if attrs.conv.groups != 1 or x.concrete[1] > FEW or not is_float(x.dtype) or x.order not in (None, CHANNELS_LAST):
        return False
    pool = attrs.pool
    plain = pool is None or (
        pool.kernel == pool.stride and pool.dilation == (1, 1) and not any(pool.padding) and not pool.ceil_mode
    )
    return plain and not attrs.residual and acts_anywhere(node)


@kernel(
    CONV, CONV_POOL, lowering="toeplitz", accepts=accepts, exact=False, ways=ways, staged=True)  # fmt: skip
def toeplitz(k: Emitter) -> None:
    """Gather patches, multiply by the block-Toeplitz matrix, pool, add the bias, activate."""
    write_strips(k, Writer)
