"""Public versions of the ops: they check arguments and convert them to what the ops take.

Public functions and methods are wrapped by :func:`public`. The name of a parameter determines what it takes
(:data:`KINDS`), so a new function is covered as soon as it is public, and one with a parameter of an unknown name
cannot be wrapped. NumPy's names (``axis``, ``keepdims``) are accepted besides PyTorch's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from ..base import checks
from ..base.arrays import Array
from ..base.checks import shown
from ..errors import DTypeError, OptionError, ShapeError
from .dims import SymDim
from .opdef import AbstractTensor, first_tensor
from .types import DType, as_dtype, float32, float64

Check: TypeAlias = "Callable[[str, str, object, AbstractTensor | None], object]"

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "axis": ("dim", "dims", "axes"),
    "axes": ("dims", "dim"),
    "keepdims": ("keepdim",),
    "ddof": ("correction",),
    "unbiased": ("correction",),
    "dim": ("dims", "axes"),
    "dims": ("axes",),
    "split_size": ("split_size_or_sections",),
    "size": ("shape",),
    "sizes": ("shape",),
    "newshape": ("shape",),
    "repeats": ("sizes",),
    "reps": ("dims",),
    "input": ("x", "a"),
    "self": ("x", "a"),
    "A": ("x", "a"),
    "B": ("b",),
    "other": ("b",),
    "exponent": ("b",),
    "arrays": ("tensors",),
    "a_min": ("min",),
    "a_max": ("max",),
}
"""Other names for parameters, unless a function has parameters of these names."""

_LARGEST_FLOAT: Final = 1 << 1023
_BOOLS: Final = (bool, np.bool_)
_NUMBERS: Final = (int, float)
_OPERANDS: Final = (AbstractTensor, int, float, SymDim)
_LISTS: Final = (list, tuple)
_ARRAYS: Final = (np.ndarray, np.generic, list, tuple, range)

_eager: list[AbstractTensor] = []


def set_eager_world(tensor: AbstractTensor) -> None:
    """Set the tensor that determines how functions of arrays only are applied."""
    _eager[:] = [tensor]


def as_array(owner: str, data: object, dtype: object = None) -> Array:
    """A copy of ``data`` as an array of a supported element type, native byte order and the memory order it has.

    Parameters
    ----------
    owner
        For messages.
    data
        Nested numbers, an array, or what has ``__array__``.
    dtype
        Element type; when omitted that of an array, float32 for Python floats, int64 for ints.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    try:
        if type(data) is not np.ndarray and hasattr(data, "__array__"):
            # no copy is asked for: an older ``__array__`` has no such argument
            data = np.asarray(data)
        array = np.array(data, dtype=wanted, order="K" if isinstance(data, np.ndarray) else "C")
    except OverflowError as error:
        raise DTypeError(f"{owner}: {shown(data)} holds a number that does not fit its element type") from error
    except (ValueError, TypeError) as error:
        if isinstance(data, np.ndarray) or dtype is not None:
            raise DTypeError(f"{owner}: cannot make numbers of {shown(data)}: {error}") from error
        raise ShapeError(f"{owner}: rows of different lengths are no tensor: {shown(data)}") from error
    if array.dtype.kind not in "fbiu":
        raise DTypeError(f"{owner}: a tensor holds numbers, not {array.dtype}: {shown(data)}")
    if wanted is None:
        python_floats = array.dtype == float64 and not hasattr(data, "dtype")
        wanted = float32 if python_floats else as_dtype(array.dtype)
    return array if array.dtype == wanted and array.dtype.isnative else array.astype(wanted)


def _world(owner: str, world: AbstractTensor | None) -> AbstractTensor:
    return world if world is not None else _eager[0]


def tensor(owner: str, name: str, value: object, world: AbstractTensor | None) -> AbstractTensor:
    """A tensor, or an array or nested list that becomes one."""
    if isinstance(value, AbstractTensor):
        return value
    if isinstance(value, _LISTS) and any(isinstance(item, AbstractTensor) for item in value):
        raise DTypeError(f"{owner}: {name} is a {type(value).__name__} of tensors; make them one with lucid.stack")
    if isinstance(value, _ARRAYS) or hasattr(type(value), "__array__"):
        return _world(owner, world).constant(as_array(owner, value))
    raise DTypeError(f"{owner}: {name} must be a tensor or an array, got {shown(value)} ({type(value).__name__})")


