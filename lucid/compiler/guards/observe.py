"""Observing a trace: which functions run, and whether they ask for things outside the program, such as the time."""

from __future__ import annotations

import datetime
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from ...errors import TraceError, from_handler
from ...tensor.grad_mode import is_grad_enabled
from ...tensor.tensor import Tensor
from .checks import Guards
from .code import Place, is_library_module, user_line
from .functions import Collector
from .values import ALIKE, random_state

_CLOCKS = "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time "
_CLOCKS += (
    "thread_time_ns localtime gmtime ctime asctime strftime clock_gettime clock_gettime_ns now utcnow today times"
)
_OUTSIDE = {
    **dict.fromkeys(_CLOCKS.split(), "the clock"),
    **dict.fromkeys(("urandom", "getrandom"), "random numbers of the system"),
    "generate_time_safe": "the clock",
    "input": "the keyboard",
    "open": "a file",
    **dict.fromkeys(("stat", "lstat", "listdir", "scandir", "access", "readlink", "statvfs"), "the file system"),
    "fromfile": "a file",
    **dict.fromkeys(("getrusage", "getloadavg"), "what the machine does"),
}
"""Built-in functions whose results differ from call to call, by name, and what they ask for."""

_HOMES = frozenset(
    {"time", "datetime", "posix", "nt", "builtins", "_io", "io", "_thread", "_uuid", "sys", "numpy", "resource"}
    | {"_locale", "decimal", "_decimal", "numpy._core.multiarray", "numpy.core.multiarray"}
)
"""The modules of these functions."""

_READING = frozenset({"read", "read1", "readline", "readlines", "readinto"})

_UNSEEN = frozenset({"__subclasses__", "seed"})
"""Built-in methods whose result depends on more than their object."""

_ASKING = frozenset({*ALIKE, *_OUTSIDE, *_READING, *_UNSEEN})

_QUIET = frozenset({"lucid", "logging", "warnings", "linecache", "traceback", "tokenize", "importlib", "inspect"})
"""Modules that ask for such things without affecting what the model computes."""


