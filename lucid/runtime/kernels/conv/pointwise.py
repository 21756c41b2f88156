"""1x1 convolution of channels-last images: the pixels as they lie are the left matrix of one product.

Threads share the pixels; where these are few, the outputs, so that every weight is packed once. What follows
the product runs on each block while it is in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ....graph.ir import Node
from ....graph.ops.conv import CONV
from ....graph.ops.conv_pool import CONV_POOL, as_fused, bias_and_residual
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.machine import Machine, this_machine
from ...planning.registry import Way, kernel
from ...program.emitter import Emitter, Operand
from ...program.views import as_view
from ..shared.activation import acts_anywhere, combining, write_activation, zero_row
from ..shared.panels import Blocking, cut_for, multiply_lines, product_seconds, small_products, turn_panels
from ..shared.windows import bind, deal, laid_out, over_blocks, pieces, pixels_of_run, recheck, tiled
from .numbers import attrs_of, convolved, passes
from .plain import RUN


@dataclass(frozen=True)
class Pointwise:
    """The numbers of one 1x1 convolution; ``rows`` and ``cols`` are those of the output."""

    images: int
    rows: int
    cols: int
    channels: int
    outputs: int
    stride: tuple[int, int]
    passes: int

    @property
    def pixels(self) -> int:
        return self.images * self.rows * self.cols

    @property
    def thinned(self) -> bool:
        return self.stride != (1, 1)


class Piece(NamedTuple):
    """Some pixels, and some outputs of them."""

    p0: int
    p1: int
    k0: int
    k1: int


def _numbers(node: Node, inputs: Sequence[TensorType]) -> Pointwise:
    n, outputs, rows, cols = convolved(node, tuple(inputs))
    return Pointwise(n, rows, cols, inputs[1].concrete[1], outputs, attrs_of(node).stride, passes(node, tuple(inputs)))


def _work(p: Pointwise, itemsize: int, threads: int, machine: Machine) -> list[list[list[Piece]]]:
    """Ways to share the work: by pixels, in blocks that leave the second-level cache room, or by outputs."""
    most = max(1, 3 * machine.l2 // 4 // (itemsize * (p.channels + p.outputs)))
    if p.thinned:
        rows = pieces(p.rows, max(1, most // p.cols))
        cut = [((n * p.rows + a) * p.cols, (n * p.rows + b) * p.cols) for n in range(p.images) for a, b in rows]
    else:
        share = -(-p.pixels // threads)
        cut = [(a + c, a + d) for a, b in pieces(p.pixels, share) for c, d in pieces(b - a, max(most, 128))]
    ways = [deal([Piece(a, b, 0, p.outputs) for a, b in cut], threads)]
    if threads > 1 and p.outputs >= 16 * threads:
        most = max(64, machine.l2 // 4 // max(1, p.pixels * itemsize))
        share = -(-p.outputs // threads)
        ways.append([
            [Piece(0, p.pixels, a + c, a + d) for c, d in pieces(b - a, most)] for a, b in pieces(p.outputs, share)
        ])  # fmt: skip
    return ways


def _seconds(p: Pointwise, work: Sequence[Sequence[Piece]], itemsize: int, machine: Machine) -> float:
    """Predicted time of the slowest worker."""

    def one(piece: Piece) -> float:
        pixels, outputs = piece.p1 - piece.p0, piece.k1 - piece.k0
        weights, result = p.channels * outputs * itemsize, pixels * outputs * itemsize
        inside = result + pixels * p.channels * itemsize <= machine.l2
        time = product_seconds(machine, pixels, p.channels, outputs, itemsize, weights <= machine.l2 // 2)
        time += 2 * p.passes * result / (machine.near if inside else machine.far)
        return time + (1 + p.passes) * machine.call

    thin = p.pixels * (2 * p.channels * itemsize / machine.near + RUN) if p.thinned else 0.0
    if work and work[0][0].k1 == p.outputs:
        thin /= len(work)
    slowest = max((sum(map(one, mine)) for mine in work), default=0.0)
    return slowest + thin + (machine.fork if len(work) > 1 else 0.0)


@dataclass(frozen=True)
class Pieces:
    """How the work is cut: the pieces of each worker."""

    work: tuple[tuple[Piece, ...], ...]

    def __str__(self) -> str:
        if not self.work:
            return "nothing"
        first = self.work[0][0]
        return f"{first.p1 - first.p0} pixels x {first.k1 - first.k0} outputs"


def ways_of(p: Pointwise, itemsize: int, threads: int) -> list[Way]:
    """Ways to share the pixels, or the outputs."""
    machine = this_machine()
    cuts = dict.fromkeys(Pieces(tuple(map(tuple, work))) for work in _work(p, itemsize, threads, machine))
    return [Way(_seconds(p, cut.work, itemsize, machine), cut) for cut in cuts]


def accepts(node: Node, inputs: tuple[TensorType, ...]) -> bool:
    """1x1 without padding, groups or pooling, from channels last to channels last."""
    attrs = as_fused(node.attrs)
    a = attrs.conv
    plain = inputs[1].concrete[2:] == (1, 1) and a.groups == 1 and not any(a.padding)
    if not plain or inputs[0].order != CHANNELS_LAST or node.outputs[0].order != CHANNELS_LAST:
        return False
    return attrs.pool is None and acts_anywhere(node)


def ways(node: Node, inputs: tuple[TensorType, ...], threads: int) -> list[Way]:
    return ways_of(_numbers(node, inputs), inputs[0].dtype.itemsize, threads)


def bind_pieces(
    work: Sequence[Sequence[Any]], tile: int, pixels: Any, made: Any, weights: Any, bias: Any, added: Any, zeros: Any
) -> list[list[Any]]:
    """For each piece its pixels, weights and product; the product by runs, and what is added to and compared with."""
    matrices, outputs = iter(weights), made.shape[1]
    blocks: dict[tuple[int, int], Any] = {}
    bound = []
    for mine in work:
        entries = []
        for p0, p1, k0, k1 in mine:
            if (k0, k1) not in blocks:
                blocks[k0, k1] = next(matrices)
            own = slice(p0, p1), slice(k0, k1)
            runs = made[own] if tile == 1 else as_view(made[p0:p1], -1, tile * outputs)
            rows, panels = blocks[k0, k1]
            entries.append((
                list(small_products(pixels[p0:p1], panels, made[own], rows)), runs,
                bias if bias is None else bias if tile > 1 else bias[k0:k1],
                added if added is None else as_view(added[own], runs.shape),
                zeros[: runs.shape[1]],
            ))  # fmt: skip
        bound.append(entries)
    return bound


def bind_thin(p: Pointwise, work: Sequence[Sequence[Any]], x: Any, thin: Any) -> list[list[Any]]:
    """For each piece (whole rows of one image) the pixels a strided convolution reads, and where they are gathered."""
    down, right = p.stride
    seen = x.transpose(0, 2, 3, 1)[:, : (p.rows - 1) * down + 1 : down, : (p.cols - 1) * right + 1 : right]
    image = p.rows * p.cols
    bound = []
    for mine in work:
        entries = []
        for p0, p1, _, _ in mine:
            first, last = p0 // image, -(-p1 // image)
            rows = slice((p0 - first * image) // p.cols, (p1 - (last - 1) * image) // p.cols)
            source = seen[first:last, rows]
            entries.append((as_view(thin[p0:p1], source.shape), source))
        bound.append(entries)
    return bound


class _Loop(NamedTuple):
    """The loop over pieces while it is written."""

    names: list[str]
    lists: list[str]
    body: list[str]


@kernel(CONV, CONV_POOL, lowering="pointwise_blocks", accepts=accepts, ways=ways, staged=True)
def pointwise_blocks(k: Emitter) -> None:
    """Multiply, add the bias and the residual, activate."""
    recheck(k)
    (y,) = k.outs
    p = _numbers(k.node, [t.type for t in k.ins])
    bias, residual = bias_and_residual(k.attrs, k.ins)
    added = None if residual is None else laid_out(k, residual, True, "residual")
    rows = [None if x is None else _rows(k, x) for x in (y, added)]
    emit_pixels(k, p, rows[0], bias, rows[1], k.node.op is CONV_POOL)


def _rows(k: Emitter, x: Operand) -> Operand:
    """A channels-last image as a matrix (pixels, channels)."""
    shape = (math.prod(x.shape) // max(1, x.shape[1]), x.shape[1])
    return k.target(k.permuted(x, CHANNELS_LAST), shape, "rows")


def emit_pixels(
    k: Emitter, p: Pointwise, y: Operand | None, bias: Operand | None, added: Operand | None, activated: bool
) -> None:
    """The loop over pieces of ``y = activation(pixels @ weights + bias + added)``, all of them matrices."""
    if not p.pixels or not p.outputs or y is None:
        return
    work = k.way.work
    shared = work[0][0].k1 < p.outputs
    tile = 1 if shared else pixels_of_run(p.outputs, (q.p1 - q.p0 for mine in work for q in mine))
    cuts = _cuts(k, p, work)
    weights = _weights(k, k.ins[1], cuts)
    plan, loop = k.use([list(map(tuple, mine)) for mine in work], f"{k.name}_pieces"), _Loop([], [], [])
    if p.thinned:
        pixels = _thinned(k, p, plan, shared, loop)
    elif k.ins[0].type.rank == 4:
        pixels = _rows(k, laid_out(k, k.ins[0], True, "pixels"))
    else:
        pixels = k.reshaped(k.ins[0], (p.pixels, p.channels), "pixels")
    row = None if bias is None else tiled(k, bias, tile)
    zeros = k.use(zero_row(y.dtype, tile * p.outputs), "zeros")
    reads = [operand for operand in (pixels, y, row, added, *weights) if operand is not None]
    listed = "".join(f"({cut.rows}, {m}), " for cut, m in zip(cuts.values(), weights, strict=True))
    call = f"{k.use(bind_pieces)}({plan}, {tile}, {pixels}, {y}, ({listed}), {row}, {added}, {zeros})"
    products, runs, shift, more, zero = (k.names.fresh(n) for n in ("products", "runs", "bias", "residual", "zero"))
    loop.names.append(f"({products}, {runs}, {shift}, {more}, {zero})")
    loop.lists.append(bind(k, "products", call, *reads))
    loop.body.append(multiply_lines(k, products))
    for term, given, function in ((shift, row, combining(k)), (more, added, "np.add")):
        if given is not None:
            loop.body.append(f"{function}({runs}, {term}, out={runs})")
    if activated:
        activation = write_activation(k, y.dtype, y.shape, runs, runs, zero)
        loop.body.extend(activation.lines if activation is not None else ())
    over_blocks(k, len(work), *loop)


def _thinned(k: Emitter, p: Pointwise, plan: str, shared: bool, loop: _Loop) -> Operand:
    """The pixels that a strided convolution reads, gathered by each piece, or before if all pieces read all."""
    x, numbers = k.ins[0], k.use(p, f"{k.name}_numbers")
    thin = k.scratch((p.pixels, p.channels), x.dtype, "thin")
    views = bind(k, "thinned", f"{k.use(bind_thin)}({numbers}, {plan}, {x}, {thin})", x, thin)
    if shared:
        k.line(f"np.copyto(*{views}[0][0])")
    else:
        target, source = k.names.fresh("thin"), k.names.fresh("source")
        loop.names.append(f"({target}, {source})")
        loop.lists.append(views)
        loop.body.append(f"{target}[...] = {source}")
    return thin


def _cuts(k: Emitter, p: Pointwise, work: Sequence[Sequence[Piece]]) -> dict[tuple[int, int], Blocking]:
    """For each range of outputs how its products are cut."""
    most: dict[tuple[int, int], int] = {}
    for piece in (piece for mine in work for piece in mine):
        outputs = piece.k0, piece.k1
        most[outputs] = max(most.get(outputs, 0), piece.p1 - piece.p0)
    return {(a, b): cut_for(k, rows, p.channels, b - a) for (a, b), rows in most.items()}


def _weights(k: Emitter, w: Operand, cuts: Mapping[tuple[int, int], Blocking]) -> list[Operand]:
    """For each range of outputs its panels (panels, channels, width)."""
    packed, channels = [], w.shape[1]
    with k.once(w):
        for (k0, k1), cut in cuts.items():
            packed.append(k.scratch(((k1 - k0) // cut.width, channels, cut.width), w.dtype, "packed"))
            matrix = f"{w}[{k0}:{k1}].reshape({k1 - k0}, {channels})"
            k.line(f"{k.use(turn_panels)}({matrix}, {packed[-1]})")
    return packed
