"""Where a program reads its parameters: in place, or from copies that are kept up to date."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ...base.arrays import Array
from ..workers.settings import reached
from ..workers.sharing import Sharing
from .store import Kept, Store
from .subnormal import flush, has_subnormals
from .views import as_view

THREADS_COPY = 1 << 22
"""Copying back at least this many bytes of parameters is shared among threads."""

LARGEST_COPY = 1 << 25
"""Parameters of up to this many bytes are copied to memory that workers can read; larger ones are left to threads."""


class ParameterCopies:
    """The parameters of a program, as it reads and writes them.

    Parameters
    ----------
    arrays
        The parameters.
    updated
        The numbers of those that it writes.
    exact
        Whether the program reads subnormal numbers unchanged.

    Attributes
    ----------
    places
        Where it reads and writes them.
    kept
        Those of the places that are memory of the store.
    """

    def __init__(self, arrays: Sequence[Array], updated: Collection[int], exact: bool) -> None:
        self.arrays, self._updated, self._exact = arrays, updated, exact
        self.kept: list[Kept] = []
        self.places = [
            array if self._is_read(i, array) else np.empty(array.shape, array.dtype) for i, array in enumerate(arrays)
        ]
        self.changes = [arrays[i] for i in sorted(updated)]

    def _is_read(self, number: int, array: Array) -> bool:
        """Whether a program reads a parameter in place; it expects it to be row-major and free of subnormals.

        One that it also writes is read as it is, since its future values are unknown.
        """
        if number in self._updated:
            return array.flags.c_contiguous and array.flags.writeable
        return array.flags.c_contiguous and (self._exact or not has_subnormals(array))

    def reach(self, numbers: Collection[int], store: Store) -> bool:
        """Make these parameters readable by workers, copying if necessary; return whether any address has changed."""
        before = list(self.places)
        for i in numbers:
            array = self.arrays[i]
            if array.nbytes <= LARGEST_COPY and not (self.places[i] is array and reached(array)):
                self.kept.append(store.copy(array, shared=True))
                self.places[i] = as_view(self.kept[-1].memory.view(array.dtype), array.shape)
        return any(a is not b for a, b in zip(before, self.places, strict=True))

    def read(self) -> None:
        """Bring the copies up to date."""
        for i, (array, place) in enumerate(zip(self.arrays, self.places, strict=True)):
            if place is not array:
                np.copyto(place, array)
                if i not in self._updated and not self._exact:
                    flush(place)

    def write(self, sharing: Sharing | None) -> None:
        """Copy back what the program has written to copies, with the help of its workers."""
        pairs = [(self.arrays[i], self.places[i]) for i in self._updated if self.places[i] is not self.arrays[i]]
        pairs.sort(key=lambda pair: -pair[0].nbytes)
        if sharing is not None and sum(array.nbytes for array, _ in pairs) >= THREADS_COPY:
            sharing.here(lambda i: np.copyto(*pairs[i]), len(pairs))
        else:
            for array, place in pairs:
                np.copyto(array, place)
