"""Convolution of few channels by the block-Toeplitz product turned: each output's results side by side.

Here a row of the product is one output of all tiles of a strip (a plane). The pooling, the bias and the activation then
run along planes, where in :mod:`.toeplitz` they begin anew at each tile, which takes longer than the few numbers there.

Patches of channels-last images are gathered as there. Other images are first parted: pixels a tile's step away from
each other come to lie side by side. One pixel of all patches of some rows of tiles is then a single run, and the
window matrix is gathered by as many long copies as a patch has pixels. The run goes on from one row of tiles to the
next over some patches that lie across the border, whose results are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused
from ....graph.types import TensorType
from ...planning.machine import Machine, kept_for_machine, this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.activation import write_activation
from ..shared.panels import cut_for, multiply_lines, product_seconds
from ..shared.panels_views import bind_products
from ..shared.windows import channels_last, tuple_of
from . import toeplitz
from .plain import RUN
from .toeplitz import FEW, KEPT_NODES, TILES_COST, Writer, best_ways, write_strips
from .toeplitz_blocks import Side, Strip, Tiling, bind_windows, strips, tiles_of


def phases(side: Side) -> int:
    """Parts of the pixels along one axis; those a patch does not see are left out."""
    return min(side.step, side.patch)


def length(side: Side, tiles: int) -> int:
    """Pixels of each part under so many tiles."""
    return tiles + (side.patch - 1) // side.step


def real(side: Side, first: int, last: int, phase: int) -> tuple[int, int, int]:
    """Of a part's pixels under some tiles those in the input: where they begin and end, and the first's place there."""
    start = first * side.step - side.before + phase
    low = min(max(0, -(start // side.step)), length(side, last - first))
    high = max(low, min(length(side, last - first), (side.size - 1 - start) // side.step + 1))
    return low, high, start + low * side.step


def run_of(t: Tiling, s: Strip) -> tuple[int, int]:
    """Of one image of a strip: from one row of tiles to the next in a plane, and the length of the plane."""
    pitch = t.cols.tiles if t.last else length(t.cols, t.cols.tiles)
    return pitch, (s.r1 - s.r0 - 1) * pitch + t.cols.tiles


def columns_of(t: Tiling, s: Strip) -> int:
    """Columns of a strip's window matrix."""
    return (s.n1 - s.n0) * run_of(t, s)[1]


# ---------------------------------------------------------------- views


def _slices(side: Side, first: int, last: int) -> list[tuple[slice, slice]]:
    """For each part its real pixels there and in the input."""
    found = []
    for phase in range(phases(side)):
        low, high, start = real(side, first, last, phase)
        stop = start + (high - low - 1) * side.step + 1 if high > low else start
        found.append((slice(low, high), slice(start, stop, side.step)))
    return found


def _together(slices: Sequence[tuple[slice, slice]]) -> bool:
    """Whether all parts have their real pixels at the same places: they are copied at once."""
    return all(there == slices[0][0] for there, _ in slices)


def _parted(t: Tiling, s: Strip, memory: Any) -> Any:
    """The parts (image, channel, row phase, column phase, row, column) of a strip."""
    shape = (
        s.n1 - s.n0, t.channels, phases(t.rows), phases(t.cols),
        length(t.rows, s.r1 - s.r0), length(t.cols, t.cols.tiles),
    )  # fmt: skip
    return as_view(memory[: np.prod(shape)], shape)


def bind_parts(t: Tiling, work: Any, memory: Any, x: Any) -> list[list[Any]]:
    """For each strip the copies ``target[...] = value`` that part its pixels."""
    bound, cols = [], _slices(t.cols, 0, t.cols.tiles)
    for mine, own in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            rows = _slices(t.rows, s.r0, s.r1)
            entries.append(list(_parting(_parted(t, s, own), x[s.n0 : s.n1], rows, cols)))
        bound.append(entries)
    return bound


def _parting(parted: Any, images: Any, rows: Any, cols: Any) -> Any:
    if _together(rows) and _together(cols):
        target = parted[..., rows[0][0], cols[0][0]]
        value = images[:, :, rows[0][1], cols[0][1]]
        n, c, r, q = value.strides
        yield target, as_strided(value, target.shape, (n, c, *images.strides[2:], r, q))
        return
    for (a, (down, above)), (b, (right, left)) in product(enumerate(rows), enumerate(cols)):
        value = images[:, :, above, left]
        if value.size:
            yield parted[:, :, a, b, down, right], value


class Group(NamedTuple):
    """Some of a patch's pixels along one axis: the first, the place of it in its part, rounds, phases of each round."""

    first: int
    place: int
    rounds: int
    phases: int


