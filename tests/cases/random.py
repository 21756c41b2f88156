"""Rows of the random ops. The key is an input, so that each way of running draws the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.graph.opdef import NoAttrs, TypeAttrs, apply
from lucid.graph.ops import random as rnd
from lucid.graph.ops import shape as sh

from .case import Case
from .shape import Make


def _with_key(*shape: int) -> Make:
    return lambda rng, dtype: (np.asarray(rng.standard_normal(shape), dtype), np.array(12345, np.uint64))


def _like(op: Any) -> Callable[..., Any]:
    return lambda x, key: apply(op, TypeAttrs(x.type.shape, x.type.dtype), key)


def _dropout(p: float) -> Callable[..., Any]:
    return lambda x, key: apply(rnd.DROPOUT, rnd.DropoutAttrs(p), x, key)


def _key_is_fresh(x: Any) -> Any:
    """1 where two keys of one run differ: all that is certain of them."""
    a, b = (apply(rnd.RANDOM_KEY, NoAttrs(), like=x) for _ in range(2))
    return sh.reshape(a, 1) != sh.reshape(b, 1)


CASES = [
    Case("random-key", _key_is_fresh, lambda rng, dtype: (np.zeros(2, dtype),), gradient=False),
    Case("random-uniform", _like(rnd.RANDOM_UNIFORM), _with_key(3, 4), gradient=False),
    Case("random-uniform-image", _like(rnd.RANDOM_UNIFORM), _with_key(2, 3, 4, 2), gradient=False),
    Case("random-normal", _like(rnd.RANDOM_NORMAL), _with_key(3, 4), gradient=False),
    Case("random-normal-scalar", _like(rnd.RANDOM_NORMAL), _with_key(), gradient=False),
    Case("dropout", _dropout(0.3), _with_key(4, 5)),
    Case("dropout-image", _dropout(0.5), _with_key(2, 3, 4, 2)),
    Case("dropout-everything", _dropout(1.0), _with_key(4, 5)),
    Case("dropout-nothing", lambda x: rnd.dropout(x, 0.5, training=False) * 2, lambda rng, dtype: (
        np.asarray(rng.standard_normal(3), dtype),
    )),
]  # fmt: skip
