"""Whether operations are remembered for ``backward``: the switches, each a statement, a block or a decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar, cast

from ..base.checks import flag, shown
from ..errors import OptionError

F = TypeVar("F", bound=Callable[..., Any])

_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)


_switched_on: ContextVar[bool] = ContextVar("switched_on", default=False)


def is_grad_enabled() -> bool:
    """Whether operations are remembered for ``backward``."""
    return _grad_enabled.get()


def forget_switching_on() -> None:
    """From here on :func:`switched_on` tells of what comes."""
    _switched_on.set(False)


def switched_on() -> bool:
    """Whether it has been said, within no_grad or not, that operations are remembered."""
    return _switched_on.get()


def _switch(enabled: bool) -> None:
    _grad_enabled.set(enabled)
    if enabled:
        _switched_on.set(True)


class _Mode:
    """A mode that holds within a block or a decorated function, and the one before it afterwards."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_grad_enabled.get())
        _switch(self._enabled)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _grad_enabled.set(self._before.pop())

    def __call__(self, function: F) -> F:
        enabled = self._enabled

        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with _Mode(enabled):
                return function(*args, **kwargs)

        return cast("F", within)


class _Bare(_Mode):
    """A mode whose decorator may stand without parentheses."""

    def __new__(cls, function: Any = None) -> Any:
        if function is None:
            return object.__new__(cls)
        if not callable(function):
            raise OptionError(f"{cls.__name__}: takes nothing, or a function to decorate, got {shown(function)}")
        return cls()(function)


class no_grad(_Bare):  # noqa: N801 - PyTorch's name
    """Within ``with no_grad():`` (or a function decorated ``@no_grad()``) nothing is remembered for ``backward``."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_Bare):  # noqa: N801 - PyTorch's name
    """The opposite of :class:`no_grad`, for a part of what stands within it."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_Mode):  # noqa: N801 - PyTorch's name
    """From here on, or within ``with set_grad_enabled(mode):``, operations are remembered for ``backward`` or not."""

    def __init__(self, mode: bool) -> None:
        super().__init__(flag("set_grad_enabled", "mode", mode))
        self._first: bool | None = _grad_enabled.get()
        _switch(self._enabled)

    def __enter__(self) -> None:
        """The block ends with what was before the switch was made, not before it was entered."""
        super().__enter__()
        if self._first is not None:
            self._before[-1], self._first = self._first, None

    def __call__(self, function: F) -> F:
        if self._first is not None:  # a decorator switches nothing by itself
            _grad_enabled.set(self._first)
            self._first = None
        return super().__call__(function)