def _groups(side: Side) -> list[Group]:
    """The whole rounds of all phases, and the rest."""
    rounds, rest = divmod(side.patch, side.step)
    found = [Group(0, 0, rounds, side.step)] if rounds else []
    return [*found, Group(rounds * side.step, rounds, 1, rest)] if rest else found


def bind_runs(t: Tiling, work: Any, memory: Any) -> list[list[Any]]:
    """For each strip the copies that gather its window matrix from its parts, and that matrix (columns, depth)."""
    bound = []
    for mine, (parts, windows) in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            parted, run = _parted(t, s, parts), run_of(t, s)[1]
            matrix = as_view(windows[: t.depth * columns_of(t, s)], t.depth, columns_of(t, s))
            cells = as_view(matrix, t.channels, t.rows.patch, t.cols.patch, s.n1 - s.n0, run)
            pairs = product(_groups(t.rows), _groups(t.cols))
            entries.append(([_gathering(parted, cells, *pair) for pair in pairs], matrix.T))
        bound.append(entries)
    return bound


def _gathering(parted: Any, cells: Any, rows: Group, cols: Group) -> tuple[Any, Any]:
    channels, _, _, images, run = cells.shape
    down, right = (slice(g.first, g.first + g.rounds * g.phases) for g in (rows, cols))
    shape = (channels, rows.rounds, rows.phases, cols.rounds, cols.phases, images, run)
    n, c, part_r, part_q, r, q = parted.strides
    return as_view(cells[:, down, right], shape), as_strided(
        parted[..., rows.place :, cols.place :], shape, (c, r, part_r, q, part_q, n, q)
    )


def bind_planes(t: Tiling, work: Any, memory: Any, bias: Any, zeros: Any) -> list[list[Any]]:
    """For each strip the product, the pooling's steps, the results (outputs of a tile, columns), bias and zeros."""
    bound = []
    for mine, own in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            count = columns_of(t, s)
            made = as_view(own[: t.taps * t.made * count], t.taps * t.made, count)
            shift = None if bias is None else bias[:, :count]
            entries.append((made, list(_pooling(made, t.taps, t.made)), made[: t.made], shift, zeros[:, :count]))
        bound.append(entries)
    return bound


def _pooling(made: Any, groups: int, rows: int) -> Any:
    """Steps ``maximum(a, b, out=a)`` that leave the maximum of all groups of rows in the first."""
    while groups > 1:
        half = groups // 2
        kept = groups - half
        yield made[: half * rows], made[kept * rows : groups * rows]
        groups = kept


