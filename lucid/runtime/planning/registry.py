"""The registry of kernels by op. An op may have several lowerings, and a lowering several ways to cut the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import InitVar, dataclass, field
from types import ModuleType
from typing import Any, Generic, TypeAlias, TypeVar

from ...base.checks import shown
from ...base.lazy import import_unhindered
from ...base.structs import struct
from ...errors import GraphError, LucidError, OptionError, from_handler
from ...graph.ir import Node
from ...graph.opdef import A, OpDef
from ...graph.types import TensorType
from .machine import kept_for_machine, this_machine
from .work import NOTHING, Work, seconds


@dataclass(frozen=True)
class Way:
    """A way to cut the work of a node into blocks.

    Parameters
    ----------
    work
        The work of the busiest worker. Only its time is stored, since the ways of many nodes are cached.
    once
        Further work, done only when the weights change.

    Attributes
    ----------
    block
        Describes the cut to the kernel, as ``k.way``; formats as a few words.
    seconds
        Predicted time of ``work`` on the machine that is planned for.
    flops
        Multiplications and additions of ``work``.
    before
        Predicted seconds of ``once``.
    """

    work: InitVar[Work]
    block: Any = None
    once: InitVar[Work] = NOTHING
    seconds: float = field(init=False)
    flops: float = field(init=False)
    before: float = field(init=False)

    def __post_init__(self, work: Work, once: Work) -> None:
        object.__setattr__(self, "seconds", seconds(work, this_machine()))
        object.__setattr__(self, "flops", work.flops)
        object.__setattr__(self, "before", seconds(once, this_machine()))

    @property
    def each_run(self) -> Way:
        """The same way, for weights that change at each run: ``once`` is then part of each run."""
        way = copy(self)
        object.__setattr__(way, "seconds", self.seconds + self.before)
        object.__setattr__(way, "before", 0.0)
        return way

    @classmethod
    def taking(cls, time: float) -> Way:
        """A way that takes this time (s), for a lowering that combines others."""
        way = cls(NOTHING)
        object.__setattr__(way, "seconds", time)
        return way


Kernel: TypeAlias = "Callable[..., None]"
"""Writes a node's part of a program, by means of an emitter (whose type planning does not know)."""

K = TypeVar("K", bound=Kernel)
Accepts: TypeAlias = "Callable[[Node[A], tuple[TensorType, ...]], bool]"
Does: TypeAlias = "Callable[[Node[A], tuple[TensorType, ...], int], Work]"
Ways: TypeAlias = "Callable[[Node[A], tuple[TensorType, ...], int], Sequence[Way]]"


@struct(frozen=True)
class Lowering(Generic[A]):
    """One way to run an op.

    Attributes
    ----------
    name
        As shown in a plan: ``numpy``, ``im2col``, ``winograd4``.
    emit
        The kernel.
    accepts
        Whether it can run a node with inputs of the given concrete types.
    ways
        How it can cut a node's work for a number of threads, each with its predicted time.
    exact
        It rounds like a plain sum of products.
    staged
        It needs arrays with fixed addresses: in a program its results are in the arena, and copied to the caller.
    ordered
        Its predicted times distinguish channels-last results from row-major ones.
    in_place
        For an element-wise op: it can overwrite its input, on any part of an array, without working memory.
    packs_weights
        It reads weights from a packed or shared copy, which does not pay if they change from run to run.
    transforms_weights
        It transforms weights during each run, which does not pay if they stay the same and could be packed once.
    reads_stored_weights
        It reads weights, its second input, in place, which does not pay if they are computed, in any memory order.
    spares
        It skips outputs that nothing reads; other lowerings may need the first.
    """

    name: str
    emit: Kernel
    accepts: Accepts[A]
    ways: Ways[A]
    exact: bool = True
    staged: bool = False
    ordered: bool = False
    in_place: bool = False
    packs_weights: bool = False
    transforms_weights: bool = False
    reads_stored_weights: bool = False
    spares: bool = False


@struct(frozen=True)
class Choice:
    """A lowering and a way for one node; formats as ``winograd4 (28 tiles)``."""

    lowering: Lowering
    way: Way

    def __str__(self) -> str:
        return self.lowering.name if self.way.block is None else f"{self.lowering.name} ({self.way.block})"


kernel_packages: list[ModuleType] = []
"""Packages whose import registers kernels; imported when the first kernel is looked up."""
kernel_homes: dict[str, ModuleType] = {}
"""Packages with the kernels of a few ops, by the module that declares the attributes of these ops.

Each is imported when a kernel of such an op is looked up: most programs need few of them.
"""
_KERNELS: dict[OpDef, list[Lowering]] = {}


