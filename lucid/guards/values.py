"""Kinds of values, by how a trace can depend on them: those that never change, those that only have effects…"""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import importlib
import inspect
import json
import logging
import operator
import pickle
import random
import re
import threading
import types
import uuid
from typing import Any, TypeVar

import numpy as np

from ..grad_mode import is_grad_enabled
from ..runtime.workers.settings import get_num_threads

FIXED: tuple[type, ...] = (
    bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented), range, slice, np.dtype,
    np.generic, enum.Enum, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
    re.Pattern, uuid.UUID, types.CodeType, TypeVar, types.GenericAlias, types.UnionType, np.ufunc,
)  # fmt: skip
"""Values that cannot change in place."""

EFFECTS: tuple[type, ...] = (
    type(threading.Lock()), type(threading.RLock()), threading.Thread, logging.Logger, logging.Handler,
    types.FrameType, types.TracebackType, type(vars(abc.ABC)["_abc_impl"]),
)  # fmt: skip
"""What is used for its effect, and tells nothing that a result would depend on."""

LISTS: tuple[type, ...] = (list, collections.deque)
RANDOM: tuple[type, ...] = (random.Random, np.random.RandomState, np.random.Generator, np.random.BitGenerator)

BY_ANY_NAME: tuple[Any, ...] = (
    getattr, hasattr, vars, dir, operator.attrgetter, operator.methodcaller, copy.copy, copy.deepcopy,
    dataclasses.asdict, dataclasses.astuple, dataclasses.replace, pickle.dumps, json.dumps, json.dump,
    inspect.getmembers,
)  # fmt: skip
"""Functions that read attributes by names which do not stand in the code."""

NAMED: tuple[Any, ...] = (__import__, importlib.import_module)
"""Functions that find a module by its name."""

STATES: tuple[Any, ...] = (is_grad_enabled, get_num_threads)
"""Lucid's own settings, as functions that tell them."""


def random_state(generator: Any) -> Any:
    """Where a generator of random numbers is: as long as this stays, nothing has been drawn."""
    if isinstance(generator, random.Random):
        return generator.getstate() if type(generator) is not random.SystemRandom else None
    if isinstance(generator, np.random.Generator):
        generator = generator.bit_generator
    state = generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.state
    return _frozen(state)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    return value.tobytes() if isinstance(value, np.ndarray) else value
