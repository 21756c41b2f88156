"""Operators on strings: those that make others, and those that count them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ....base.texts import as_texts, decoded, encoded
from ....errors import GraphError
from ....graph import texts
from ....graph.assume import is_at_least
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops import indexing, reduce, shape
from ....graph.ops.composite import eq, gt, logical_and, lt
from ....graph.ops.promotion import cast
from ....graph.ops.source import full
from ....graph.ops.subscript import getitem
from ....graph.texts import Text
from ....graph.types import float32
from ..host import evaluate, evaluated
from ..limits import Allowance, checked
from ..model import Array, NodeDef
from ..registry import Call, Value, converter
from .encoders import place_of

LAST_WITH_CASE = 0x1E943


@lru_cache(maxsize=2)
def _cases(action: str) -> Array:
    """The upper or lower case of each character; those with several characters are unchanged, as in C."""
    changed = (getattr(chr(i), action.lower())() for i in range(LAST_WITH_CASE + 1))
    return np.fromiter((ord(one) if len(one) == 1 else i for i, one in enumerate(changed)), np.int32)


def _action(node: NodeDef) -> str:
    action: str = node.attributes.get("case_change_action", "NONE")
    if action not in ("NONE", "LOWER", "UPPER"):
        raise GraphError(f"unknown case_change_action {action!r}")
    return action


def _cased(x: Array, action: str) -> Array:
    codes, table = encoded(x), _cases(action)
    return decoded(np.where(codes <= LAST_WITH_CASE, table[np.minimum(codes, LAST_WITH_CASE)], codes))


@evaluated("StringNormalizer")
def normalized(node: NodeDef, x: Array) -> Array:
    """Words without stop words, in upper or lower case; an empty string if none is left."""
    action, stop = _action(node), as_texts(list(node.attributes.get("stopwords") or ()))
    if x.ndim != 1 and not (x.ndim == 2 and x.shape[0] == 1):
        raise GraphError(f"it takes texts in a row, got {x.shape}")
    words = x.reshape(-1)
    sensitive = node.attributes.get("is_case_sensitive", 0)
    compared, out = (words, stop) if sensitive else (_cased(words, "LOWER"), _cased(stop, "LOWER"))
    kept = words[~np.isin(compared, out)]
    kept = kept if len(kept) else np.array([""])
    return (kept if action == "NONE" else _cased(kept, action)).reshape(*x.shape[:-1], -1)


def _known_only(call: Call, x: Value) -> Sequence[Value]:
    """Evaluate an operator on known strings only, as the size of its result depends on them."""
    found = evaluate(call.node, [call.known(x, "the input, on which the size of the result depends,")], Allowance())
    if found is None:
        raise GraphError("how large its result is depends on sizes that are symbolic")
    return found


@converter("StringNormalizer", since=10)
def string_normalizer(call: Call, x: Value) -> Sequence[Value] | Text:
    """The number of remaining words depends on data if there are stop words."""
    if call.attribute("stopwords"):
        return _known_only(call, x)
    text, action = call.text(x), _action(call.node)
    if action == "NONE":
        return text
    codes, table = text.tensor, call.world.constant(_cases(action))
    has_case = lt(codes, LAST_WITH_CASE + 1)
    return Text(ew.where(has_case, indexing.index_with(table, (0,), (ew.where(has_case, codes, 0),)), codes))


@evaluated("StringSplit")
def splitted(node: NodeDef, x: Array) -> list[Array]:
    """The parts of each string along a new last axis, padded with empty ones, and their numbers."""
    limit = node.attributes.get("maxsplit", -1)
    parts = [one.split(node.attributes.get("delimiter") or None, limit) for one in x.ravel().tolist()]
    counts = np.array([*map(len, parts)], np.int64)
    most = int(counts.max(initial=0))
    checked(len(parts), most)
    padded = [one for row in parts for one in (*row, *[""] * (most - len(row)))]
    return [as_texts(padded).reshape(*x.shape, most), counts.reshape(x.shape)]


@converter("StringSplit", since=20)
def string_split(call: Call, x: Value) -> Sequence[Value]:
    return _known_only(call, x)


@converter("StringConcat", since=20)
def string_concat(call: Call, a: Value, b: Value) -> Text:
    return texts.joined(call.text(a), call.text(b))


# ---------------------------------------------------------------- counts


@converter("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(call: Call, x: Value) -> AbstractTensor:
    """How often each n-gram of a list occurs in each row, with a limited number of words skipped in between."""
    words = call.attribute("pool_strings")
    pool = np.asarray(call.required("pool_int64s"), np.int64) if words is None else as_texts(list(words))
    keys, which = np.unique(pool, return_inverse=True)
    place, found = place_of(call, x, keys)
    place = ew.where(found, place, -1)
    rows = place if place.type.rank == 2 else shape.unsqueeze(place, 0)
    columns = np.asarray(call.required("ngram_indexes"), np.int64)
    counts = [_counts(call, rows, grams) for grams in _grams(call, which)]
    counted = _scaled(call, shape.concat(counts, 1))
    width = int(columns.max(initial=-1)) + 1
    if len(columns) != counted.type.shape[1] or len(np.unique(columns)) != len(columns) or columns.min(initial=0) < 0:
        raise GraphError(f"there are {counted.type.shape[1]} n-grams for {len(columns)} columns, or two for one")
    source = np.full(checked(width), len(columns))
    source[columns] = np.arange(len(columns))
    nothing = full(counted, 0.0, (counted.type.shape[0], 1))
    made = indexing.index_with(shape.concat([counted, nothing], 1), (1,), (call.world.constant(source),))
    return made if place.type.rank == 2 else shape.squeeze(made, 0)


def _grams(call: Call, words: Array) -> list[Array]:
    """The n-grams of each length (n-gram, word), as numbers of words."""
    starts = [*call.required("ngram_counts"), len(words)]
    found = []
    for n, (first, last) in enumerate(pairwise(starts), 1):
        if not 0 <= first <= last <= len(words) or (last - first) % n:
            raise GraphError(f"{last - first} words are no {n}-grams")
        found.append(words[first:last].reshape(-1, n))
    return found


def _counts(call: Call, rows: AbstractTensor, grams: Array) -> AbstractTensor:
    """How often each n-gram of one length occurs in each row."""
    count, n = grams.shape
    total = full(rows, 0.0, (rows.type.shape[0], count), float32)
    wanted = call.attribute("min_gram_length", 1) <= n <= call.attribute("max_gram_length", n)
    for skip in range(1 if n == 1 else 1 + int(call.attribute("max_skip_count", 0))) if wanted and count else ():
        windows = rows.type.shape[1] - (n - 1) * (skip + 1)
        if not is_at_least(windows, 1, likely=True):
            break
        total = total + _hits(call, rows, grams, skip, windows)
    return total


def _hits(call: Call, rows: AbstractTensor, grams: Array, skip: int, windows: Dim) -> AbstractTensor:
    hit: AbstractTensor | None = None
    for i, words in enumerate(grams.T):
        first = i * (skip + 1)
        here = shape.unsqueeze(getitem(rows, (slice(None), slice(first, first + windows))), -1)
        same = eq(here, call.world.constant(words.astype(np.int64)))
        hit = same if hit is None else logical_and(hit, same)
    assert hit is not None
    return cast(reduce.sum(hit, 1), float32)


def _scaled(call: Call, counts: AbstractTensor) -> AbstractTensor:
    mode, weights = call.required("mode"), call.attribute("weights")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise GraphError(f"unknown mode {mode!r}")
    if mode == "TF":
        return counts
    there = counts if mode == "TFIDF" else cast(gt(counts, 0.0), float32)
    return there if weights is None else there * call.world.constant(np.asarray(weights, np.float32))
