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
    """Parameters as all runs of a program read them: in place, copied or packed.

    Parameters
    ----------
    compilation
        The compilation of the program.
    arrays
        The parameters, in the order of the plan.
    updated
        The indices of the parameters that the program writes.
    store
        Holds packed parameters for all programs of the model.

    Attributes
    ----------
    copies
        Where the program reads and writes the parameters that are not packed.
    packed, workspace
        The memory of each packing, and the working memory of packing.
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
        """Whether this is the memory of these parameters, none of it released meanwhile."""
        kept = (*self.packed, self.workspace, *self.copies.kept)
        return self._arrays == tuple(map(id, arrays)) and not any(each.retired for each in kept)

    def bind(self, *writer: object) -> Bind:
        """Bind the program to this memory, whose addresses are final; returns its function that binds runs."""
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
        """The outdated packings, with the new version of each. The caller holds the store's lock."""
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
