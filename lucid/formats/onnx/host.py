"""Operators on host values: those known while the model is built, including symbolic sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import GraphError
from ...graph.assume import is_at_least, is_equal
from ...graph.dims import Dim, SymDim
from .fractional_sizes import FractionalSize
from .limits import LARGEST, Allowance
from .model import Array, NodeDef
from .registry import Value

Evaluate: TypeAlias = "Callable[..., Array | Sequence[Array] | None]"
F = TypeVar("F", bound=Evaluate)
Grown: TypeAlias = "Callable[..., Sequence[int]]"


class _Evaluated(NamedTuple):
    """How an operator is evaluated; and, if its result may have more elements than its inputs, the shape of the result.

    The shape is computed before anything is allocated.
    """

    function: Evaluate
    grown: Grown | None


_TABLE: dict[str, _Evaluated] = {}


def evaluated(*ops: str, grown: Grown | None = None) -> Callable[[F], F]:
    """Register a function for operators: it takes the node and arrays, and returns an array or several."""

    def decorate(function: F) -> F:
        _TABLE.update(dict.fromkeys(ops, _Evaluated(function, grown)))
        return function

    return decorate


SIZES_FROM = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Slice": 1, "Split": 1, "Tile": 1}
"""Operators whose inputs from this index on must be numbers for them to be evaluated."""


OF_SHARES = frozenset({
    "Identity", "Concat", "Gather", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Cast", "Add",
    "Sub", "Mul", "Div", "Neg", "Floor", "Ceil",
})  # fmt: skip
"""Operators that are evaluated for fractional sizes too."""


OF_TEXTS = frozenset({
    "Identity", "Concat", "Gather", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Cast", "Equal",
    "Where", "Shape", "Size", "Tile", "Expand", "Unique", "StringNormalizer", "StringSplit",
})  # fmt: skip
"""Operators that are evaluated for strings."""


def has_shares(array: Array) -> bool:
    """Whether an array contains fractional sizes."""
    return array.dtype == object and any(isinstance(one, FractionalSize) for one in array.ravel())


def _symbolic_sizes(node: NodeDef, inputs: Sequence[Array | None]) -> bool:
    first = SIZES_FROM.get(node.op, len(inputs))
    return any(one is not None and one.dtype == object for one in inputs[first:])


def evaluate(node: NodeDef, inputs: Sequence[Array | None], room: Allowance) -> list[Value] | None:
    """The results of a node whose inputs are known; None if it must be computed like any other.

    That is also so if there is no room for the results.
    """
    known = None if node.domain else _TABLE.get(node.op)
    if known is None or _symbolic_sizes(node, inputs):
        return None
    if known.grown is not None and not _fits(known.grown(node, *inputs), inputs, room):
        return None
    if node.op not in OF_TEXTS and any(one is not None and one.dtype.kind == "U" for one in inputs):
        return None
    if node.op not in OF_SHARES and any(one is not None and has_shares(one) for one in inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            found = known.function(node, *inputs)
    except TypeError:
        if not any(one is not None and one.dtype == object for one in inputs):
            raise
        return None  # what is no arithmetic of sizes is computed when they are known
    if found is None:
        return None
    made = [plain(one) for one in (found if isinstance(found, list | tuple) else [found])]
    new = [one for one in made if known.grown is not None or (one.base is None and all(one is not x for x in inputs))]
    return [*made] if room.take(sum(one.nbytes for one in new)) else None


def _fits(shape: Sequence[int], inputs: Sequence[Array | None], room: Allowance) -> bool:
    """Whether there is room for an array made from others; unreasonably large ones are refused."""
    given = [one for one in inputs if one is not None]
    count = math.prod(map(int, shape))
    if count > max([LARGEST, *(one.size for one in given)]) or any(dim < 0 for dim in shape):
        raise GraphError(f"an array of shape {tuple(map(int, shape))} is not made while a model is built")
    return count * max((one.itemsize for one in given), default=8) <= room.left


def is_evaluated(node: NodeDef) -> bool:
    """Whether the results of a node are known if its inputs are."""
    return not node.domain and node.op in _TABLE


def plain(value: npt.ArrayLike) -> Array:
    """The array with a numeric element type, unless it contains symbolic sizes."""
    array = np.asarray(value)
    if array.dtype != object or any(isinstance(one, SymDim | FractionalSize) for one in array.ravel()):
        return array
    return array.astype(np.float32 if any(isinstance(one, float) for one in array.ravel()) else np.int64)


def of_dims(dims: Sequence[Dim]) -> Array:
    """Sizes as a host value with one axis."""
    made = np.empty(len(dims), object)
    made[:] = list(dims)
    return plain(made) if len(dims) else made.astype(np.int64)


def _broadcast(node: NodeDef, *arrays: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(*(one.shape for one in arrays))


def _joined(node: NodeDef, *arrays: Array) -> tuple[int, ...]:
    return (sum(one.size for one in arrays),)


def _gathered(node: NodeDef, x: Array, index: Array) -> tuple[int, ...]:
    axis = node.attributes.get("axis", 0)
    return *index.shape, x.size // max(1, x.shape[axis])


def _numbers(array: Array) -> tuple[int, ...]:
    return tuple(int(one) for one in array.ravel())


def _axes(node: NodeDef, given: Array | None) -> list[int] | None:
    """The axes, given as an input or, in older versions, as an attribute."""
    if given is not None:
        return [int(axis) for axis in given.ravel()]
    found = node.attributes.get("axes")
    return None if found is None else list(found)


@evaluated("Identity")
def identity(node: NodeDef, x: Array) -> Array:
    return x


@evaluated("Concat", grown=_joined)
def concat(node: NodeDef, *arrays: Array) -> Array:
    return np.concatenate(arrays, node.attributes.get("axis", 1 if node.version < 4 else 0))


@evaluated("Gather", grown=_gathered)
def gather(node: NodeDef, x: Array, index: Array) -> Array:
    return np.take(x, index.astype(np.int64), node.attributes.get("axis", 0))


@evaluated("Unsqueeze")
def unsqueeze(node: NodeDef, x: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(x, tuple(_axes(node, axes) or ()))


@evaluated("Squeeze")
def squeeze(node: NodeDef, x: Array, axes: Array | None = None) -> Array:
    found = _axes(node, axes)
    return np.squeeze(x, None if found is None else tuple(found))


@evaluated("Reshape")
def reshape(node: NodeDef, x: Array, shape: Array | None = None) -> Array | None:
    dims = [int(d) for d in (node.attributes["shape"] if shape is None else shape.ravel())]
    if not node.attributes.get("allowzero"):
        dims = [x.shape[i] if d == 0 else d for i, d in enumerate(dims)]
    return x.reshape(dims)


@evaluated("Transpose")
def transpose(node: NodeDef, x: Array) -> Array:
    return x.transpose(node.attributes.get("perm"))


@evaluated("Slice")
def slice_(
    node: NodeDef, x: Array, starts: Array | None = None, ends: Array | None = None, axes: Array | None = None,
    steps: Array | None = None,
) -> Array:  # fmt: skip
    first = node.attributes["starts"] if starts is None else starts.ravel()
    last = node.attributes["ends"] if ends is None else ends.ravel()
    along = _axes(node, axes) or list(range(len(first)))
    by = [1] * len(along) if steps is None else [int(step) for step in steps.ravel()]
    key = [slice(None)] * x.ndim
    for a, b, axis, step in zip(first, last, along, by, strict=True):
        # an end beyond the first element, going backwards, is before it
        key[axis] = slice(int(a), None if step < 0 and int(b) < -x.shape[axis] else int(b), step)
    return x[tuple(key)]


def _whole(size: Dim | FractionalSize | float) -> Dim:
    """A size without its fraction; sizes are not negative."""
    return size if isinstance(size, SymDim) else math.floor(size)


@evaluated("Cast")
def cast(node: NodeDef, x: Array) -> Array | None:
    return as_known(x, node.attributes["to"])


def as_known(x: Array, kind: int) -> Array | None:
    """A host value converted to the element type of this number; None if it must be computed like any other."""
    to = ELEMENT_TYPES.get(kind)
    if to is None or (x.dtype != object and kind == BFLOAT16):
        return None
    if x.dtype != object:
        return (x.astype(np.float16) if kind == FLOAT16 else x).astype(to)
    if to == np.bool_:
        return None if has_shares(x) else np.frompyfunc(lambda size: not is_equal(size, 0), 1, 1)(x).astype(to)
    change = FractionalSize.of if np.dtype(to).kind == "f" else _whole
    return np.asarray(np.frompyfunc(change, 1, 1)(x), object)


FLOAT16, BFLOAT16 = 10, 16
ELEMENT_TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    FLOAT16: np.float32, 11: np.float64, 12: np.uint32, 13: np.uint64, BFLOAT16: np.float32,
}  # fmt: skip
"""The types that element types are computed with, by their number in the format; 16-bit floats become float32."""
KINDS = {np.dtype(to).name: kind for kind, to in reversed(ELEMENT_TYPES.items())}
"""The numbers of the element types that are computed with, by name."""


@evaluated(
    "Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Min", "Max", "Sum", "Floor", "Ceil", "Sqrt", "Pow",
    grown=_broadcast,
)  # fmt: skip
def arithmetic(node: NodeDef, *arrays: Array) -> Array:
    symbolic = any(array.dtype == object for array in arrays)
    if symbolic and node.op in _OF_ONE_SIZE:
        return np.asarray(np.frompyfunc(_OF_ONE_SIZE[node.op], 1, 1)(*arrays), object)
    if symbolic and node.op in _OF_TWO_SIZES:
        return np.asarray(reduce(np.frompyfunc(_OF_TWO_SIZES[node.op], 2, 1), arrays), object)
    made = _ARITHMETIC[node.op](*arrays)
    return made if symbolic else np.asarray(made).astype(np.result_type(*arrays), copy=False)


def _divide(a: Array, b: Array) -> Array:
    """Division; of integers, rounded towards zero."""
    if a.dtype == object or b.dtype == object:
        shares = a.dtype.kind == "f" or has_shares(a) or has_shares(b)
        return np.asarray(a / b if shares else np.frompyfunc(_quotient, 2, 1)(a, b))
    return a / b if a.dtype.kind == "f" else np.trunc(np.true_divide(a, b)).astype(a.dtype)


def _quotient(a: Dim, b: Dim) -> Dim:
    """The quotient of sizes, rounded towards zero."""
    if not is_at_least(b, 0):
        return -_quotient(a, -b)
    return a // b if is_at_least(a, 0) else -(-a // b)


_ARITHMETIC: dict[str, Callable[..., Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Mod": np.mod, "Neg": np.negative,
    "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt, "Pow": np.power,
    "Min": lambda *xs: reduce(np.minimum, xs), "Max": lambda *xs: reduce(np.maximum, xs),
    "Sum": lambda *xs: reduce(np.add, xs),
}  # fmt: skip


def _least(a: Dim, b: Dim) -> Dim:
    """The minimum. Of a symbolic size and a number, the size is assumed to be smaller: part of a table is used."""
    for number, size in ((a, b), (b, a)):
        if isinstance(number, int) and number > 1 and isinstance(size, SymDim):
            return size if is_at_least(number, size, likely=True) else number
    return a if is_at_least(b - a, 0) else b


def _most(a: Dim, b: Dim) -> Dim:
    return a if is_at_least(a - b, 0) else b


_OF_ONE_SIZE = {
    "Floor": lambda size: FractionalSize.of(math.floor(size)), "Ceil": lambda size: FractionalSize.of(math.ceil(size)),
}  # fmt: skip
_OF_TWO_SIZES = {"Min": _least, "Max": _most, "Mod": lambda a, b: a - a // b * b}


@evaluated("Relu")
def relu(node: NodeDef, x: Array) -> Array:
    return np.asarray(np.frompyfunc(_most, 2, 1)(x, 0), object) if x.dtype == object else np.maximum(x, 0)


@evaluated("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", grown=_broadcast)
def compare(node: NodeDef, a: Array, b: Array) -> Array:
    if a.dtype == object or b.dtype == object:
        return np.asarray(np.frompyfunc(_SYMBOLIC[node.op], 2, 1)(a, b)).astype(np.bool_)
    functions = {
        "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
    }  # fmt: skip
    return np.asarray(functions[node.op](a, b))


_SYMBOLIC: dict[str, Callable[[Dim, Dim], bool]] = {
    "Equal": is_equal,
    "Less": lambda a, b: is_at_least(b - a, 1),
    "LessOrEqual": lambda a, b: is_at_least(b - a, 0),
    "Greater": lambda a, b: is_at_least(a - b, 1),
    "GreaterOrEqual": lambda a, b: is_at_least(a - b, 0),
}


@evaluated("Not", "And", "Or", "Xor", grown=_broadcast)
def logic(node: NodeDef, *arrays: Array) -> Array:
    functions = {"Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
    return np.asarray(functions[node.op](*arrays))


@evaluated("Where", grown=_broadcast)
def where(node: NodeDef, condition: Array, a: Array, b: Array) -> Array:
    return np.where(condition, a, b)


@evaluated("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")
def reduced(node: NodeDef, x: Array, axes: Array | None = None) -> Array:
    found = _axes(node, axes)
    if found == [] or (found is None and node.attributes.get("noop_with_empty_axes")):
        return x
    keep = bool(node.attributes.get("keepdims", 1))
    functions = {"ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min}
    return np.asarray(functions[node.op](x, axis=None if found is None else tuple(found), keepdims=keep))  # type: ignore[operator]


def _counted(node: NodeDef, start: Array, limit: Array, delta: Array) -> tuple[int, ...]:
    if any(one.dtype == object for one in (start, limit, delta)):
        return ()
    first, last, step = (float(one.reshape(())) for one in (start, limit, delta))
    count = (last - first) / step if step else math.nan
    if not math.isfinite(count):
        raise GraphError(f"there are no numbers from {start} to {limit} by {delta}")
    return (max(0, math.ceil(count)),)


@evaluated("Range", grown=_counted)
def range_(node: NodeDef, start: Array, limit: Array, delta: Array) -> Array | None:
    if any(one.dtype == object for one in (start, limit, delta)):
        return None
    start, limit, delta = (one.reshape(()) for one in (start, limit, delta))
    return np.asarray(start + np.arange(*_counted(node, start, limit, delta)) * delta, start.dtype)


@evaluated("ConstantOfShape", grown=lambda node, shape: _numbers(shape))
def constant_of_shape(node: NodeDef, shape: Array) -> Array | None:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(())
    return np.full(_numbers(shape), value)


@evaluated("Size")
def size(node: NodeDef, x: Array) -> Array:
    return np.asarray(x.size)


@evaluated("Shape")
def shape(node: NodeDef, x: Array) -> Array:
    return of_dims(x.shape)[node.attributes.get("start", 0) : node.attributes.get("end")]


def _tiled(node: NodeDef, x: Array, repeats: Array) -> tuple[int, ...]:
    return tuple(a * b for a, b in zip(x.shape, _numbers(repeats), strict=True))


@evaluated("Tile", grown=_tiled)
def tile(node: NodeDef, x: Array, repeats: Array) -> Array:
    return np.tile(x, _numbers(repeats))


def _expanded(node: NodeDef, x: Array, shape: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(x.shape, _numbers(shape))


@evaluated("Expand", grown=_expanded)
def expand(node: NodeDef, x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, _expanded(node, x, shape))


@evaluated("Split")
def split(node: NodeDef, x: Array, sizes: Array | None = None) -> list[Array]:
    axis = node.attributes.get("axis", 0)
    given = node.attributes.get("split") if sizes is None else [int(s) for s in sizes.ravel()]
    count = len(node.outputs)
    each = -(-x.shape[axis] // count)
    ends = np.cumsum(given)[:-1] if given else [each * (i + 1) for i in range(count - 1)]
    return np.split(x, ends, axis)