class Watch:
    """Observes one trace.

    Parameters
    ----------
    model
        What is traced.
    """

    def __init__(self, model: object) -> None:
        self._model = model
        self._collector = Collector()
        self._refused: TraceError | None = None
        self._chained: Callable[..., object] | None = None
        self._hook: Callable[[FrameType, str, Any], None] | None = None
        self._shared = [(one, random_state(one)) for one in (random._inst, np.random.mtrand._rand)]

    @contextmanager
    def active(self) -> Iterator[None]:
        """While inside, functions that begin in this thread are examined; an existing profiler keeps running."""
        name = getattr(self._model, "__name__", type(self._model).__name__)
        self._collector.look(self._model, Place(name, "what is compiled"))
        before = sys.getprofile()
        foreign = before is not None and not callable(before)  # cProfile before Python 3.12: it rests
        if foreign:
            before.disable()  # type: ignore[union-attr]
        else:
            self._chained = before
        self._hook = self._watching()
        try:
            sys.setprofile(self._hook)
            yield
        except Exception as error:
            if self._refused is not None and not from_handler(
                error
            ):  # the model may well have failed because of what it asked for
                raise self._refused from error
            raise
        finally:
            sys.setprofile(self._chained)
            self._hook = None  # it refers to this object: a cycle, which only the garbage collector would free
            if foreign:
                before.enable()  # type: ignore[union-attr]
        if self._refused is not None:
            raise self._refused
        self._drawn()

    def entered(self, module: object) -> None:
        """Note that the traced code calls a module, on whose state its results depend."""
        self._kept(self._collector.look, module, Place(type(module).__name__, "called while tracing"))

    def captured(self, tensor: Tensor) -> None:
        """Note that the graph reads a tensor that is not a parameter or buffer of the model."""
        self._kept(self._collector.captured, tensor)

    def pause(self) -> None:
        """Stop observing until :meth:`go_on`, as no user code runs meanwhile (unless a profiler wants to see it)."""
        if self._chained is None:
            sys.setprofile(None)

    def go_on(self) -> None:
        if self._chained is None:
            sys.setprofile(self._hook)

    @property
    def mode_read(self) -> bool:
        """Whether the trace may depend on whether gradients are recorded."""
        return self._collector.mode_read

    def read_mode(self) -> None:
        """Make the trace valid only for the present gradient mode."""
        self._collector.mode_read = True
        self._collector.ask(is_grad_enabled)

    def guards(self) -> Guards:
        """What the trace depends on."""
        return self._collector.guards()

    # ------------------------------------------------------------ events

    def _watching(self) -> Callable[[FrameType, str, Any], None]:
        """The hook for calls and returns. There are thousands in a trace, so it uses local names only."""
        begun, begins, asks = self._collector.begun, self._collector.begins, self._asks
        kept, chained = self._kept, self._chained

        def event(frame: FrameType, what: str, arg: object) -> None:
            if what == "call":
                if id(frame.f_code) not in begun:
                    kept(begins, frame)
            elif what == "c_call" and getattr(arg, "__name__", None) in _ASKING:
                kept(asks, frame, arg)
            if chained is not None:
                chained(frame, what, arg)

        return event

    def _kept(self, look: Callable[..., None], *args: object) -> None:
        """Call ``look`` and keep its error: raised here, it would end the observation, or the model might catch it."""
        try:
            look(*args)
        except TraceError as error:
            self._refused = self._refused or error

    def _asks(self, frame: FrameType, function: Any) -> None:
        """Handle the call of a built-in function that asks for something outside the program."""
        home, name = getattr(function, "__module__", None), function.__name__
        if name in _READING or name in _UNSEEN:
            self._tells(frame, function, name)
            return
        if home is None:  # a method: of those, only dates know the time
            owner = getattr(function, "__self__", None)
            home = "datetime" if isinstance(owner, type) and issubclass(owner, datetime.date) else ""
        asking = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if home not in _HOMES or asking in _QUIET or _importing(frame):
            return
        if name not in ALIKE:
            raise _refused(_OUTSIDE[name], f"{name}()", frame)
        if asking != "threading" or frame.f_code.co_name == "current_thread":
            self._collector.ask(ALIKE[name] or function)

    def _tells(self, frame: FrameType, method: object, name: str) -> None:
        """Handle the call of a built-in method whose result may depend on more than its object."""
        owner = getattr(method, "__self__", None)
        if name == "__subclasses__" and isinstance(owner, type) and not is_library_module(owner.__module__):
            self._collector.ask(partial(_subclasses, owner))
        elif name in _READING and owner is sys.stdin:
            raise _refused("the keyboard", f"stdin.{name}()", frame)
        elif name == "seed" and frame.f_code is random.Random.seed.__code__ and frame.f_locals.get("a") is None:
            raise _refused("random numbers", "random.Random()", frame)

    def _drawn(self) -> None:
        """Raise if random numbers were drawn from other generators than Lucid's, judging by their states."""
        found = {id(one): place for one, _, place in self._collector.consumed}
        for one, was in (*self._shared, *((one, was) for one, was, _ in self._collector.consumed)):
            if random_state(one) != was:
                kind = f"{type(one).__module__}.{type(one).__qualname__}"
                place = found.get(id(one), Place(kind, "in what it calls"))
                raise TraceError(_refusal("random numbers", place.what, place.line))


def _subclasses(owner: type) -> tuple[type, ...]:
    return tuple(owner.__subclasses__())


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, which happens only once in any case."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _refused(what: str, name: str, frame: FrameType) -> TraceError:
    """The error about asking for something outside; ``tempfile`` asks for a file rather than for random numbers."""
    asking: FrameType | None = frame
    while asking is not None and is_library_module(str(asking.f_globals.get("__name__", ""))):
        if asking.f_globals.get("__name__") == "tempfile":
            what, name = "a file", f"tempfile.{asking.f_code.co_name}()"
        asking = asking.f_back
    return TraceError(_refusal(what, name, user_line(frame)))


def _refusal(what: str, name: str, where: str) -> str:
    ways = {
        "random numbers": "Draw with lucid.rand, lucid.randn or lucid.randint, which every run draws anew, or draw "
        "outside and pass them as an argument",
        "the clock": "Time the calls of the compiled model instead, or pass the time as an argument",
    }
    way = ways.get(what, "Read it outside and pass it as an argument")
    return (
        f"{name} asks for {what} while the model is traced ({where}); every later call would keep the answer of this "
        f"one. {way}"
    )
