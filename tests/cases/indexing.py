"""Rows of slicing, look-ups and padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import indexing as ix
from lucid.graph.ops import pad as padding
from lucid.graph.ops import put, slices

from .case import Case
from .shape import Make, normal


def _with_indices(shape: tuple[int, ...], *indices: Any) -> Make:
    return lambda rng, dtype: (
        np.asarray(rng.standard_normal(shape), dtype),
        *(np.asarray(i, np.int64) for i in indices),
    )


def _get(label: str, shape: tuple[int, ...], key: Any, *, torch: bool = True, static: bool = False) -> Case:
    """``x[key]`` with a fixed key; PyTorch has no negative steps."""
    return Case(
        f"getitem-{label}",
        lambda x: x[key],
        normal(shape),
        (lambda torch, x: x[key]) if torch else None,
        tags=frozenset({"static"} if static else ()),
    )


def _get_at(label: str, shape: tuple[int, ...], key: Any, *indices: Any) -> Case:
    """``x[key(i, ...)]`` with integer tensors."""
    return Case(
        f"index-{label}",
        lambda x, *i: x[key(*i)],
        _with_indices(shape, *indices),
        lambda torch, x, *i: x[key(*i)],
        ops=("Index", "IndexAdd"),
        tags=frozenset({"static"}),  # the same number may stand for a size and a count of indices
    )


def _pad(label: str, shape: tuple[int, ...], amounts: tuple[int, ...], mode: str = "constant", **options: Any) -> Case:
    # PyTorch has the other modes for the last axes of batches of channels only, with one rank each
    peer = mode == "constant" or len(amounts) == 2 * (len(shape) - 2)
    return Case(
        f"pad-{label}",
        lambda x: padding.pad(x, amounts, mode, **options),
        normal(shape),
        (lambda torch, x: torch.nn.functional.pad(x, amounts, mode, **options)) if peer else None,
    )


def _put(
    label: str, how: str, shape: tuple[int, ...], axes: tuple[int, ...], *indices: Any, zeros: bool = False
) -> Case:  # fmt: skip
    """Values written at places of which some are the same."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        places = [np.asarray(i, np.int64) for i in indices]
        x = np.asarray(rng.standard_normal(shape), dtype)
        values = np.asarray(rng.standard_normal(np.moveaxis(x, axes, range(len(axes)))[tuple(places)].shape), dtype)
        if axes[0] and axes == tuple(range(axes[0], axes[0] + len(axes))):  # they stand where the axes stood
            values = np.moveaxis(values, range(places[0].ndim), range(axes[0], axes[0] + places[0].ndim)).copy()
        if zeros:
            x[2, 0] = values[0, 1] = values[1, 0] = 0
        return x, values, *places

    return Case(
        f"put-{label}", lambda x, v, *i: put.put(x, axes, i, v, how), make, ops=("Put",),
        tags=frozenset({"static"}),  # the same number may stand for a size and a count of indices
    )  # fmt: skip


_PLACES: list[tuple[Any, ...]] = [
    ("rows", (4, 3), (0,), [3, 0, 0, -1]),
    ("columns", (2, 4, 3), (1,), [[0, 3], [3, -4]]),
    ("apart", (3, 2, 4), (0, 2), [0, 2, 0], [1, 3, 1]),
    ("points", (3, 4), (0, 1), [[0], [2]], [1, 1, -1]),
    ("nothing", (4, 3), (0,), np.empty((0,))),
]

_MASK = np.array([[True, False, True], [False, False, True]])

