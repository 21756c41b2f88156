"""Sequences of several lengths: padded, and packed for recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...base.absent import PACKED, face
from ...base.checks import choice, flag, number, several
from ...errors import OptionError, ShapeError, TraceError
from ...graph.assume import is_at_least, is_equal
from ...graph.dims import as_dim
from ...graph.ops.expect import expect
from ...graph.trace import active_trace, user_location
from ...tensor import creation, functions
from ...tensor.tensor import Tensor
from .. import functional as F
from ..packed import PackedSequence as PackedSequence
from ..packed import numbers


def _tensors(what: str, sequences: object) -> list[Tensor]:
    listed = [one if isinstance(one, Tensor) else Tensor(one) for one in several(what, "sequences", sequences)]
    if not listed:
        raise OptionError(f"{what}: there are no sequences")
    if any(one.ndim < 1 or one.shape[1:] != listed[0].shape[1:] for one in listed):
        raise ShapeError(f"{what}: sequences may differ in their first axis only, got {[one.shape for one in listed]}")
    return listed


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences as one tensor (T, N, ...), the shorter ones filled up.

    Parameters
    ----------
    sequences
        Tensors that differ in the size of the first axis only.
    batch_first
        Whether the result is (N, T, ...).
    padding_value
        What they are filled up with.
    padding_side
        At which end: "right" or "left".
    """
    listed = _tensors("pad_sequence", sequences)
    value, most = number("pad_sequence", "padding_value", padding_value), max(one.shape[0] for one in listed)
    left = choice("pad_sequence", "padding_side", padding_side, ("right", "left")) == "left"
    axis = 0 if flag("pad_sequence", "batch_first", batch_first) else 1
    made = []
    for one in listed:
        missing = most - one.shape[0]
        sides = (missing, 0) if left else (0, missing)
        made.append(F.pad(one, (0, 0) * (one.ndim - 1) + sides, value=value) if missing else one)
    stacked: Tensor = functions.stack(made, axis)
    return stacked


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False
) -> list[Tensor]:
    """The sequences that :func:`pad_sequence` has put together.

    Parameters
    ----------
    padded_sequences
        The tensor.
    lengths
        How long each of them is.
    batch_first
        Whether it is (N, T, ...).
    """
    x = padded_sequences if flag("unpad_sequence", "batch_first", batch_first) else padded_sequences.transpose(0, 1)
    known = numbers("unpad_sequence: lengths", lengths)
    if len(known) != x.shape[0] or not all(0 <= one <= x.shape[1] for one in known):
        raise ShapeError(f"unpad_sequence: the lengths {list(known)} do not fit sequences {x.type}")
    return [row[:length] for row, length in zip(x, known, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of several lengths.

    Parameters
    ----------
    sequences
        Tensors that differ in the size of the first axis only.
    enforce_sorted
        Whether it is an error if they are not in order, the longest first.
    """
    listed = _tensors("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(listed), [one.shape[0] for one in listed], enforce_sorted=enforce_sorted)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack padded sequences, so that recurrent layers pass over each as far as it goes.

    In a compiled model ``lengths`` may be an argument. Its values are checked when the program runs.

    Parameters
    ----------
    input
        The sequences, (T, N, ...).
    lengths
        How long each of them is.
    batch_first
        Whether they are (N, T, ...).
    enforce_sorted
        Whether it is an error if they are not in order, the longest first.
    """
    what = "pack_padded_sequence"
    x = input if isinstance(input, Tensor) else Tensor(input)
    first, ordered = flag(what, "batch_first", batch_first), flag(what, "enforce_sorted", enforce_sorted)
    if x.ndim < 2:
        raise ShapeError(f"{what}: needs sequences (T, N, ...), got {x.type}")
    x = x.transpose(0, 1) if first else x
    if isinstance(lengths, Tensor) and active_trace.get() is not None:
        return PackedSequence.of(x, None, _checked(what, lengths.long(), x, ordered), ordered)
    known = numbers(f"{what}: lengths", lengths)
    if len(known) != x.shape[1] or not all(1 <= one <= x.shape[0] for one in known):
        raise ShapeError(
            f"{what}: the lengths {list(known)} do not fit sequences {x.type}: {x.shape[1]} are needed, each from 1 to "
            f"{x.shape[0]}"
        )
    if ordered and list(known) != sorted(known, reverse=True):
        raise OptionError(f"{what}: the lengths {list(known)} are not sorted; enforce_sorted=False takes them so")
    return PackedSequence.of(x, known, None, ordered)


def _checked(what: str, lengths: Tensor, x: Tensor, ordered: bool) -> Tensor:
    """Lengths of the sequences ``x`` (T, N, ...) that are known when a program runs, which checks them then."""
    if lengths.ndim != 1 or not is_equal(as_dim(lengths.shape[0], what), as_dim(x.shape[1], what)):
        raise ShapeError(f"{what}: the lengths {lengths.type} do not fit sequences {x.type}: {x.shape[1]} are needed")
    within = ((lengths >= 1) & (lengths <= x.shape[0])).all()
    lengths = expect(lengths, within, True, f"{what}: a length is less than 1, or more than the sequences have")
    if ordered:
        descending = (lengths[1:] <= lengths[:-1]).all()
        words = f"{what}: the lengths are not sorted; enforce_sorted=False takes them so"
        lengths = expect(lengths, descending, True, words)
    return lengths


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Packed sequences as one tensor (T, N, ...), and their lengths.

    Parameters
    ----------
    sequence
        What was packed, or came out of a recurrent layer.
    batch_first
        Whether the result is (N, T, ...).
    padding_value
        What follows the shorter ones.
    total_length
        How long the result is; as the longest when omitted. In a compiled model whose lengths are an argument it must
        be given.
    """
    what = "pad_packed_sequence"
    if not isinstance(sequence, PackedSequence):
        raise OptionError(f"{what}: takes a PackedSequence, got {type(sequence).__name__}")
    value, first = number(what, "padding_value", padding_value), flag(what, "batch_first", batch_first)
    padded, times = sequence.padded, sequence.padded.shape[0]
    if total_length is None and sequence.known is None:
        raise TraceError(
            f"{what}: the longest length is not known while the model is traced ({user_location()}); give "
            f"total_length, such as the size that the padded input had"
        )
    least = times if sequence.known is None else max(sequence.known)
    total = least if total_length is None else total_length
    if not is_at_least(as_dim(total, what), as_dim(least, what)):
        raise OptionError(f"{what}: total_length is {total}, but sequences have up to {least} elements")
    if not is_at_least(as_dim(total, what), as_dim(times, what)):
        padded = padded.narrow(0, 0, total)
    elif as_dim(total, what) != as_dim(times, what):
        padded = F.pad(padded, (0, 0) * (padded.ndim - 1) + (0, total - times))
    there = creation.arange(total).reshape(total, 1) < sequence.lengths
    made = functions.where(there.reshape(*there.shape, *[1] * (padded.ndim - 2)), padded, value)
    return (made.transpose(0, 1) if first else made), sequence.lengths


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that :func:`pack_sequence` has put together."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), PACKED, ("PackedSequence",))
