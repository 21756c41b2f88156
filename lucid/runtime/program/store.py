"""Storage shared by the programs of a model: equal packed parameters are kept once, within a memory limit."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ...base.arrays import Array
from ...base.checks import shown
from ...base.locks import forkable
from ...errors import OptionError
from ..workers.settings import private_bytes, shared_bytes

if TYPE_CHECKING:
    from .packing import Packing

T = TypeVar("T")

TIMES, BESIDES = 4, 1 << 26
"""Unless a limit is set, a model may keep ``TIMES`` times the bytes of its parameters, and ``BESIDES`` bytes more."""

_limit: list[int | None] = [None]


def set_cache_limit(nbytes: int | None) -> None:
    """Limit what each compiled model keeps for its next calls.

    For every size it is called with, a model keeps a program, its plan, its working memory, and parameters in the form
    that the program reads; the last are shared by all programs that need the same form. Beyond the limit, programs that
    were not called recently release their working memory, then the program, then the plan; they make these again when
    they are called. The traces that a model keeps count too, and are not released.

    Parameters
    ----------
    nbytes
        Bytes for each model. None, the default, is four times the bytes of its parameters and 64 MB; if a step
        accumulates gradients, as much for each of the graphs it calls in turn. The program in use is always kept.
    """
    if nbytes is not None and (isinstance(nbytes, bool) or not isinstance(nbytes, int) or nbytes < 0):
        raise OptionError(f"set_cache_limit: expected a number of bytes or None, got {shown(nbytes)}")
    _limit[0] = nbytes


def get_cache_limit() -> int | None:
    """The limit of :func:`set_cache_limit`."""
    return _limit[0]


class Holder(Protocol):
    """An object whose memory counts besides that of the store."""

    @property
    def held_bytes(self) -> int:
        """About how many bytes it holds."""


class Program(Holder, Protocol):
    """The interface of a store to the programs that use it."""

    called: bool

    def idle(self, spare: int = 0) -> None:
        """Release working memory that no run is using, except that of ``spare`` runs."""

    def release(self) -> None:
        """Release all but the plan."""

    def unplan(self) -> None:
        """Release the plan too."""


class Kept:
    """The memory of one packing, or of a copy of a parameter.

    Attributes
    ----------
    memory
        Its bytes.
    arrays
        The parameters it is computed from.
    shared
        Whether it is in shared memory, which worker processes can read.
    stamp
        Versions of the parameters that it was packed from; None before that, and while it is being packed.
    retired
        Whether an exception ended its packing: threads may still be writing to it.
    """

    __slots__ = ("__weakref__", "arrays", "memory", "retired", "shared", "stamp")

    def __init__(self, nbytes: int, arrays: tuple[Array, ...], shared: bool) -> None:
        self.memory: Array = (shared_bytes if shared else private_bytes)(nbytes)
        self.arrays, self.shared = arrays, shared
        self.stamp: object = None
        self.retired = False


class Store:
    """The packed parameters of one model's programs; a program without a model has a store of its own.

    Memory is freed with the last program that reads it. A program holds ``lock`` while it packs, so that nothing is
    packed twice; other programs may run meanwhile.

    Attributes
    ----------
    turns
        The number of programs that are called in turn, again and again, so that all should be kept.
    """

    def __init__(self) -> None:
        self.turns = 1
        self.forget()
        self._programs: dict[int, weakref.ref[Program]] = {}
        self._others: dict[int, weakref.ref[Holder]] = {}
        self._weights = 0

    def forget(self) -> None:
        """In a forked child: everything in shared memory has to be made again."""
        self.lock = forkable()
        self._kept: dict[Hashable, weakref.KeyedRef[Hashable, Kept]] = {}
        self._gone: deque[weakref.KeyedRef[Hashable, Kept]] = deque()
        self._workspace: weakref.ref[Kept] | None = None

    def packed(self, packing: Packing, arrays: Sequence[Array], shared: bool) -> Kept:
        """The memory of a packing of these parameters, in shared memory if workers must reach it."""
        return self._find(packing.key, packing.nbytes, tuple(arrays[i] for i in packing.parameters), shared)

    def copy(self, array: Array, shared: bool) -> Kept:
        """The memory of a copy of a parameter."""
        return self._find("copy", array.nbytes, (array,), shared)

    def _find(self, key: Hashable, nbytes: int, arrays: tuple[Array, ...], shared: bool) -> Kept:
        entry = key, tuple(map(id, arrays))
        ref = self._kept.get(entry)
        kept = None if ref is None else ref()
        if kept is None or kept.retired or (shared and not kept.shared):
            kept = Kept(nbytes, arrays, shared)
            # the callback is written in C: memory may be freed anywhere, and an interrupt in Python code be lost
            self._kept[entry] = weakref.KeyedRef(kept, self._gone.append, entry)
            self._tidy()
        return kept

    def _tidy(self) -> None:
        """Drop the entries of freed memory. The callback itself cannot: comparing keys would run Python code."""
        for _ in range(len(self._gone)):
            ref = self._gone.popleft()
            if self._kept.get(ref.key) is ref:
                del self._kept[ref.key]

    def workspace(self, nbytes: int) -> Kept:
        """Memory that is written and read only while parameters are packed."""
        kept = None if self._workspace is None else self._workspace()
        if kept is None or kept.retired or kept.memory.nbytes < nbytes:
            kept = Kept(nbytes, (), shared=False)
            self._workspace = weakref.ref(kept)
        return kept

    @staticmethod
    def retire(several: Iterable[Kept]) -> None:
        """Never use this memory again."""
        for kept in several:
            kept.retired = True

    # ------------------------------------------------------------ the limit

    @property
    def limit(self) -> int:
        """Bytes that may be kept."""
        limit = _limit[0]
        return self.turns * (TIMES * self._weights + BESIDES) if limit is None else limit

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        holders = *_alive(self._programs), *_alive(self._others)
        return sum(kept.memory.nbytes for kept in self.all()) + sum(holder.held_bytes for holder in holders)

    def all(self) -> list[Kept]:
        """The memory that living programs keep."""
        refs = [*list(self._kept.values()), *filter(None, [self._workspace])]
        return [kept for ref in refs if (kept := ref()) is not None]

    def count(self, holder: Holder) -> None:
        """Count the memory of an object towards the limit while it lives; it is never asked to release any."""
        self._others[id(holder)] = weakref.ref(holder)

    def used(self, program: Program, arrays: Sequence[Array] = ()) -> None:
        """Note that a program was loaded (with ``arrays``) or took more working memory; others may be released."""
        with self.lock:
            self._weights = max(self._weights, sum(array.nbytes for array in arrays))
            self._programs.pop(id(program), None)
            self._programs[id(program)] = weakref.ref(program)
            if self.nbytes > self.limit:
                self._trim(program)

    def alone(self, program: Program) -> None:
        """Let all other programs release the working memory that no run is using."""
        with self.lock:
            for other in _alive(self._programs):
                if other is not program:
                    other.idle()

    def _trim(self, keep: Program) -> None:
        others = sorted((p for p in _alive(self._programs) if p is not keep), key=lambda p: p.called)
        for give_back in ("idle", "release", "unplan"):
            for other in others:
                if self.nbytes <= self.limit:
                    return
                getattr(other, give_back)()
        for other in others:
            other.called = False
        if self.nbytes > self.limit:
            keep.idle(spare=1)


def _alive(refs: dict[int, weakref.ref[T]]) -> list[T]:
    """The objects that still exist; dead references are removed."""
    items = [(key, ref()) for key, ref in list(refs.items())]
    for key, target in items:
        if target is None:
            refs.pop(key, None)
    return [target for _, target in items if target is not None]
