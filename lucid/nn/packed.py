"""Sequences of different lengths as one value, for recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..base.arrays import Array
from ..errors import OptionError, ShapeError, TraceError
from ..graph.public import as_array
from ..graph.trace import user_location
from ..tensor.tensor import Tensor


class PackedSequence:
    """Sequences of different lengths, as :func:`lucid.nn.utils.rnn.pack_padded_sequence` returns them.

    They are stored padded, with their lengths; PyTorch's attributes are computed from that when they are read.

    Parameters
    ----------
    data
        The elements of all sequences: those of the first time step, from the longest sequence to the shortest, then
        those of the second, and so on.
    batch_sizes
        The number of sequences at each time step.
    sorted_indices
        The indices of the sequences in the order of ``data``, or None if that is their own order.
    unsorted_indices
        The inverse permutation, or None.
    """

    padded: Tensor
    lengths: Tensor
    known: tuple[int, ...] | None
    in_order: bool

    def __init__(
        self,
        data: Tensor,
        batch_sizes: Tensor | Sequence[int],
        sorted_indices: Tensor | Sequence[int] | None = None,
        unsorted_indices: Tensor | Sequence[int] | None = None,
    ) -> None:
        sizes = numbers("batch_sizes", batch_sizes)
        if not sizes or sorted(sizes, reverse=True) != list(sizes) or sizes[-1] < 1 or data.shape[0] != sum(sizes):
            raise ShapeError(f"PackedSequence: the batch sizes {list(sizes)} do not fit data {data.type}")
        starts = np.cumsum([0, *sizes[:-1]])
        columns = np.arange(sizes[0])
        places = np.where(columns < np.array(sizes)[:, None], starts[:, None] + columns, 0)
        lengths = (np.array(sizes)[:, None] > columns).sum(0)
        if sorted_indices is not None or unsorted_indices is not None:
            if unsorted_indices is None:
                order = np.argsort(numbers("sorted_indices", sorted_indices))
            else:
                order = np.array(numbers("unsorted_indices", unsorted_indices))
            places, lengths = places[:, order], lengths[order]
        self._hold(data[places], tuple(lengths.tolist()), None, sorted_indices is None and unsorted_indices is None)

    def _hold(self, padded: Tensor, known: tuple[int, ...] | None, lengths: Tensor | None, in_order: bool) -> None:
        self.padded, self.known, self.in_order = padded, known, in_order
        self.lengths = Tensor(np.array(known, np.int64)) if lengths is None else lengths

    @classmethod
    def of(
        cls, padded: Tensor, known: tuple[int, ...] | None, lengths: Tensor | None = None, in_order: bool = True
    ) -> PackedSequence:
        """From padded sequences (T, N, ...) and their lengths, which may be unknown in a trace."""
        made = cls.__new__(cls)
        made._hold(padded, known, lengths, in_order)
        return made

    def along(self, padded: Tensor) -> PackedSequence:
        """The same structure with other padded values."""
        return PackedSequence.of(padded, self.known, self.lengths, self.in_order)

    def _known(self, what: str) -> Array:
        if self.known is None:
            raise TraceError(
                f"{what} of packed sequences depends on their lengths, which are not known while the model is traced "
                f"({user_location()}): use pad_packed_sequence(packed, total_length=...), or pass lengths as a list"
            )
        return np.array(self.known)

    def _order(self, what: str) -> Array:
        """The indices of the sequences from the longest to the shortest."""
        return np.argsort(-self._known(what), kind="stable")

    @property
    def data(self) -> Tensor:
        """The elements of all sequences, ordered by time step."""
        lengths, order = self._known("data"), self._order("data")
        times, rows = np.nonzero(np.arange(max(self.known or ()))[:, None] < lengths[order])
        flat: Tensor = self.padded.flatten(0, 1)[times * len(lengths) + order[rows]]
        return flat

    @property
    def batch_sizes(self) -> Tensor:
        """The number of sequences at each time step."""
        lengths = self._known("batch_sizes")
        return Tensor((np.arange(lengths.max())[:, None] < lengths).sum(1))

    @property
    def sorted_indices(self) -> Tensor | None:
        """The indices of the sequences in the order of ``data``; None if that is their own order."""
        return None if self.in_order else Tensor(self._order("sorted_indices"))

    @property
    def unsorted_indices(self) -> Tensor | None:
        """The inverse permutation of :attr:`sorted_indices`, or None."""
        return None if self.in_order else Tensor(np.argsort(self._order("unsorted_indices")))

    def __iter__(self) -> Iterator[Tensor | None]:
        return iter((self.data, self.batch_sizes, self.sorted_indices, self.unsorted_indices))

    def __repr__(self) -> str:
        lengths = "" if self.known is None else f", lengths={list(self.known)}"
        return f"PackedSequence({self.padded.type}{lengths})"


def numbers(what: str, given: object) -> tuple[int, ...]:
    """The values of an integer tensor or sequence, which must be known now."""
    array = as_array(what, given.numpy() if isinstance(given, Tensor) else given)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise OptionError(f"{what}: integers are wanted, got {array.dtype.name}{list(array.shape)}")
    return tuple(array.tolist())
