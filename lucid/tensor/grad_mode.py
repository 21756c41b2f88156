"""Whether operations are recorded for ``backward``: switches that are statements, blocks or decorators.

Leaving a block restores nothing: the block is a lock, and its mode stops holding when the lock is released, by C code.
An exception raised by a signal handler comes between two bytecodes, so it finds the mode of the inside or that from
before, never a wrong one that would stay.
"""

from __future__ import annotations

import _thread
import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from ..base.checks import flag, shown
from ..errors import OptionError

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:  # the type checker refuses a class derived from a lock

    class _Lock:
        def acquire(self, blocking: bool = True) -> bool: ...
        def _is_owned(self) -> bool: ...
        def __exit__(self, kind: object, error: object, trace: object) -> None: ...

else:
    _Lock = _thread.RLock

_new: Any = _Lock.__new__


class _Said:
    """The mode that a block, or a statement in it, sets: it holds until the block is left.

    The block of a statement outside any block is None; its mode holds until the next statement.
    """

    __slots__ = ("before", "block", "enabled", "thread", "turn")

    def __init__(self, enabled: bool, block: _Mode | None, turn: int, before: _Said | None) -> None:
        self.enabled, self.block, self.turn, self.before = enabled, block, turn, before
        self.thread = _thread.get_ident()

    def holds(self) -> bool:
        """Whether the block has not been left since."""
        block = self.block
        if block is None:
            return True
        if block.begun != self.turn:
            return False
        if self.thread == _thread.get_ident():
            return block._is_owned()
        return repr(block).startswith("<locked")  # as seen with a copied context


_said: ContextVar[_Said | None] = ContextVar("said", default=None)
_switched_on: ContextVar[bool] = ContextVar("switched_on", default=False)


def _holding() -> _Said | None:
    """The mode that was set last and holds."""
    said = _said.get()
    while said is not None and not said.holds():
        said = said.before
    return said


def is_grad_enabled() -> bool:
    """Whether operations are recorded for ``backward``."""
    said = _said.get()
    if said is None:
        return True
    block = said.block
    if block is None or (block.begun == said.turn and block._is_owned()):
        return said.enabled  # as nearly always, and at once
    said = _holding()
    _said.set(said)  # drop those that no longer hold
    return said is None or said.enabled


def forget_switching_on() -> None:
    """Reset :func:`switched_on`, which from here on reports later switches only."""
    _switched_on.set(False)


def switched_on() -> bool:
    """Whether recording has been switched on (in ``no_grad`` or not) since :func:`forget_switching_on`."""
    return _switched_on.get()


class _Mode(_Lock):
    """A mode that holds within a block or a decorated function; afterwards the previous one holds again.

    It is itself a lock, held within the block: ``__exit__`` is that of the lock.
    """

    turn, begun = 1, 0  # they differ: it is not entered

    def __new__(cls, *args: object) -> Any:
        return _new(cls)

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __enter__(self) -> None:
        self._enter(_holding())

    def _enter(self, before: _Said | None) -> None:
        held = self._is_owned()
        if held and self.begun == self.turn:
            if before is None or before.block is not self:  # what was said in between would be lost
                raise self._refused()
            self.acquire()  # the lock counts how often
            return
        if self.begun:  # what it said before would hold again from here to where the turn has begun
            _said.set(before)
        self.turn = turn = self.turn + 1
        if not (held or self.acquire(False)):  # held where a handler ended a turn before it had begun
            raise self._refused()
        self.begun = 0
        if self._enabled:
            _switched_on.set(True)
        _said.set(_Said(self._enabled, self, turn, before))
        self.begun = turn  # last: after it there is no step at which a handler could run

    def _refused(self) -> OptionError:
        name = type(self).__name__
        return OptionError(
            f"{name}: this very object is entered already, outside another block; "
            f"write 'with lucid.{name}(...):' at each block"
        )

    def __call__(self, function: F) -> F:
        enabled = self._enabled

        @functools.wraps(function)
        def within(*args: object, **kwargs: object) -> Any:
            with _Mode(enabled):
                return function(*args, **kwargs)

        return cast("F", within)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Mode, (self._enabled,)


class _Bare(_Mode):
    """A mode whose decorator needs no parentheses; ``switched`` says whether they may contain True or False."""

    switched: ClassVar[bool] = False

    def __new__(cls, function: object = None) -> Any:
        if function is None or (cls.switched and isinstance(function, bool)):
            return _new(cls)
        if not callable(function):
            raise OptionError(f"{cls.__name__}: takes nothing, or a function to decorate, got {shown(function)}")
        return cls()(function)


class no_grad(_Bare):  # noqa: N801 - PyTorch's name
    """Within ``with no_grad():`` (or a function decorated ``@no_grad()``) nothing is recorded for ``backward``."""

    def __init__(self) -> None:
        self._enabled = False


class enable_grad(_Bare):  # noqa: N801 - PyTorch's name
    """The opposite of :class:`no_grad`, for a part of such a block."""

    def __init__(self) -> None:
        self._enabled = True


class inference_mode(_Bare):  # noqa: N801 - PyTorch's name
    """As :class:`no_grad`; with ``mode=False`` as :class:`enable_grad`."""

    switched = True

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not flag("inference_mode", "mode", mode))


class set_grad_enabled(_Mode):  # noqa: N801 - PyTorch's name
    """From here on, or within ``with set_grad_enabled(mode):``, operations are recorded for ``backward`` or not."""

    def __init__(self, mode: bool) -> None:
        super().__init__(flag("set_grad_enabled", "mode", mode))
        self._first: tuple[_Said | None] | None = (_holding(),)
        self._switch(*self._first)

    def _switch(self, said: _Said | None) -> None:
        """Replace the mode that was set last, for as long as it would have held."""
        if self._enabled:
            _switched_on.set(True)
        block, turn, before = (None, 0, None) if said is None else (said.block, said.turn, said.before)
        now = _Said(self._enabled, block, turn, before)
        if said is not None:
            now.thread = said.thread
        _said.set(now)

    def __enter__(self) -> None:
        """The switch holds within the block; after it, the mode from before the switch."""
        first, self._first = self._first, None
        self._enter(_holding() if first is None else first[0])

    def __call__(self, function: F) -> F:
        if self._first is not None:  # a decorator switches nothing by itself
            _said.set(self._first[0])
            self._first = None
        return super().__call__(function)
