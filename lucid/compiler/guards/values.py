"""Kinds of values by how a trace may depend on them: immutable ones, those used only for their effects, and so on."""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import gc
import importlib
import inspect
import json
import locale
import logging
import operator
import os
import pickle
import random
import re
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...runtime.workers.settings import get_num_threads
from ...tensor.grad_mode import is_grad_enabled

FIXED: tuple[type, ...] = (
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, slice, np.dtype,
    np.generic, enum.Enum, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
    re.Pattern, uuid.UUID, types.CodeType, TypeVar, types.GenericAlias, types.UnionType,
)  # fmt: skip
"""Values that cannot change in place."""

EFFECTS: tuple[type, ...] = (
    type(threading.Lock()), type(threading.RLock()), threading.Thread, logging.Logger, logging.Handler,
    types.FrameType, types.TracebackType, type(vars(abc.ABC)["_abc_impl"]),
)  # fmt: skip
"""Types of values that are used for their effects only: results do not depend on their content."""

LISTS: tuple[type, ...] = (list, collections.deque)
RANDOM: tuple[type, ...] = (random.Random, np.random.RandomState, np.random.Generator, np.random.BitGenerator)

BY_ANY_NAME: tuple[object, ...] = (
    getattr, hasattr, vars, dir, operator.attrgetter, operator.methodcaller, copy.copy, copy.deepcopy,
    dataclasses.asdict, dataclasses.astuple, dataclasses.replace, pickle.dumps, json.dumps, json.dump,
    inspect.getmembers,
)  # fmt: skip
"""Functions that read attributes by names that do not occur in the code."""

NAMED: tuple[object, ...] = (__import__, importlib.import_module)
"""Functions that find a module by its name."""

STATES: tuple[object, ...] = (is_grad_enabled, get_num_threads)
"""Functions that return settings of Lucid."""


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _context() -> str:
    return repr(decimal.getcontext())


def _processors() -> tuple[int | None, ...]:
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return os.cpu_count(), *sorted(mine)


ALIKE: dict[str, Callable[[], Any] | None] = {
    **dict.fromkeys(("getpid", "getppid", "getcwd", "get_ident", "get_native_id", "getrecursionlimit")),
    **dict.fromkeys(("get_int_max_str_digits", "getswitchinterval")),
    **dict.fromkeys(("setlocale", "localeconv"), _locale),
    "getcontext": _context,
    **dict.fromkeys(("sched_getaffinity", "cpu_count"), _processors),
}
"""Built-in functions that may return something else later, and what to call instead to compare at each call."""


def _print_options() -> tuple[object, ...]:
    return tuple(repr(item) for item in np.get_printoptions().items())


def _error_modes() -> tuple[object, ...]:
    return tuple(np.geterr().items())


def _threads() -> tuple[object, ...]:
    return tuple((id(thread), thread.name) for thread in threading.enumerate())


def told_by(code: types.CodeType) -> Callable[[], object] | None:
    """A function that reads the global setting on which a library function depends, if there is one."""
    if code in _TELLING:
        return _TELLING[code]
    return _print_options if code.co_filename == _PRINTING else None


_PRINTING = np.get_printoptions.__code__.co_filename
_TELLING: dict[types.CodeType, Callable[[], object]] = {
    np.geterr.__code__: _error_modes,
    threading.active_count.__code__: threading.active_count,
    threading.enumerate.__code__: _threads,
    vars(threading.Thread)["name"].fget.__code__: lambda: threading.current_thread().name,
}


def cached(function: Any) -> tuple[object, ...]:
    """The content of an ``lru_cache`` as the garbage collector sees it: keys and results, or a dict of them."""
    apart = (function.__wrapped__, vars(function), type(function))
    held = [one for one in gc.get_referents(function) if type(one) is not object and all(one is not x for x in apart)]
    inside = (value for one in held if type(one) is dict for value in one.values())
    return (
        *(one for one in held if type(one) is not dict),
        *(value for value in inside if type(value).__name__ != "_lru_list_elem"),
    )


def held(value: object) -> tuple[object, ...]:
    """What an object refers to besides its attributes, as the garbage collector sees it."""
    apart = (type(value), getattr(value, "__dict__", None))
    return tuple(one for one in gc.get_referents(value) if all(one is not x for x in apart))


def random_state(generator: Any) -> object:
    """The state of a random number generator: unchanged as long as nothing is drawn."""
    if isinstance(generator, random.Random):
        return generator.getstate() if type(generator) is not random.SystemRandom else None
    if isinstance(generator, np.random.Generator):
        generator = generator.bit_generator
    state = generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.state
    return _frozen(state)


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    return value.tobytes() if isinstance(value, np.ndarray) else value
