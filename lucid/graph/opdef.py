"""Op definitions: attributes, type rule and gradient rule, in one place.

Kernels and references are registered elsewhere (``lucid.runtime``, ``lucid.reference``), keyed by the :class:`OpDef`.
An op is applied with :func:`apply`, which leaves the effect to the operands: a symbol adds a node to a graph, a tensor
computes at once. So a single Python function per op serves modules, gradient rules, passes and eager code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    overload,
)

import numpy as np

from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..base.structs import struct
from ..errors import DTypeError, GraphError, LucidError, PluginError, note_where
from .attrs import Attrs as Attrs
from .attrs import Bindable as Bindable
from .attrs import ConstArray as ConstArray
from .attrs import NoAttrs as NoAttrs
from .attrs import ParameterAttrs as ParameterAttrs
from .attrs import R as R
from .attrs import TypeAttrs as TypeAttrs
from .attrs import attributes as attributes
from .dims import Dim, SymDim
from .types import Shape, TensorType, flaw, widths_hint

if TYPE_CHECKING:
    from ..base import plugins
else:
    plugins = LazyModule("lucid.base.plugins")


class AbstractTensor:
    """What ops apply to: a symbol of a graph under construction, or an eager tensor."""

    __slots__ = ()

    @property
    def type(self) -> TensorType:
        """Shape and element type."""
        raise NotImplementedError  # each subclass has its own

    def apply(self, op: OpDef, attrs: Attrs, inputs: Sequence[object]) -> tuple[AbstractTensor, ...]:
        """Apply ``op`` to ``inputs``, as this operand does, and return its outputs."""
        raise NotImplementedError

    def constant(self, array: Array) -> AbstractTensor:
        """A copy of ``array`` as a value like this operand."""
        raise NotImplementedError

    def as_size(self) -> tuple[Dim, AbstractTensor]:
        """This scalar as a size (a number or, in a graph, a symbol of its own), and the scalar that determines it.

        The same computation from the same values is the same size.
        """
        raise NotImplementedError

    def is_found(self, size: Dim) -> bool:
        """Whether a size depends on data, here or in a graph around."""
        raise NotImplementedError

    def apart(self, others: Sequence[object]) -> Any:
        """The tensor, or a copy if it is one of the others, or shares memory with a tensor held elsewhere."""
        return self  # values of a graph have no memory

    def part_of(
        self, whole: object, take: Callable[..., AbstractTensor], see: Callable[[Array], Array], several: bool = False
    ) -> None:
        """Mark it as a view of ``whole``, as in PyTorch: ``take`` computes it, and ``see`` views the array.

        ``several`` says that several of its elements are one place in memory.
        """

    def record(
        self, types: Sequence[TensorType], *functions: Callable[..., Sequence[object]]
    ) -> tuple[tuple[Bindable, ...], tuple[AbstractTensor, ...]] | None:
        """Functions of values of these types as regions, and the values they capture; None if it computes at once."""
        raise NotImplementedError

    if TYPE_CHECKING:  # what all have from ``graph.operators``, which is made of the ops

        def __add__(self, other: Operand, /) -> AbstractTensor: ...
        def __radd__(self, other: Operand, /) -> AbstractTensor: ...
        def __sub__(self, other: Operand, /) -> AbstractTensor: ...
        def __rsub__(self, other: Operand, /) -> AbstractTensor: ...
        def __mul__(self, other: Operand, /) -> AbstractTensor: ...
        def __rmul__(self, other: Operand, /) -> AbstractTensor: ...
        def __truediv__(self, other: Operand, /) -> AbstractTensor: ...
        def __rtruediv__(self, other: Operand, /) -> AbstractTensor: ...
        def __pow__(self, other: Operand, /) -> AbstractTensor: ...
        def __neg__(self) -> AbstractTensor: ...
        def __eq__(self, other: object, /) -> AbstractTensor: ...  # type: ignore[override]
        def __ne__(self, other: object, /) -> AbstractTensor: ...  # type: ignore[override]
        def __lt__(self, other: Operand, /) -> AbstractTensor: ...
        def __le__(self, other: Operand, /) -> AbstractTensor: ...
        def __gt__(self, other: Operand, /) -> AbstractTensor: ...
        def __ge__(self, other: Operand, /) -> AbstractTensor: ...
        def __and__(self, other: Operand, /) -> AbstractTensor: ...
        def __or__(self, other: Operand, /) -> AbstractTensor: ...
        def __invert__(self) -> AbstractTensor: ...
        def __getitem__(self, key: object, /) -> AbstractTensor: ...
        def __bool__(self) -> bool: ...
        @property
        def sum(self) -> Callable[..., AbstractTensor]: ...
        @property
        def mean(self) -> Callable[..., AbstractTensor]: ...
        @property
        def reshape(self) -> Callable[..., AbstractTensor]: ...
        @property
        def permute(self) -> Callable[..., AbstractTensor]: ...
        @property
        def expand(self) -> Callable[..., AbstractTensor]: ...
        @property
        def squeeze(self) -> Callable[..., AbstractTensor]: ...
        @property
        def unsqueeze(self) -> Callable[..., AbstractTensor]: ...
        @property
        def gather(self) -> Callable[..., AbstractTensor]: ...
        def sum_to(self, shape: Shape) -> AbstractTensor: ...
        def piece(self, axis: int, start: Dim, size: Dim) -> AbstractTensor: ...


Operand: TypeAlias = "AbstractTensor | float | np.generic | SymDim | Array"
"""An operand of operators and functions: a tensor or symbol, a number, or an array."""

T = TypeVar("T", bound=AbstractTensor)


if TYPE_CHECKING:  # Python's own has a default from 3.13
    from typing_extensions import TypeVar as TypeVarWithDefault

    A = TypeVarWithDefault("A", bound=Attrs, covariant=True, default=Attrs)
else:
    A = TypeVar("A", bound=Attrs, covariant=True)


class Differentiate(Protocol):
    """Differentiates the graphs that a node runs."""

    def __call__(self, region: R, wanted: Sequence[bool], used: Sequence[bool], /) -> R:
        """The region of the gradients of one with respect to the ``wanted`` inputs.

        It takes the inputs, and then the cotangents of the outputs that are ``used``.
        """


@struct(frozen=True)
class GradContext(Generic[A]):
    """What a gradient rule knows about the node that the reverse walk visits.

    Attributes
    ----------
    attrs
        The node's attributes.
    inputs, outputs
        Symbols of the node's inputs and outputs.
    cotangents
        One symbol per output, the gradient of the objective with respect to it; None if nothing depends on the output
        (:meth:`dy` then makes zeros).
    wanted
        For each input, whether its gradient is used.
    """

    attrs: A
    inputs: tuple[AbstractTensor, ...]
    outputs: tuple[AbstractTensor, ...]
    cotangents: tuple[AbstractTensor | None, ...]
    wanted: tuple[bool, ...]
    zeros_like: Callable[[AbstractTensor], AbstractTensor]
    differentiate: Differentiate

    @property
    def dy(self) -> AbstractTensor:
        """Gradient with respect to the first output."""
        return self.cotangent(0)

    def cotangent(self, output: int) -> AbstractTensor:
        """Gradient with respect to one output; zeros if nothing depends on it."""
        found = self.cotangents[output]
        return self.zeros_like(self.outputs[output]) if found is None else found


Gradients: TypeAlias = "Sequence[AbstractTensor | None]"
"""One gradient for each input, None if none flows."""

GradientRule: TypeAlias = Callable[[GradContext[A]], Gradients]


class NoGradient:
    """Marks an op whose outputs are constant almost everywhere, or integers: no gradient flows through it."""

    def __repr__(self) -> str:
        return "NO_GRADIENT"


NO_GRADIENT: Final = NoGradient()

Exchange: TypeAlias = Literal["begins", "ends"]
Source: TypeAlias = Literal["input", "parameter", "constant"]
Family: TypeAlias = Literal[
    "input", "parameter", "constant", "gradient", "loss", "conv", "pool", "norm", "linear", "reduce", "shape", "random",
    "elementwise", "control", "other",
]  # fmt: skip

BatchRule: TypeAlias = Callable[..., "Sequence[AbstractTensor] | None"]

InferRule: TypeAlias = Callable[Concatenate[A, ...], "TensorType | tuple[TensorType, ...]"]


@struct(frozen=True, eq=False)
class OpDef(Generic[A]):
    """Definition of one operation.

    Attributes
    ----------
    name
        Unique name, as used in graphs, text and files.
    infer
        Type rule: ``infer(attrs, *input_types)`` returns the output type, or a tuple of them, and
        raises a :class:`LucidError` where the inputs do not fit. It is also the verifier.
    gradient
        ``rule(context)`` returns one symbol per input, or None where no gradient flows;
        :data:`NO_GRADIENT` for ops through which none ever does; or None for a composite op,
        whose gradient is that of its decomposition.
    decompose
        For composite (fused) ops: ``decompose(attrs, *symbols)`` emits the definition in simpler
        ops and returns the outputs. It is the op's meaning, reference and gradient.
    attrs
        Class of its attributes.
    inputs
        Names of the inputs; a last name that starts with ``*`` takes any number, one that ends in
        ``?`` may be absent.
    outputs
        Names of the outputs; None where their number depends on the attributes.
    batch
        ``rule(batch)`` applies it to batches of operands (:mod:`lucid.graph.batching`), where it is not element-wise.
    elementwise
        Output element i depends on (broadcast) element i of each input only.
    commutative
        The two inputs may be swapped.
    cheap
        Element-wise, and no slower than reading its operands.
    monotone
        Unary and non-decreasing, so it commutes with max pooling; or for which attributes it is (:meth:`rises`).
    root
        For a monotone op, the input whose result is 0: -inf if no result is negative, else 0.
    idempotent
        Unary, and applying it again changes nothing.
    activation
        Unary and element-wise, and a layer may apply it to its own result.
    activates
        It may end with an activation or have a floor: its attributes are an
        :class:`~lucid.graph.ops.fused_activation.Activated`.
    convolution
        A forward convolution, with or without fused ops. It can produce its result in either memory order.
    windowed
        It moves a window over images; if it has a weight, that is the window.
    channels_last
        It computes on images, and is fastest if channels are innermost in memory.
    view
        The output may share memory with the first input.
    put_back
        Of such: ``rule(attrs, x, part)`` is the first input as another value, of which the output is ``part``.
    centred
        It subtracts a mean, so its rounding error follows its largest input, however small the result is.
    conventional
        Its gradient differs from the derivative by convention (none for a padding row, straight through a rounding);
        or for which attributes it does (:meth:`has_slope`).
    gradient_only
        Its results are its first operands, and differ from them in the gradient only.
    kept
        How many of its last outputs exist for its gradient alone, and have no gradient themselves.
    pure
        Same inputs give same outputs; two equal nodes may be merged.
    random
        It draws different numbers at each run.
    regions
        It runs graphs held in its attributes (:mod:`lucid.graph.region`).
    finds
        Its attribute ``size`` is a symbol, whose value its last input gives at run time (:mod:`lucid.graph.stages`).
    exchange
        It begins or ends an all-reduce over a group of processes.
    source
        Where the value of a node that computes nothing comes from: a caller's ``"input"``, a ``"parameter"`` that may
        change between runs, or a ``"constant"`` of the graph.
    family
        Its kind in pictures, if that does not follow from the above.
    """

    name: str
    infer: InferRule[A]
    gradient: GradientRule[A] | NoGradient | None
    decompose: Callable[Concatenate[A, ...], object] | None = None
    attrs: type[A] = NoAttrs  # type: ignore[assignment]  # which A is where none is given
    inputs: tuple[str, ...] = ("x",)
    outputs: tuple[str, ...] | None = ("y",)
    batch: BatchRule | None = None
    elementwise: bool = False
    commutative: bool = False
    cheap: bool = False
    monotone: bool | Callable[..., bool] = False
    root: float | None = None
    idempotent: bool = False
    gradient_only: bool = False
    activation: bool = False
    activates: bool = False
    convolution: bool = False
    windowed: bool = False
    channels_last: bool = False
    view: bool = False
    put_back: Callable[..., AbstractTensor] | None = None
    centred: bool = False
    conventional: bool | Callable[..., bool] = False
    kept: int = 0
    pure: bool = True
    random: bool = False
    regions: bool = False
    finds: bool = False
    exchange: Exchange | None = None
    source: Source | None = None
    family: Family | None = None

    def infer_types(self, attrs: Attrs, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """Output types of this op applied to ``inputs``; checks their number, then the type rule."""
        self._check_arity(len(inputs))
        try:
            result = self.infer(attrs, *inputs)  # type: ignore[arg-type]  # verified to be of the class ``attrs``
        except DTypeError as error:
            hint = widths_hint(x.dtype for x in inputs)
            if not hint:
                raise
            raise DTypeError(f"{error}{hint}") from error
        except Exception as error:
            note_where(error, f"in the type rule of {self.name}")
            raise
        types = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(type_, TensorType) for type_ in types):
            gave = ", ".join(type(type_).__name__ for type_ in types)
            raise GraphError(f"{self.name}: its type rule gave {gave}; it returns a TensorType, or a tuple of them")
        if not types and self.outputs:
            raise GraphError(f"{self.name}: its type rule gave no type, for the results {', '.join(self.outputs)}")
        for wrong in filter(None, map(flaw, types)):
            raise GraphError(f"{self.name}: its type rule gave an impossible type: {wrong}")
        return types

    def rises(self, attrs: Attrs) -> bool:
        """Whether it is monotone with these attributes."""
        return self.monotone(attrs) if callable(self.monotone) else self.monotone

    def has_slope(self, attrs: Attrs) -> bool:
        """Whether its gradient rule gives the slope with these attributes."""
        by_convention = self.conventional(attrs) if callable(self.conventional) else self.conventional
        return not by_convention and not isinstance(self.gradient, NoGradient)

    def _check_arity(self, count: int) -> None:
        least, most = _arity(self.inputs)
        if count < least or (most is not None and count > most):
            wanted = str(least) if most == least else f"at least {least}" if most is None else f"{least} to {most}"
            raise GraphError(f"{self.name}: takes {wanted} inputs ({', '.join(self.inputs)}), got {count}")

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __deepcopy__(self, memo: object) -> OpDef:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return find_op, (self.name,)


@lru_cache(maxsize=1024)
def _arity(names: tuple[str, ...]) -> tuple[int, int | None]:
    """The least and the greatest number of inputs with these names; None for any number."""
    least = sum(1 for name in names if name[0] != "*" and name[-1] != "?")
    return least, None if names and names[-1][0] == "*" else len(names)


class UnaryTraits(TypedDict, total=False):
    """The traits of :class:`OpDef` that concern unary ops only."""

    monotone: bool | Callable[..., bool]
    root: float
    idempotent: bool
    activation: bool
    conventional: bool | Callable[..., bool]


_TABLE: dict[str, OpDef] = {}
_ADDED: set[str] = set()


def register(op: OpDef[A]) -> OpDef[A]:
    """Register an op; its name must be new."""
    if op.name in _TABLE:
        raise GraphError(f"an op named {op.name} is registered already")
    if op.gradient is None and op.decompose is None:
        raise GraphError(f"{op.name}: give a gradient rule, NO_GRADIENT or a decomposition")
    _TABLE[op.name] = op
    return op


def add(op: OpDef[A], *, replace: bool = False) -> OpDef[A]:
    """Register an op that is not Lucid's own; with ``replace``, in place of another such op of that name."""
    if replace and op.name in _ADDED:
        del _TABLE[op.name]
    register(op)
    _ADDED.add(op.name)
    return op


