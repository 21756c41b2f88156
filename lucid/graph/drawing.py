"""Draws from a generator that a caller gives, rather than from the sequence of the process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..base.checks import shown
from ..errors import OptionError, TraceError
from .active import active_trace
from .rng import Keys, current_keys, keys_from


def keys_of(owner: str, generator: object) -> Keys:
    """The keys to draw from: those of a ``lucid.Generator``, or of this thread if it is None."""
    if generator is None:
        return current_keys()
    keys = getattr(generator, "keys", None)
    if not isinstance(keys, Keys):
        raise OptionError(f"{owner}: generator is a lucid.Generator().manual_seed(n), got {shown(generator)}")
    return keys


@contextmanager
def drawing_from(owner: str, generator: object) -> Iterator[None]:
    """While inside, this thread draws from ``generator``; if that is None, from what it draws from anyway."""
    if generator is None:
        yield
        return
    keys = keys_of(owner, generator)
    if active_trace.get() is not None:
        raise TraceError(
            f"{owner}: a generator is given while a model is traced, whose every run draws from the sequence that "
            f"lucid.manual_seed seeds; draw outside and pass the numbers in, or leave the generator out"
        )
    with keys_from(keys):
        yield


def drawing(face: Callable[..., Any], owner: str) -> Callable[..., Any]:
    """A function that draws, with ``generator=`` besides its other arguments."""

    @functools.wraps(face)
    def drawn(*args: object, generator: object = None, **kwargs: object) -> Any:
        with drawing_from(owner, generator):
            return face(*args, **kwargs)

    summary, _, sections = (inspect.getdoc(face) or "").partition("\n\n")
    drawn.__doc__ = (
        f"{summary}\n\nThey are drawn from ``generator=``, a ``lucid.Generator``, if it is given.\n\n{sections}"
    )
    return drawn