def bind_ends(t: Tiling, work: Any, memory: Any, least: Any, y: Any) -> list[list[Any]]:
    """For each strip the triples ``target, value, least`` that take its results to the output."""
    bound = []
    for mine, own in zip(work, memory, strict=True):
        entries = []
        for s in map(Strip._make, mine):
            results = own[: t.made * columns_of(t, s)]
            entries.append([
                (target, value, as_view(least[: t.outputs, : value.size // t.outputs], value.shape))
                for target, value in _ends(t, s, results, y[s.n0 : s.n1])
            ])  # fmt: skip
        bound.append(entries)
    return bound


def _ends(t: Tiling, s: Strip, results: Any, y: Any) -> Any:
    pitch, run = run_of(t, s)
    images, (down, right) = s.n1 - s.n0, (t.rows.tile, t.cols.tile)
    cells = as_view(results, down, right, t.outputs, images, run)
    step = results.itemsize
    for i, j in product(range(down), range(right)):
        rows = len(range(s.r0 * down + i, min(s.r1 * down, t.rows.count), down))
        cols = len(range(j, t.cols.count, right))
        if rows and cols:
            value = as_strided(
                cells[i, j], (t.outputs, images, rows, cols), (images * run * step, run * step, pitch * step, step)
            )
            target = y[:, :, s.r0 * down + i :: down, j::right][:, :, :rows, :cols]
            yield target.transpose(1, 0, 2, 3), value


# ---------------------------------------------------------------- the kernel


class Finish(NamedTuple):
    """What follows the pooling: names in the loop of results, bias and zeros, and the operands behind them."""

    results: str
    added: str
    zero: str
    shift: Operand | None
    floor: Operand | None
    zeros: str


class PlanesWriter(Writer):
    """Writes the loop over strips whose product is turned."""

    def gather(self) -> None:
        """The window matrix; ``matrices`` becomes the list of it (columns, depth) for each strip."""
        k, t = self.k, self.t
        self.most = max(columns_of(t, s) for mine in self.work for s in mine)
        self.windows = self.scratch((t.depth * self.most,), "windows")
        if not t.last:
            self._part()
            return
        super().gather()
        cols, matrix = self.fresh("cols", "matrix")
        views = f"{k.use(bind_windows)}({self.tiling}, {self.plan}, {tuple_of(self.windows)})"
        self.add([cols, matrix], "matrices", views, *self.windows)
        self.body.append(f"{cols}[...] = {self.seen}")
        self.matrices = self.lists[-1]

    def _part(self) -> None:
        """Part the pixels, and gather the windows from the parts."""
        k, t, every = self.k, self.t, [s for mine in self.work for s in mine]
        images, rows = max(s.n1 - s.n0 for s in every), max(s.r1 - s.r0 for s in every)
        size = phases(t.rows) * phases(t.cols) * images * t.channels
        size *= length(t.rows, rows) * length(t.cols, t.cols.tiles)
        whole = rows == t.rows.tiles  # the same pixels are padding in every strip of whole images
        parts = [(k.zeroed if whole else k.scratch)((size,), self.y.dtype, "parts") for _ in self.work]
        parting, gathering, matrix, target, value = self.fresh("parting", "gathering", "matrix", "target", "value")
        views = f"{k.use(bind_parts)}({self.tiling}, {self.plan}, {tuple_of(parts)}, {k.ins[0]})"
        self.add([parting], "parting", views, k.ins[0], *parts)
        if not whole and not t.inside:
            own = k.names.fresh("parts")
            self.add([own], "own", f"[[own] * len(mine) for mine, own in zip({self.plan}, {tuple_of(parts)})]", *parts)
            self.body.append(f"{own}.fill(0)")
        pairs = "".join(f"({a}, {b}), " for a, b in zip(parts, self.windows, strict=True))
        views = f"{k.use(bind_runs)}({self.tiling}, {self.plan}, ({pairs}))"
        self.add([gathering, matrix], "runs", views, *parts, *self.windows)
        self.matrices = self.lists[-1]
        for copies in (parting, gathering):
            self.body.append(f"for {target}, {value} in {copies}:\n    {target}[...] = {value}")

    def multiply(self) -> None:
        k, t = self.k, self.t
        w, bias = k.ins[1], k.ins[2] if len(k.ins) > 2 else None
        cut = cut_for(k, self.most, t.depth, t.taps * t.made)
        packed, panels = self.weights(w, cut.width)
        shift = None if bias is None else self._bias(bias)
        zeros = k.use(np.zeros((t.made, self.most), self.y.dtype), "zeros")
        planes = self.scratch((t.taps * t.made * self.most,), "planes")
        made, steps, results, added, zero = self.fresh("made", "steps", "results", "bias", "zero")
        views = f"{k.use(bind_planes)}({self.tiling}, {self.plan}, {tuple_of(planes)}, {shift}, {zeros})"
        self.add([made, steps, results, added, zero], "planes", views, *planes, *((shift,) if shift else ()))
        matrices = f"[[entry[-1] for entry in mine] for mine in {self.matrices}]"
        if panels is packed and cut.rows >= self.most:
            turned = k.view(packed, f"{packed}.T", (t.taps * t.made, t.depth), label="turned")
            (right,) = self.fresh("right")
            self.add([right], "right", f"[[matrix.T for matrix in mine] for mine in {matrices}]", *self.windows)
            self.body.append(f"{turned}.dot({right}, out={made})")
        else:
            weights = f"[[{k.seen(panels, (-1, t.depth, cut.width))}] * len(mine) for mine in {self.matrices}]"
            outputs = f"[[entry[0].T for entry in mine] for mine in {self.lists[-1]}]"
            source = f"{k.use(bind_products)}({matrices}, {weights}, {outputs}, {cut.rows})"
            (blocks,) = self.fresh("products")
            self.add([blocks], "blocks", source, panels, *self.windows, *planes)
            self.body.append(multiply_lines(k, blocks))
        a, b = self.fresh("a", "b")
        self.body.append(f"for {a}, {b} in {steps}:\n    np.maximum({a}, {b}, out={a})")
        floor = shift if getattr(k.attrs, "floor", False) else None
        self._finish_planes(planes, Finish(results, added, zero, shift, floor, zeros))

    def _bias(self, bias: Operand) -> Operand:
        k, t = self.k, self.t
        with k.once(bias):
            shift = k.scratch((t.made, self.most), bias.dtype, "shift")
            cells = (t.made // t.outputs, t.outputs, self.most)
            k.line(f"{k.seen(shift, cells)}[...] = {bias}.reshape({t.outputs}, 1)")
        return shift

    def _finish_planes(self, planes: Sequence[Operand], f: Finish) -> None:
        """Add the bias, activate, copy to the output.

        The activation copies too, where rows of the output are long. A copy begins a short one in a third of the time.
        """
        k, y = self.k, self.y
        ends, target, value, low = self.fresh("ends", "target", "value", "low")
        at_once = self.t.last and not channels_last(y)
        source, place, least = (value, target, low) if at_once else (f.results, f.results, f.zero)
        lines: Sequence[str] = ()
        if f.floor is not None:
            lines = (f"np.maximum({source}, {low if at_once else f.added}, out={place})",)
        else:
            if f.shift is not None:
                self.body.append(f"np.add({f.results}, {f.added}, out={f.results})")
            if k.node.op is CONV_POOL:
                activation = write_activation(k, y.dtype, (self.t.made, self.most), source, place, least)
                lines = activation.lines if activation is not None else ()
        if not at_once or not lines:
            self.body += lines
            lines = (f"{target}[...] = {value}",)
        views = f"{k.use(bind_ends)}({self.tiling}, {self.plan}, {tuple_of(planes)}, {f.floor or f.zeros}, {y})"
        self.add([ends], "ends", views, y, *planes, *(() if f.floor is None else (f.floor,)))
        body = "\n".join(f"    {line}" for text in lines for line in text.splitlines())
        self.body.append(f"for {target}, {value}, {low} in {ends}:\n{body}")


# ---------------------------------------------------------------- choosing the tile and the block

SMOOTH = 1.0e11
"""Bytes a second that pass through operations along planes."""
BEGIN = 4
"""Depth of a product that takes as long as to begin and end its sums."""
APART = 8e-10
"""Seconds to read one of pixels that lie a tile's step apart."""
TURNED, STRAIGHT = 1.2e-9, 3e-10
"""Seconds to write one number to the output where its neighbour is another output's (of few; else three times that),
and where it is the plane's."""


def seconds(t: Tiling, most: int, itemsize: int, workers: int, machine: Machine, last: bool) -> float:
    """Predicted time of all strips, when each worker takes its share of them; ``last`` tells how results lie."""
    work = strips(t, most)
    if not work:
        return 0.0
    s = max(work, key=lambda s: tiles_of(t, s))
    columns, width = columns_of(t, s), t.taps * t.made
    resident = t.depth * width * itemsize <= machine.l2 // 2
    each = product_seconds(machine, columns, t.depth + BEGIN, -(-width // 8) * 8, itemsize, resident)
    inside = columns * (t.depth + width) * itemsize <= machine.l2
    each += 2 * (width + t.made) * columns * itemsize / (SMOOTH if inside else machine.far)
    each += _gather_seconds(t, s, itemsize, machine, inside)
    pitch, run = run_of(t, s)
    ends = t.made * (s.n1 - s.n0) * (1 if pitch == t.cols.tiles and not last else s.r1 - s.r0)
    number = STRAIGHT if not last else TURNED if t.outputs <= FEW else 3 * TURNED
    each += ends * RUN + number * t.made * (s.n1 - s.n0) * run
    calls = 3 + (t.taps - 1).bit_length() + t.rows.tile * t.cols.tile
    calls += 1 if t.last else len(_groups(t.rows)) * len(_groups(t.cols))
    each += calls * machine.call / 2
    return -(-len(work) // workers) * TILES_COST * each + (machine.fork if workers > 1 else 0.0)


def _gather_seconds(t: Tiling, s: Strip, itemsize: int, machine: Machine, inside: bool) -> float:
    """Predicted time to gather the windows of a strip."""
    near, windows = machine.near if inside else machine.far, 2 * columns_of(t, s) * t.depth * itemsize
    if t.last:
        copied = 0 if t.inside else tiles_of(t, s) * t.rows.step * t.cols.step * t.channels
        return tiles_of(t, s) * t.rows.patch * RUN + (windows + 2 * copied * itemsize) / near
    images = s.n1 - s.n0
    rows = images * t.channels * length(t.rows, s.r1 - s.r0) * phases(t.rows) * phases(t.cols)
    pixels = rows * length(t.cols, t.cols.tiles)
    parted = 2 * pixels * itemsize / near + (pixels * APART if phases(t.cols) > 1 else 0.0)
    return (rows + images * t.depth) * RUN + parted + windows / (SMOOTH if inside else machine.far)


@kept_for_machine(KEPT_NODES)
def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    machine, itemsize, last = this_machine(), inputs[0].dtype.itemsize, node.outputs[0].order is not None
    return best_ways(node, inputs, threads, lambda t, most, workers: seconds(t, most, itemsize, workers, machine, last))


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """What the other block-Toeplitz product does; without pooling few outputs, as all of them are copied once more."""
    pooled = as_fused(node.attrs).pool is not None
    return toeplitz.accepts(node, inputs) and (pooled or inputs[1].concrete[0] <= FEW)


@kernel(CONV, CONV_POOL, lowering="toeplitz_planes", accepts=accepts, exact=False, ways=ways, staged=True, ordered=True)
def toeplitz_planes(k: Emitter) -> None:
    """Part the pixels, gather patches, multiply, pool, add the bias, activate."""
    write_strips(k, PlanesWriter)