def added_ops() -> frozenset[str]:
    """Names of the ops that are not Lucid's own."""
    return frozenset(_ADDED)


def find_op(name: str) -> OpDef:
    """The op named ``name``, registered or provided by a plug-in.

    Raises
    ------
    GraphError
        If there is none.
    PluginError
        If the plug-in cannot be loaded, or does not register what it declares.
    """
    return _TABLE.get(name) or _of_plugin(name)


def _of_plugin(name: str) -> OpDef:
    plugin = plugins.find("op", name)
    if plugin is None:
        raise GraphError(
            f"unknown op {name!r}: it is not registered here, and nothing that is installed announces it. Where it is "
            f"one of yours, import the module that defines it, with its kernel, before"
        )
    found = plugin.load()
    if not isinstance(found, OpDef) or _TABLE.get(name) is not found:
        raise PluginError(f"{plugin} is not what it is announced as: an OpDef that is registered under that name")
    return found


def all_ops() -> tuple[OpDef, ...]:
    """Every registered op, in order of registration."""
    return tuple(_TABLE.values())


def first_tensor(values: Iterable[object]) -> AbstractTensor | None:
    """The first value that is a tensor or symbol, which determines how the op is applied."""
    for value in values:
        if isinstance(value, AbstractTensor):
            return value
    return None