def kernel(
    *ops: OpDef[A],
    lowering: str = "numpy",
    accepts: Accepts[A] = lambda node, inputs: True,
    cost: Does[A] = lambda node, inputs, threads: NOTHING,
    ways: Ways[A] | None = None,
    exact: bool = True,
    staged: bool = False,
    ordered: bool = False,
    in_place: bool = False,
    packs_weights: bool = False,
    transforms_weights: bool = False,
    reads_stored_weights: bool = False,
    spares: bool = False,
) -> Callable[[K], K]:
    """Register the decorated function as a lowering of the ops.

    It is called with an :class:`~lucid.runtime.program.emitter.Emitter`, and writes the lines that run a node.

    Parameters
    ----------
    *ops
        The ops that it runs.
    lowering
        Its name, as shown in a plan; unique for each op.
    accepts
        ``accepts(node, input_types)`` says whether it can run a node, with all sizes known; by default any.
    cost
        ``cost(node, input_types, threads)`` returns the :class:`~lucid.runtime.planning.work.Work` to be done, for a
        lowering with a single way; by default none.
    ways
        Instead of ``cost``: ``ways(node, input_types, threads)`` returns a :class:`Way` for each way to cut the work.
    exact, staged, ordered, in_place, packs_weights, transforms_weights, reads_stored_weights, spares
        See :class:`Lowering`.

    Raises
    ------
    GraphError
        If an op already has a lowering of that name, unless it is of the same module, which is imported again.
    """

    def only(node: Node[A], inputs: tuple[TensorType, ...], threads: int) -> Sequence[Way]:
        return (Way(cost(node, inputs, threads)),)

    def decorate(function: K) -> K:
        traits = exact, staged, ordered, in_place, packs_weights, transforms_weights, reads_stored_weights, spares
        made: Lowering[A] = Lowering(lowering, function, accepts, ways or only, *traits)
        for op in ops:
            if not isinstance(op, OpDef):
                raise OptionError(f"kernel: takes ops, got {shown(op)}")
            there = _KERNELS.setdefault(op, [])
            before = next((one for one in there if one.name == lowering), None)
            if before is not None:
                if not _imported_again(before.emit, function):
                    raise GraphError(f"{op.name} has a lowering named {lowering!r} already")
                there.remove(before)
            there.append(made)
        return function

    return decorate


def _imported_again(before: Kernel, function: Kernel) -> bool:
    """Whether both are of one module, whose import was interrupted (by Ctrl-C, say) and repeated."""
    old, new = ((getattr(one, "__module__", None), getattr(one, "__globals__", None)) for one in (before, function))
    return old[0] == new[0] and old[1] is not new[1]


def lowerings(op: OpDef) -> tuple[Lowering, ...]:
    """All lowerings of an op; empty for one that has only a decomposition."""
    for package in tuple(kernel_packages):
        import_unhindered(package.__name__)
        with suppress(ValueError):  # another thread was quicker
            kernel_packages.remove(package)
    home = kernel_homes.get(op.attrs.__module__)
    if home is not None:
        import_unhindered(home.__name__)
        kernel_homes.pop(op.attrs.__module__, None)
    return tuple(_KERNELS.get(op, ()))


def choices(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False, lasting: bool = True,
    stored: bool = False,
) -> list[Choice]:  # fmt: skip
    """All choices for a node, by increasing predicted time.

    ``lasting`` says that its weights stay the same for many runs; ``stored``, that they are a parameter
    or constant rather than computed, and so row-major.
    """
    plain = Node(node.op, node.attrs, node.outputs)
    return list(_choices(lowerings(node.op), plain, inputs, threads, exact, lasting, stored))


@kept_for_machine(1024)
def _choices(
    every: tuple[Lowering, ...], node: Node, inputs: tuple[TensorType, ...], threads: int, exact: bool, lasting: bool,
    stored: bool,
) -> tuple[Choice, ...]:  # fmt: skip
    if not every:
        raise GraphError(f"{node.op.name} has no kernel: lucid.extend.kernel registers one")
    exact = exact or node.attrs.exact
    allowed = [
        low for low in every
        if (low.exact or not exact)
        and not (low.transforms_weights if lasting else low.packs_weights)
        and (stored or not low.reads_stored_weights)
    ]  # fmt: skip
    fit = [low for low in allowed if low.accepts(node, inputs)]
    if not fit:
        listed = ", ".join(map(str, inputs))
        raise GraphError(f"{node.op.name}: no kernel accepts {node.attrs} on ({listed})")
    ways = ((low, way) for low in fit for way in _ways(low, node, inputs, threads))
    found = [Choice(low, way if lasting else way.each_run) for low, way in ways]
    return tuple(sorted(found, key=lambda choice: choice.way.seconds))


def _ways(low: Lowering, node: Node, inputs: tuple[TensorType, ...], threads: int) -> Sequence[Way]:
    """The ways of a lowering; raises if there are none, or if a predicted time is negative or NaN."""
    try:
        ways = low.ways(node, inputs, threads)
        if ways and all(way.seconds >= 0 for way in ways):  # false for NaN
            return ways
        wrong = f"predicts {', '.join(f'{way.seconds} s' for way in ways)}" if ways else "has no way to do it"
    except LucidError:
        raise
    except Exception as error:
        if from_handler(error):
            raise
        raise GraphError(f"{_called(low, node)} cannot say what it does: {error!r}; a cost is a Work") from error
    raise GraphError(f"{_called(low, node)} {wrong}; a cost is a Work whose counts are numbers from 0")


def _called(low: Lowering, node: Node) -> str:
    return f"{node.op.name}: its lowering {low.name!r}"


def choose(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False, lasting: bool = True,
    stored: bool = False,
) -> Choice:  # fmt: skip
    """The choice with the least predicted time."""
    return choices(node, inputs, threads=threads, exact=exact, lasting=lasting, stored=stored)[0]
