"""Sums, means and maxima of bags of a table's rows."""

from __future__ import annotations

import math

from ...base.checks import flag, shown
from ...errors import DTypeError, OptionError, ShapeError
from ..assume import is_at_least
from ..dims import Dim
from ..opdef import AbstractTensor, apply
from ..types import bool_
from . import reduce
from .bounds import clip
from .composite import eq, le, ne
from .elementwise import where
from .expect import expect
from .indexing import INDEX_ADD, IndexAddAttrs, embedding, normal_axis_of_rows
from .promotion import cast
from .put import counted, put
from .shape import reshape, unsqueeze
from .slices import narrow
from .source import full

MODES = ("sum", "mean", "max")


def embedding_bag(
    input: AbstractTensor,
    weight: AbstractTensor,
    offsets: AbstractTensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: AbstractTensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> AbstractTensor:
    """The sum, mean or maximum of the rows of ``weight`` in each bag; of an empty one zeros.

    Parameters
    ----------
    input
        Row numbers: bags of one size (B, n), or one after another (N) with ``offsets``.
    weight
        Matrix (rows, features).
    offsets
        Where in ``input`` each bag begins, in order, the first at 0.
    max_norm, norm_type, scale_grad_by_freq, sparse
        Of PyTorch's, which are not here: leave them as they are.
    mode
        "sum", "mean" or "max".
    per_sample_weights
        A factor for each row, of the shape of ``input``, for "sum".
    include_last_offset
        Whether ``offsets`` has one more entry, at which the last bag ends.
    padding_idx
        A row that counts for nothing and takes no gradient.
    """
    check_options("embedding_bag", mode, max_norm, scale_grad_by_freq, sparse)
    factors = None if per_sample_weights is None else _factors(per_sample_weights, input, mode)
    numbers = _numbers(input, offsets, include_last_offset)
    rows, kept = embedding(input, weight, padding_idx), full(input, True, input.type.shape, bool_)
    if padding_idx is not None:
        kept = ne(input, normal_axis_of_rows(padding_idx, weight.type.shape[0]))
    if factors is not None:
        rows = rows * factors
    count: Dim = input.type.shape[0] if offsets is None else offsets.type.shape[0] - include_last_offset
    full_bags = unsqueeze(_summed(cast(kept, weight.type.dtype), numbers, count), -1)
    if mode == "max":
        best = _largest(where(unsqueeze(kept, -1), rows, -math.inf), numbers, count)
        return where(eq(full_bags, 0), 0.0, best)
    total = _summed(where(unsqueeze(kept, -1), rows, 0.0), numbers, count)
    return total if mode == "sum" else total / clip(full_bags, 1.0)


def check_options(op: str, mode: object, max_norm: object, scale_grad_by_freq: object, sparse: object) -> None:
    """Raise for what there is not."""
    if not isinstance(mode, str) or mode not in MODES:
        raise OptionError(f"{op}: mode is one of {', '.join(MODES)}, got {shown(mode)}")
    if max_norm is not None or flag(op, "scale_grad_by_freq", scale_grad_by_freq) or flag(op, "sparse", sparse):
        raise OptionError(
            f"{op}: max_norm, scale_grad_by_freq and sparse are not supported: gradients are dense, and a table "
            f"is scaled by weight.data.copy_(...)"
        )


def _factors(given: AbstractTensor, input: AbstractTensor, mode: str) -> AbstractTensor:
    """What each row is multiplied by."""
    if mode != "sum":
        raise OptionError(f'embedding_bag: per_sample_weights are for mode "sum" only, got {mode!r}')
    if given.type.shape != input.type.shape:
        raise ShapeError(f"embedding_bag: the weights {given.type} have not the shape of {input.type}")
    return unsqueeze(given, -1)


def _numbers(input: AbstractTensor, offsets: AbstractTensor | None, ends: bool) -> AbstractTensor | None:
    """The bag of each row number; None where each row of a matrix is a bag."""
    if input.type.rank == 2 and offsets is None:
        return None
    if input.type.rank != 1 or offsets is None or offsets.type.rank != 1:
        given = "no offsets" if offsets is None else f"offsets {offsets.type}"
        raise ShapeError(
            f"embedding_bag: needs bags as a matrix, or a vector and offsets, got {input.type} and {given}"
        )
    if offsets.type.dtype.kind not in "iu":
        raise DTypeError(f"embedding_bag: offsets must be integers, got {offsets.type}")
    begins = narrow(offsets, 0, 0, offsets.type.shape[0] - 1) if ends else offsets
    if not is_at_least(begins.type.shape[0], 1):
        raise ShapeError("embedding_bag: needs at least one bag")
    zero = eq(reshape(narrow(begins, 0, 0, 1), ()), 0)
    begins = expect(begins, zero, True, "embedding_bag: the first bag must begin at 0")
    places = counted(input, input.type.shape[0])
    return reduce.sum(le(unsqueeze(begins, 0), unsqueeze(places, 1)), 1) - 1


def _summed(x: AbstractTensor, numbers: AbstractTensor | None, count: Dim) -> AbstractTensor:
    if numbers is None:
        return reduce.sum(x, 1)
    return apply(INDEX_ADD, IndexAddAttrs((0,), (count, *x.type.shape[1:])), x, numbers)


def _largest(x: AbstractTensor, numbers: AbstractTensor | None, count: Dim) -> AbstractTensor:
    if numbers is None:
        return reduce.amax(x, 1)
    return put(full(x, -math.inf, (count, *x.type.shape[1:])), (0,), [numbers], x, "max")