def index(owner: str, name: str, value: object, world: AbstractTensor | None) -> AbstractTensor:
    """As :func:`tensor`; an empty list holds integers."""
    if isinstance(value, _LISTS) and not value:
        value = np.zeros(0, np.int64)
    return tensor(owner, name, value, world)


def state(owner: str, name: str, value: object, world: AbstractTensor | None) -> AbstractTensor | None:
    """A tensor that may be written to, or None."""
    if value is None or isinstance(value, AbstractTensor):
        return value
    raise OptionError(f"{owner}: {name} is updated in place, so it must be a tensor or None, got {shown(value)}")


def _check_size(owner: str, name: str, value: object) -> None:
    if isinstance(value, int) and not -_LARGEST_FLOAT < value < _LARGEST_FLOAT:
        raise DTypeError(f"{owner}: {name} is larger than any number that a tensor holds")


def operand(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """A tensor, array, nested list or real number."""
    _check_size(owner, name, value)
    if isinstance(value, _OPERANDS) or hasattr(value, "sym"):
        return value
    if isinstance(value, np.generic):
        as_array(owner, value)  # refuses complex numbers and other types
        return value
    return tensor(owner, name, value, world)


def condition(owner: str, name: str, value: object, world: AbstractTensor | None) -> AbstractTensor:
    """Booleans: a tensor, an array, a nested list, or a single bool."""
    if isinstance(value, AbstractTensor):
        if value.type.dtype != np.bool_:
            raise DTypeError(f"{owner}: the {name} must be bool, got {value.type}; a comparison makes one: {name} != 0")
        return value
    array = value if isinstance(value, _BOOLS) else as_array(owner, value)
    if np.result_type(array) != np.bool_:
        raise DTypeError(f"{owner}: {name} must hold bools, got {shown(value)}")
    return _world(owner, world).constant(np.array(array))


def number(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """A real number as a Python number, and not NaN."""
    if isinstance(value, AbstractTensor):
        value = value.item() if hasattr(value, "item") else value
    if isinstance(value, int) and not isinstance(value, bool):
        checks.number(owner, name, value)
        return value
    return checks.number(owner, name, value)


def scalar(owner: str, name: str, value: object, world: AbstractTensor | None) -> float:
    """A bool or a real number, including NaN and infinities."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, _NUMBERS):
        raise OptionError(f"{owner}: {name} is a number, got {shown(value)}")
    _check_size(owner, name, value)
    return value


def filling(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """As :func:`scalar`, or a tensor with one element."""
    return value if isinstance(value, AbstractTensor) else scalar(owner, name, value, world)


def order(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """The order of a norm; "fro" is PyTorch's name for the Euclidean and the Frobenius norm."""
    return 2.0 if isinstance(value, str) and value == "fro" else at_least_0(owner, name, value, world)


def bound(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """An operand that may be left out, and is not NaN."""
    if isinstance(value, float) and math.isnan(value):
        raise OptionError(f"{owner}: {name} is NaN, which is no bound")
    return operand(owner, name, value, world)


def correction(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """The number subtracted from the count; True and False are PyTorch's ``unbiased``."""
    return int(value) if isinstance(value, bool) else number(owner, name, value, world)


def at_least_0(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    return checks.number(owner, name, value, 0)


def share(owner: str, name: str, value: object, world: AbstractTensor | None) -> float:
    return checks.number(owner, name, value, 0, 1)


def flag(owner: str, name: str, value: object, world: AbstractTensor | None) -> bool:
    return checks.flag(owner, name, value)


def digits(owner: str, name: str, value: object, world: AbstractTensor | None) -> int:
    """The number of digits after the point, or (negative) before it."""
    return checks.integer(owner, name, value, -30, 30)


def whole(owner: str, name: str, value: object, world: AbstractTensor | None) -> int:
    return checks.integer(owner, name, value, -checks.LARGEST)


def size(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """An integer, possibly symbolic."""
    if isinstance(value, SymDim) or hasattr(type(value), "sym") or isinstance(getattr(value, "sym", None), SymDim):
        return value
    return whole(owner, name, value, world)


def string(owner: str, name: str, value: object, world: AbstractTensor | None) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{owner}: {name} is a string, got {shown(value)}")
    return value


def several(owner: str, name: str, value: object, world: AbstractTensor | None) -> list[AbstractTensor]:
    """A list or tuple of tensors or arrays."""
    if isinstance(value, AbstractTensor):
        raise ShapeError(f"{owner}: needs a non-empty sequence of tensors, got one tensor")
    if not isinstance(value, _LISTS):
        raise OptionError(f"{owner}: {name} is a list or tuple of tensors, got {shown(value)}")
    inner = first_tensor((*value, world))
    return [tensor(owner, f"{name}[{i}]", item, inner) for i, item in enumerate(value)]


def sequence(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
    """A list or tuple, whose items the function checks itself."""
    if not isinstance(value, _LISTS):
        raise OptionError(f"{owner}: {name} is a list or tuple, got {shown(value)}")
    return value


def element_type(owner: str, name: str, value: object, world: AbstractTensor | None) -> DType:
    return as_dtype(value)


AS_THEY_ARE: Final[Mapping[Check, tuple[type, ...]]] = {
    **dict.fromkeys((tensor, index, bound), (AbstractTensor,)),
    operand: (AbstractTensor, float, bool),
    state: (AbstractTensor, type(None)),
    flag: (bool,),
    string: (str,),
    sequence: (list, tuple),
}
"""Types whose values a check always accepts unchanged, so that it need not be called."""

LEAVE: Final = None
"""For parameters that the functions check themselves: axes, shapes and window arguments."""

KINDS: Final[Mapping[str, Check | None]] = {
    **dict.fromkeys(("x", "input", "target", "weight", "bias", "pos_weight", "operands"), tensor),
    **dict.fromkeys(("running_mean", "running_var"), state),
    **dict.fromkeys(("a", "b"), operand),
    **dict.fromkeys(("min", "max"), bound),
    **dict.fromkeys(("condition", "mask"), condition),
    **dict.fromkeys(("index", "indices"), index),
    **dict.fromkeys(("alpha", "beta", "threshold", "negative_slope", "min_val", "max_val"), number),
    **dict.fromkeys(("momentum", "delta", "rtol", "atol"), number),
    "correction": correction,
    **dict.fromkeys(("eps", "p"), at_least_0),
    "label_smoothing": share,
    "value": scalar,
    **dict.fromkeys(("keepdim", "ceil_mode", "count_include_pad", "log_target", "equal_nan", "return_indices"), flag),
    **dict.fromkeys(("training", "use_input_stats", "inplace"), flag),
    **dict.fromkeys(("approximate", "reduction", "mode", "equation", "rounding_mode", "padding_mode"), string),
    "tensors": several,
    "decimals": digits,
    "ignore_index": whole,
    "dtype": element_type,
    **dict.fromkeys(("pad", "sizes"), sequence),
    **dict.fromkeys(("dim", "dims", "dim0", "dim1", "axes", "start_dim", "end_dim", "shape", "source"), LEAVE),
    **dict.fromkeys(("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"), LEAVE),
    **dict.fromkeys(("groups", "num_groups", "divisor_override", "chunks", "repeats", "shifts"), LEAVE),
    **dict.fromkeys(("split_size_or_sections", "start", "length", "normalized_shape", "pad_value"), LEAVE),
    **dict.fromkeys(("padding_idx", "upscale_factor", "downscale_factor"), LEAVE),
    "num_classes": size,
    "diagonal": whole,
}


def _optional(check: Check) -> Check:
    def checked(owner: str, name: str, value: object, world: AbstractTensor | None) -> object:
        return None if value is None else check(owner, name, value, world)

    return checked


def public(function: Callable[..., object], name: str | None = None, **special: Check | None) -> Callable[..., Any]:
    """The function with checked and converted arguments.

    Parameters
    ----------
    function
        Its parameters' names are among :data:`KINDS`; a default of None means that None may be given.
    name
        Its name in messages, by default that of the function.
    **special
        Checks for parameters of other names, or of another kind than usual.
    """
    takes = _Parameters(function, name or function.__name__.rstrip("_"), special)
    passing, as_they_are, operands, count = takes.passing, takes.as_they_are, takes.operands, len(takes.checks)

    @functools.wraps(function)
    def face(*args: object, **kwargs: object) -> object:
        if (
            all(map(isinstance, args, as_they_are))
            and (not operands or len(args) <= count)
            and (not kwargs or all(map(isinstance, kwargs.values(), [passing.get(one, ()) for one in kwargs])))
        ):
            return function(*args, **kwargs)
        args, kwargs = takes.checked(args, kwargs)
        return function(*args, **kwargs)

    return face


def apart(face: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose result always has its own memory, as in PyTorch, and is no argument or view of one."""

    @functools.wraps(face)
    def call(*args: object, **kwargs: object) -> Any:
        return face(*args, **kwargs).apart((*args, *kwargs.values()))

    return call


def _spread(operands: tuple[object, ...]) -> Sequence[object]:
    """Operands; a list of tensors in their place is accepted too, as in PyTorch."""
    first = operands[0]
    listed = (
        len(operands) == 1 and isinstance(first, list | tuple) and any(isinstance(x, AbstractTensor) for x in first)
    )
    return first if listed else operands  # type: ignore[return-value]  # it is a list


class _Parameters:
    """The parameters of a function.

    Attributes
    ----------
    found, passing
        For each parameter its check, and the types whose values that accepts unchanged.
    checks, as_they_are
        The same for positional parameters, in order.
    operands
        Whether further arguments are tensors; otherwise they are shapes and axes.
    """

    def __init__(self, function: Callable[..., object], owner: str, special: Mapping[str, Check | None]) -> None:
        code = function.__code__
        self.owner = owner
        self.found, self.passing = _taken(function, special)
        self.checks = tuple(self.found.values())[: code.co_argcount]
        self.as_they_are = tuple(self.passing.values())[: code.co_argcount]
        self._spread = code.co_varnames[len(self.found)] if code.co_flags & 0x04 else None
        self.operands = self._spread == "operands"

    def checked(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments in the form that the function takes, by its own names."""
        owner, count = self.owner, len(self.checks)
        if not kwargs.keys() <= self.found.keys():
            known = self.found if self._spread is None else {**self.found, self._spread: None}
            kwargs = _renamed(owner, known, kwargs)
            if self._spread in kwargs and len(args) == count:
                args = (*args, kwargs.pop(self._spread))
        world = first_tensor(args)
        if world is None and kwargs:
            world = first_tensor(kwargs.values())
        taken = [
            value if check is None or isinstance(value, types) else check(owner, one, value, world)
            for one, check, types, value in zip(self.found, self.checks, self.as_they_are, args, strict=False)
        ]
        if len(args) > count:
            rest = args[count:]
            taken.extend([tensor(owner, "operand", v, world) for v in _spread(rest)] if self.operands else rest)
        for one, value in kwargs.items():
            check = self.found.get(one)
            if check is not None:
                kwargs[one] = check(owner, one, value, world)
        return tuple(taken), kwargs


def _taken(
    function: Callable[..., object], special: Mapping[str, Check | None]
) -> tuple[dict[str, Check | None], dict[str, tuple[type, ...]]]:
    """For each parameter its check, and the types whose values that accepts unchanged."""
    code, last = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    defaults = dict(zip(positional[len(positional) - len(last) :], last, strict=True)) | (function.__kwdefaults__ or {})
    found: dict[str, Check | None] = {}
    passing: dict[str, tuple[type, ...]] = {}
    for one in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        check = special[one] if one in special else KINDS[one]
        found[one], passing[one] = check, (object,) if check is None else AS_THEY_ARE.get(check, ())
        if check is not None and one in defaults and defaults[one] is None:
            found[one], passing[one] = _optional(check), (*passing[one], type(None))
    return found, passing


def _renamed(owner: str, known: Mapping[str, object], given: dict[str, object]) -> dict[str, object]:
    """Keyword arguments by the names that the function has."""
    renamed: dict[str, object] = {}
    for name, value in given.items():
        real = name
        if name not in known:
            real = next((other for other in ALIASES.get(name, ()) if other in known), name)
        if real in renamed or (real != name and real in given):
            raise OptionError(f"{owner}: {name} is another name for {real}; give one of them")
        renamed[real] = value
    return renamed
