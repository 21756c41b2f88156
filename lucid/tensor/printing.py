"""How tensors print: nested lists of plain numbers, one matrix row a line."""

from __future__ import annotations

import numpy as np

from ..base.arrays import Array

THRESHOLD = 1000
"""More elements than this are shown as the first and last few of each axis."""
EDGE = 3


def format_array(array: Array) -> str:
    """``[[[[4.0]]]]``; where matrices have several rows, a line for each row, as on the MaxPool2d page::

    [[
        [[0.0, 0.0],
         [0.0, 1.0]]
    ]]
    """
    short = array.size > THRESHOLD
    if array.ndim == 0:
        return _number(array[()])
    if array.ndim == 1:
        return _row(array, short)
    if array.ndim == 2:
        return _matrix(array, short, "")
    if array.shape[-2] <= 1:
        return _nested(array, short, "", ", ")
    depth = array.ndim - 2
    inner = _nested(array, short, " " * 4, ",\n")
    return "[" * depth + "\n" + inner[depth:-depth] + "\n" + "]" * depth


def _nested(array: Array, short: bool, indent: str, separator: str) -> str:
    if array.ndim == 2:
        return _matrix(array, short, indent)
    parts = list(array)
    texts = [_nested(part, short, indent, separator) for part in parts]
    if short and len(parts) > 2 * EDGE:
        texts = [*texts[:EDGE], f"{indent}...", *texts[-EDGE:]]
    return "[" + separator.join(texts) + "]"


def _number(value: object) -> str:
    return str(bool(value)) if isinstance(value, np.bool_) else str(value)


def _row(row: Array, short: bool) -> str:
    if short and len(row) > 2 * EDGE:
        cells = [*map(_number, row[:EDGE]), "...", *map(_number, row[-EDGE:])]
    else:
        cells = [_number(value) for value in row]
    return f"[{', '.join(cells)}]"


def _matrix(matrix: Array, short: bool, indent: str) -> str:
    if short and len(matrix) > 2 * EDGE:
        rows = [*(_row(r, short) for r in matrix[:EDGE]), "...", *(_row(r, short) for r in matrix[-EDGE:])]
    else:
        rows = [_row(r, short) for r in matrix]
    return f"{indent}[" + f",\n{indent} ".join(rows) + "]"
