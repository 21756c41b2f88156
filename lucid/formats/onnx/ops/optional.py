"""Operators on optional values: a value that is present is represented by itself."""

from __future__ import annotations

import numpy as np

from ....errors import GraphError
from ..model import Array
from ..registry import Call, Value, converter


@converter("Optional", since=15)
def optional(call: Call, x: Value = None) -> Value:
    return x


@converter("OptionalHasElement", since=15)
def has_element(call: Call, x: Value = None) -> Array:
    return np.array(x is not None)


@converter("OptionalGetElement", since=15)
def element(call: Call, x: Value = None) -> Value:
    if x is None:
        raise GraphError("a value that must be present is absent")
    return x
