"""The memory in which a program finds its parameters: as they are, copied, and packed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from ...base.arrays import Array
from ..workers import blas
from .compilation import Bind, Compilation, Prepare
from .memory import PACKED
from .parameter_copies import ParameterCopies
from .store import Store
from .subnormal import flush


class ParameterMemory:
    """What all runs of a program read of these parameters.

    Parameters
    ----------
    compilation
        Of the program.
    arrays
        The parameters.
    updated
        The numbers of those that the program writes.
    store
        Holds what is packed, for all programs of the model.

    Attributes
    ----------
    copies
        Where the program reads and writes the parameters themselves.
    packed, workspace
        The memory of each packing, and what packing takes besides.
    """

    def __init__(
        self, compilation: Compilation, arrays: Sequence[Array], updated: Collection[int], store: Store
    ) -> None:
        self._compilation, self._plan, self._store = compilation, compilation.plan, store
        self._arrays = tuple(map(id, arrays))
        self._prepare: Prepare | None = None
        self.copies = ParameterCopies(arrays, updated, self._plan.exact)
        shared = bool(self._plan.names.regions)
        with store.lock:
            self.packed = [store.packed(packing, arrays, shared) for packing in self._plan.packings.all]
            self.workspace = store.workspace(self._plan.workspace_bytes)

    def of(self, arrays: Sequence[Array]) -> bool:
        """Whether it is still of use, with these parameters."""
        kept = (*self.packed, self.workspace, *self.copies.kept)
        return self._arrays == tuple(map(id, arrays)) and not any(each.retired for each in kept)

    def bind(self, *writer: object) -> Bind:
        """Let the program read this memory, whose places are final; returns its function that binds runs."""
        memory = [each.memory for each in (*self.packed, self.workspace)]
        program = self._compilation.program
        self._prepare, bind = self._compilation.guard(lambda: program(self.copies.places, memory, *writer))
        return bind

    def pack(self, version: object) -> None:
        """Bring the copies up to date, and pack what no program has packed yet from these versions."""
        assert self._prepare is not None
        self.copies.read()
        with self._store.lock:
            stale = self._stale(version)
            if not stale:
                return
            blas.hold.begin()
            try:
                with np.errstate(all="ignore"):
                    self._compilation.guard(partial(self._prepare, frozenset(stale)))
            except BaseException:
                self._store.retire([self.workspace, *(self.packed[number] for number in stale)])
                raise
            finally:
                blas.hold.finish()
            if not self._plan.exact:
                self._flush(stale)
            for number, stamp in stale.items():
                self.packed[number].stamp = stamp

    def _stale(self, version: object) -> dict[int, object]:
        """The packings to be made, and the version of each; the store's lock is held."""
        stale: dict[int, object] = {}
        for number, (packing, kept) in enumerate(zip(self._plan.packings.all, self.packed, strict=True)):
            stamp = tuple(version[i] for i in packing.parameters) if isinstance(version, tuple) else (version,)
            if kept.stamp != stamp:
                stale[number] = stamp
                kept.stamp = None
        return stale

    def _flush(self, numbers: Collection[int]) -> None:
        """Set subnormal numbers in these packings to zero."""
        packings = self._plan.packings.all
        for operand, (memory, offset, number) in self._plan.places.items():
            # constants stay as the user wrote them
            if memory == PACKED and number in numbers and packings[number].parameters:
                flush(self.packed[number].memory[offset : offset + operand.type.nbytes].view(operand.type.dtype))
