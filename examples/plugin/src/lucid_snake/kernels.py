"""Two ways to run Snake, and the definition that they are compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lucid import TensorType
from lucid.extend import Emitter, Node, Work, kernel, reference

from .op import SNAKE, SnakeAttrs

Floats = npt.NDArray[np.floating]


@reference(SNAKE)
def definition(attrs: SnakeAttrs, x: Floats) -> Floats:
    """The formula as it stands."""
    found: Floats = x + np.sin(attrs.alpha * x) ** 2 / attrs.alpha
    return found


PART = 1 << 15
"""Numbers that are worked on at a time, so that they stay in the second-level cache."""


def over_all(node: Node[SnakeAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    """Five calls, which read and write the array eleven times in all; a large one comes from beyond the cache."""
    nbytes = node.outputs[0].nbytes
    small = nbytes <= 4 * PART * node.outputs[0].dtype.itemsize
    return Work(calls=5, near=11 * nbytes) if small else Work(calls=5, far=11 * nbytes)


@kernel(SNAKE, lowering="whole", cost=over_all)
def whole(k: Emitter[SnakeAttrs]) -> None:
    """One NumPy call after another over the whole array; ``sin(a)**2`` is ``(1 - cos(2 * a)) / 2``."""
    (x,), (y,), twice = k.ins, k.outs, 2 * k.attrs.alpha
    k.line(f"np.multiply({x}, {k.number(twice)}, out={y})")
    k.line(f"np.cos({y}, out={y})")
    k.line(f"np.subtract(1, {y}, out={y})")
    k.line(f"np.multiply({y}, {k.number(1 / twice)}, out={y})")
    k.line(f"np.add({y}, {x}, out={y})")


def by_parts(node: Node[SnakeAttrs], inputs: tuple[TensorType, ...], threads: int) -> Work:
    """Five calls for each part, within the cache; the array itself is read once and written once."""
    nbytes, itemsize = node.outputs[0].nbytes, node.outputs[0].dtype.itemsize
    return Work(calls=5 * (1 + nbytes // (PART * itemsize)), near=9 * nbytes, far=2 * nbytes)


@kernel(SNAKE, lowering="parts", cost=by_parts, in_place=True)
def parts(k: Emitter[SnakeAttrs]) -> None:
    """Part by part, so that what is made on the way stays in the cache."""
    (x,), (y,) = k.ins, k.outs
    work = k.scratch((PART,), y.dtype, "work")
    k.line(f"{k.use(snake_in_parts)}({x}, {y}, {work}, {k.number(2 * k.attrs.alpha)})")
    k.may_overwrite(0, 0)


def snake_in_parts(x: Floats, y: Floats, work: Floats, twice: float) -> None:
    """What a program calls: Snake of ``x`` in ``y``, which may be ``x``, however the two lie in memory."""
    with np.nditer(
        [x, y],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["writeonly"]],
        buffersize=len(work),
    ) as pieces:
        for piece, out in pieces:
            t = work[: len(piece)]
            np.multiply(piece, twice, out=t)
            np.cos(t, out=t)
            np.subtract(1, t, out=t)
            np.multiply(t, 1 / twice, out=t)
            np.add(piece, t, out=out)
