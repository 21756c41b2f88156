"""Gradient of the input of a strided depthwise convolution: each of its phases is a convolution of stride 1.

At a stride of two, every second row and column of the input (a *phase*) is read by the same taps of the windows. Their
products with the upstream gradient are summed as in :mod:`.depthwise_rows`, along runs of columns x channels, in
scratch memory that stays in the cache. The sums are then copied to their places once; nothing is zeroed and added to
tap by tap.
"""

from __future__ import annotations

from ....graph.ir import Node
from ....graph.ops.conv import CONV_GRAD_INPUT, ConvInputAttrs
from ....graph.types import CHANNELS_LAST, TensorType
from ...planning.registry import kernel
from ...planning.work import Work
from ...program.emitter import Emitter
from ..shared.loop import BlockLoop, laid_out, recheck
from .depthwise import gradient_blocks, is_single
from .depthwise_rows import EINSUM, repeated_weights
from .grad_depthwise_phases_views import Phases, PhaseSteps, bind_phases
from .numbers import conv_of


def _accepts(node: Node[ConvInputAttrs], inputs: tuple[TensorType, ...]) -> bool:
    conv = node.attrs.conv
    return is_single(node, inputs) and conv.dilation == (1, 1) and conv.stride != (1, 1)


def _phases(node: Node[ConvInputAttrs], dy: TensorType, w: TensorType) -> Phases:
    return Phases.of(conv_of(node.attrs.conv, node.outputs[0].concrete, w.concrete, dy.concrete))


def _work(node: Node[ConvInputAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    dy, w = inputs
    phases, dx = _phases(node, dy, w), node.outputs[0]
    channels, itemsize = phases.conv.channels, dy.dtype.itemsize
    rows, cols = phases.rows.parts, phases.cols.parts
    runs = sum(r.number * r.taps * c.taps * len(phases.runs(c)) for r in rows for c in cols)
    taps = sum(r.number * r.taps * c.number * c.taps for r in rows for c in cols)
    pixels, padded = dx.concrete[2] * dx.concrete[3], phases.rows.held * phases.cols.held
    steps = sum(len(phases.runs(c)) for r in rows for c in cols if r.taps * c.taps)

    def one(images: int) -> Work:
        return Work(
            runs=images * runs,
            multiply_adds=images * taps * channels * itemsize / 4,
            pixels=images * pixels if dx.order == CHANNELS_LAST else 0.0,
            turned=0.0 if dx.order == CHANNELS_LAST else images * pixels * channels,
            near=images * channels * itemsize * (3 * pixels + 2 * padded),
            calls=6 + EINSUM * steps + len(rows) * len(cols),
        )

    work = gradient_blocks(dy, threads)
    return Work.of_busiest([[b.n1 - b.n0 for b in mine] for mine in work], one, lambda images: images)


@kernel(CONV_GRAD_INPUT, lowering="depthwise_phases", accepts=_accepts, cost=_work, staged=True)
def depthwise_phases(k: Emitter[ConvInputAttrs]) -> None:
    """Pad a block of the upstream gradient; for each phase, sum the taps and copy the sums to their places."""
    recheck(k)
    (dy, w), (dx,) = k.ins, k.outs
    phases = _phases(k.node, dy.type, w.type)
    work = gradient_blocks(dy.type, k.threads)
    if not work or not dx.type.size:
        k.line(f"{dx}.fill(0)")
        return
    loop = BlockLoop(k, work)
    packed = repeated_weights(k, w, phases.conv, phases.columns)
    images = max(block.n1 - block.n0 for block in loop.every)
    padded = loop.scratch((images, *phases.shape), dy.dtype, "padded")
    sums = loop.scratch((images * phases.most,), dy.dtype, "sums")
    last = laid_out(k, dy, True, "gradient")
    v = loop.parts(loop.bind("steps", bind_phases, phases, loop.blocks, padded, sums, packed, last, dx), PhaseSteps)
    edge, window, weight, total, place, value = loop.fresh("edge", "window", "weight", "sums", "place", "value")
    loop.for_each((edge,), v.edges, f"{edge}.fill(0)")
    loop.line(f"{v.inside}[...] = {v.source}")
    loop.for_each(
        (window, weight, total, place, value), v.sums,
        f"np.einsum('nrijk,ijk->nrk', {window}, {weight}, out={total})", f"{place}[...] = {value}",
    )  # fmt: skip
    loop.emit()