@overload
def apply(op: OpDef, attrs: Attrs, *inputs: object, like: T) -> T: ...
@overload
def apply(op: OpDef, attrs: Attrs, first: T, /, *others: object) -> T: ...
def apply(op: OpDef, attrs: Attrs, *inputs: object, like: AbstractTensor | None = None) -> object:
    """Apply ``op``, and return its output, or a tuple of several (see :func:`apply_all`).

    Parameters
    ----------
    op, attrs
        What to apply.
    *inputs
        Symbols or tensors (at least one, unless ``like`` is given).
    like
        Operand in whose world a source op (no inputs) is applied.
    """
    world = like if like is not None else first_tensor(inputs)
    if world is None:
        given = ", ".join(type(x).__name__ for x in inputs) or "there are none"
        raise LucidError(f"{op.name}: none of its inputs is a tensor: {given}")
    if not isinstance(attrs, op.attrs):
        raise GraphError(f"{op.name}: its attributes are {op.attrs.__name__}, got {type(attrs).__name__}")
    outputs = world.apply(op, attrs, inputs)
    return outputs[0] if len(outputs) == 1 else outputs


def apply_all(op: OpDef, attrs: Attrs, first: T, *others: object) -> tuple[T, ...]:
    """Apply ``op``, and return a sequence of all its outputs."""
    return first.apply(op, attrs, (first, *others))  # type: ignore[return-value]  # what a T's world gives
