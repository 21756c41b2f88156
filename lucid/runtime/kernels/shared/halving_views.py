"""The maximum of several arrays, pairwise by halves."""

from __future__ import annotations

from collections.abc import Iterator

from ....base.arrays import Array


def halving(parts: Array, final: Array | None = None) -> Iterator[tuple[Array, Array, Array]]:
    """Steps ``maximum(a, b, out)`` that leave the maximum of all ``parts`` in the first of them, or in ``final``.

    The parts of one half must be adjacent in memory: if the halves interleave, NumPy copies one before it writes.
    """
    count = len(parts)
    while count > 1:
        kept = count - count // 2
        first, second = parts[: count // 2], parts[kept:count]
        yield first, second, first if final is None or kept > 1 else final
        count = kept
