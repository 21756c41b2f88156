"""Operators that look up numbers or strings in lists: encoders of labels and categories."""

from __future__ import annotations

from itertools import count

import numpy as np

from ....base.texts import as_texts, encoded
from ....errors import GraphError
from ....graph import texts
from ....graph.opdef import AbstractTensor
from ....graph.ops import elementwise as ew
from ....graph.ops import indexing, reduce, shape
from ....graph.ops.composite import all_, eq, gt, logical_and, logical_or
from ....graph.ops.expect import expect
from ....graph.ops.promotion import cast
from ....graph.ops.subscript import getitem
from ....graph.texts import Text
from ....graph.types import float32, int64, is_float
from ..limits import checked
from ..model import ML, Array
from ..registry import Call, Value, converter


def entries(call: Call, table: Array, place: AbstractTensor) -> AbstractTensor | Text:
    """The numbers or strings at given positions of a list."""
    codes = encoded(table) if table.dtype.kind == "U" else table
    found: AbstractTensor = indexing.index_with(call.world.constant(codes), (0,), (place,))
    return Text(found) if table.dtype.kind == "U" else found


def place_of(call: Call, x: Value, keys: Array) -> tuple[AbstractTensor, AbstractTensor]:
    """The first position of each value in a list, and whether it occurs there at all."""
    if not len(keys):
        raise GraphError("there is nothing in the list that it looks in")
    if keys.dtype.kind == "U":
        return _place_of_texts(call, call.text(x), keys)
    data: AbstractTensor = call.tensor(x)
    hits = eq(shape.unsqueeze(data, -1), call.world.constant(keys.astype(data.type.dtype)))
    if keys.dtype.kind == "f" and is_float(data.type.dtype):
        hits = logical_or(hits, logical_and(shape.unsqueeze(ew.isnan(data), -1), call.world.constant(np.isnan(keys))))
    return _first(hits)


def _first(hits: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    return reduce.argmax(cast(hits, int64), -1), gt(cast(reduce.sum(hits, -1), int64), 0)


def _place_of_texts(call: Call, text: Text, keys: Array) -> tuple[AbstractTensor, AbstractTensor]:
    """The same for strings: each is looked up by a hash that differs between keys, then compared with the key found."""
    codes = encoded(keys)
    letters = codes.shape[-1]
    factors = _factors(codes)
    whole = texts.widened(text, texts.width(text) + letters)
    known, rest = (getitem(whole, (..., part)) for part in (slice(0, letters), slice(letters, None)))
    number = reduce.sum(cast(known, int64) * call.world.constant(factors), -1)
    place, found = _first(eq(shape.unsqueeze(number, -1), call.world.constant((codes * factors).sum(-1))))
    same = all_(eq(indexing.index_with(call.world.constant(codes), (0,), (place,)), known), -1)
    return place, logical_and(found, logical_and(same, all_(eq(rest, 0), -1)))


def _factors(codes: Array) -> Array:
    """Factors of the characters of keys such that the weighted sums of different keys differ."""
    different = len(np.unique(codes, axis=0))
    for seed in count():
        factors: Array = np.random.default_rng(seed).integers(1, 1 << 62, codes.shape[-1], np.int64) | 1
        if len(np.unique((codes * factors).sum(-1))) == different:
            return factors
    raise AssertionError("the seeds never end")


# ---------------------------------------------------------------- operators


def _listed(call: Call, which: str) -> Array:
    """The keys or the values of an encoder."""
    for name, dtype in ((f"{which}_int64s", np.int64), (f"{which}_floats", np.float32)):
        if call.attribute(name) is not None:
            return np.asarray(call.attribute(name), dtype)
    if call.attribute(f"{which}_strings") is not None:
        return as_texts(list(call.attribute(f"{which}_strings")))
    tensor = call.attribute(f"{which}_tensor")
    if tensor is None:
        raise GraphError(f"it has no {which}")
    return np.ravel(tensor)


def _with_usual(call: Call, values: Array) -> Array:
    """A list with the default value appended."""
    given = call.attribute("default_tensor")
    if given is None:
        kind, usual = {"f": ("float", -0.0), "U": ("string", "_Unused")}.get(values.dtype.kind, ("int64", -1))
        given = call.attribute(f"default_{kind}", usual)
    usual = as_texts(given) if values.dtype.kind == "U" else np.asarray(given, values.dtype)
    return np.append(values, usual.reshape(1))


@converter("LabelEncoder", domain=ML)
def label_encoder(call: Call, x: Value) -> AbstractTensor | Text:
    """For each value the entry that belongs to its key, or the default."""
    keys, values = _listed(call, "keys"), _listed(call, "values")
    if len(keys) != len(values):
        raise GraphError(f"there are {len(keys)} keys and {len(values)} values")
    place, found = place_of(call, x, keys)
    return entries(call, _with_usual(call, values), ew.where(found, place, len(values)))


@converter("CategoryMapper", domain=ML)
def category_mapper(call: Call, x: Value) -> AbstractTensor | Text:
    """Strings as numbers, or numbers as strings."""
    names, numbers = as_texts(list(call.required("cats_strings"))), np.asarray(call.required("cats_int64s"), np.int64)
    if len(names) != len(numbers):
        raise GraphError(f"there are {len(names)} texts and {len(numbers)} numbers")
    of_texts = call.is_text(x)
    place, found = place_of(call, x, names if of_texts else numbers)
    values = numbers if of_texts else names
    return entries(call, _with_usual(call, values), ew.where(found, place, len(values)))


@converter("OneHotEncoder", domain=ML)
def one_hot_encoder(call: Call, x: Value) -> AbstractTensor:
    """A column for each category, 1 where the value is that category."""
    given = call.attribute("cats_int64s")
    keys = as_texts(list(call.required("cats_strings"))) if given is None else np.asarray(given, np.int64)
    if keys.dtype.kind != "U" and is_float(call.tensor(x).type.dtype):
        x = cast(call.tensor(x), int64)
    place, found = place_of(call, x, keys)
    columns = call.world.constant(np.arange(*checked(len(keys))))
    hot = logical_and(eq(shape.unsqueeze(place, -1), columns), shape.unsqueeze(found, -1))
    if not call.attribute("zeros", 1):
        hot = expect(hot, all_(found), True, f"{call.node}: it is given what is no category")
    return cast(hot, float32)