CASES = [
    _get("int", (2, 3, 4), (slice(None), 1)),
    _get("negative-int", (2, 3, 4), (0, ..., -1)),
    _get("slice", (4, 5), (slice(1, None), slice(1, 4))),
    _get("slice-negative-bounds", (4, 5), (slice(None, -1), slice(-3, -1))),
    _get("slice-clipped", (2, 5), (slice(None), slice(-9, 99)), static=True),
    _get("slice-empty", (2, 5), (slice(None), slice(4, 2))),
    _get("slice-steps", (5, 6), (slice(None, None, 2), slice(1, 6, 3))),
    _get("slice-backwards", (3, 6), (slice(None, None, -1), slice(4, 0, -2)), torch=False),
    _get("slice-backwards-to-the-end", (3, 6), (slice(None), slice(4, None, -3)), torch=False),
    _get("slice-backwards-empty", (3, 6), (slice(None), slice(0, 4, -1)), torch=False),
    _get("none", (2, 3), (None, slice(None), None, 0, None)),
    _get("ellipsis-alone", (2, 3), ...),
    _get("image", (2, 3, 4, 5), (slice(None), slice(0, 2), slice(1, None, 2), slice(None, None, 2))),
    _get("nothing", (2, 3), ()),
    _get("list", (4, 3), [2, 0, 2]),
    _get("list-and-int", (4, 3, 2), (1, slice(None), [0, 1, 1])),
    _get("mask", (2, 3, 2), _MASK, static=True),
    _get("mask-of-an-axis", (2, 3, 2), (slice(None), _MASK[0])),
    _get("mask-none-holds", (2, 3), np.zeros(2, bool), static=True),
    _get("lists-apart", (3, 2, 4), ([0, 2], slice(None), [1, 3])),
    _get("lists-together", (3, 2, 4), (slice(None), [0, 1], [1, 3])),
    _get_at("rows", (4, 3), lambda i: i, [3, 0, 0, -1, 1]),
    _get_at("one", (4, 3), lambda i: i, 2),
    _get_at("matrix", (2, 4, 3), lambda i: (slice(None), i), [[0, 3], [3, -4]]),
    _get_at("last-axis", (2, 3, 4), lambda i: (..., i), [0, 0, 3]),
    _get_at("none-found", (4, 3), lambda i: i, np.empty((0, 2))),
    _get_at("broadcast", (3, 4), lambda i, j: (i, j), [[0], [2]], [1, 1, -1]),
    _get_at("apart", (3, 2, 4), lambda i, j: (i, slice(None), j), [0, 2, 0], [1, 3, 1]),
    _get_at("apart-image", (2, 3, 4, 2), lambda i, j: (slice(None), i, slice(None), j), [0, 2], [1, -1]),
    _get_at("and-slices", (3, 4, 5), lambda i: (slice(1, None), i, slice(None, None, 2)), [3, 0, 0]),
    _get_at("and-none", (3, 4), lambda i, j: (i, None, j), [1, 2], [3, 3]),
    _get_at("image-rows", (3, 2, 2, 2), lambda i: i, [2, 0, 2]),
    *(_put(f"{how}-{label}", how, *row) for how in (*put.HOW, "add") for label, *row in _PLACES),
    _put("zeros", "mul", (3, 2), (0,), (2, 0, 2, -1), zeros=True),
    Case("narrow", lambda x: slices.narrow(x, 1, 1, 2), normal((2, 4)), lambda torch, x: x.narrow(1, 1, 2)),
    Case(
        "gather",
        lambda x, i: ix.gather(x, 1, i),
        _with_indices((3, 4), [[0, 0, 3], [1, 2, 1]]),
        lambda torch, x, i: x.gather(1, i),
        tags=frozenset({"static"}),
    ),
    Case(
        "gather-one-each",
        lambda x, i: ix.gather(x, -1, i),
        _with_indices((3, 4), [[0], [3], [0]]),
        lambda torch, x, i: x.gather(-1, i),
    ),
    Case(
        "gather-image",
        lambda x, i: ix.gather(x, 1, i),
        _with_indices((2, 3, 2, 2), np.arange(16).reshape(2, 2, 2, 2) % 3),
        lambda torch, x, i: x.gather(1, i),
    ),
    Case(
        "take_along_dim",
        lambda x, i: ix.take_along_dim(x, i, 0),
        _with_indices((3, 4), [[2, 0, 1, 2], [2, 2, 0, 0]]),
        lambda torch, x, i: torch.take_along_dim(x, i, 0),
        tags=frozenset({"static"}),
    ),
    Case(
        "index_select",
        lambda x, i: ix.index_select(x, 1, i),
        _with_indices((2, 4, 3), [3, 0, 0]),
        lambda torch, x, i: x.index_select(1, i),
    ),
    Case(
        "embedding",
        lambda w, i: ix.embedding(i, w),
        _with_indices((5, 3), [[4, 0], [0, 2], [0, 0]]),
        lambda torch, w, i: torch.nn.functional.embedding(i, w),
        ops=("Embedding", "EmbeddingGrad"),
    ),
    Case(
        "embedding-image",
        lambda w, i: ix.embedding(i, w),
        _with_indices((5, 3), np.arange(8).reshape(2, 2, 2) % 5),
        lambda torch, w, i: torch.nn.functional.embedding(i, w),
    ),
    Case(
        "embedding-unsigned",
        lambda w, i: ix.embedding(i, w),
        lambda rng, dtype: (np.asarray(rng.standard_normal((5, 3)), dtype), np.array([4, 1, 1], np.uint64)),
    ),
    Case("embedding-none", lambda w, i: ix.embedding(i, w), _with_indices((5, 3), np.empty((0,)))),
    Case(
        "one_hot",
        lambda i: ix.one_hot(i, 4),
        lambda rng, dtype: (np.array([[0, 3], [1, 1]]),),
        lambda torch, i: torch.nn.functional.one_hot(i, 4),
        gradient=False,
        ops=("OneHot",),
    ),
    Case(
        "masked_fill",
        lambda x, m: ix.masked_fill(x, m, -2.0),
        lambda rng, dtype: (np.asarray(rng.standard_normal((2, 3)), dtype), np.array([True, False, True])),
        lambda torch, x, m: x.masked_fill(m, -2.0),
    ),
    _pad("constant", (2, 3), (1, 2)),
    _pad("value", (2, 3, 2, 3), (1, 0, 2, 1), value=1.5),
    _pad("all-axes", (2, 3), (0, 1, 2, 0), value=-7),
    _pad("crop", (4, 5), (-1, 2, 1, -2)),
    _pad("nothing", (2, 3), (0, 0)),
    _pad("reflect", (2, 3, 4), (3, 2), "reflect"),
    _pad("reflect-image", (1, 2, 3, 4), (1, 3, 2, 1), "reflect"),
    _pad("reflect-crop", (1, 2, 4, 4), (1, -1, 0, 2), "reflect"),
    _pad("replicate", (2, 3, 2), (3, 1), "replicate"),
    _pad("replicate-image", (1, 2, 3, 2), (1, 2, 0, 3), "replicate"),
    _pad("circular", (2, 3, 4), (4, 2), "circular"),
    _pad("circular-image", (1, 2, 3, 4), (1, 2, 3, 0), "circular"),
    _pad("circular-vector", (5,), (2, 3), "circular"),
    _pad("reflect-volume", (1, 2, 3, 2, 3), (1, 2, 1, 0, 2, 1), "reflect"),
]
