"""The block loop: each worker takes one block after another through all steps, while it is in the cache.

Views of what each block reads and writes are made once; the program runs plain loops over them::

    loop = BlockLoop(k, deal(blocks, k.threads))
    memory = loop.scratch((size,), x.dtype, "windows")
    seen, matrix = loop.over(loop.bind("windows", bind_windows, conv, loop.blocks, x, memory), "seen", "matrix")
    loop.line(f"{matrix}[...] = {seen}")
    loop.emit()

Work is cut into blocks by :mod:`.cut`. The functions that make the views (``bind_windows`` above) are called by the
program; they are in files of their own (``…_views.py``), which know arrays and geometry, but not the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from ....base.structs import struct
from ....graph.types import CHANNELS_LAST, DType
from ...planning.phase import Phase
from ...program.emitter import Emitter, Operand
from ...program.statement import Statement

B = TypeVar("B")
N = TypeVar("N", bound=NamedTuple)


# ---------------------------------------------------------------- binding


@struct(frozen=True)
class Bound:
    """An object that a program makes once and gives a name; formats as the name.

    Attributes
    ----------
    name
        As written in lines.
    phase
        When it is made.
    """

    name: str
    phase: Phase

    def __str__(self) -> str:
        return self.name


def bind(k: Emitter, label: str, function: Callable[..., Any], *arguments: Any) -> Bound:
    """``function(*arguments)``, called as soon as all arrays among the arguments have an address.

    In the program's source, operands and bound objects appear by name, strings as they are, numbers and None as
    literals, and tuples or lists item by item; any other object is put into the program's namespace.
    """
    phase = max((x.phase for x in _arrays(arguments)), default=Phase.STATE)
    text = ", ".join(_source(k, argument) for argument in arguments)
    return bind_source(k, label, f"{k.use(function)}({text})", phase)


def bind_source(k: Emitter, label: str, expression: str, phase: Phase) -> Bound:
    """Bind the value of a source expression."""
    name = k.names.fresh(f"{k.name}_{label}")
    k.define(name, expression, phase)
    return Bound(name, phase)


def _arrays(arguments: Iterable[Any]) -> Iterator[Operand | Bound]:
    for argument in arguments:
        if isinstance(argument, Operand | Bound):
            yield argument
        elif type(argument) in (tuple, list):
            yield from _arrays(argument)


def _source(k: Emitter, argument: Any) -> str:
    if type(argument) in (tuple, list):
        return tuple_of(_source(k, part) for part in argument)
    if argument is None or isinstance(argument, Operand | Bound | str | bool | int):
        return str(argument)
    return k.use(argument, f"{k.name}_{type(argument).__name__.lower()}")


def tuple_of(parts: Iterable[object]) -> str:
    """The source of a tuple of these parts."""
    return f"({''.join(f'{part}, ' for part in parts)})"


# ---------------------------------------------------------------- the loop


class BlockLoop(Generic[B]):
    """The loop over the blocks of a node, as its kernel writes it.

    Attributes
    ----------
    k
        The node's emitter.
    work
        The blocks of each worker; not empty.
    body
        The lines that each block goes through.
    """

    def __init__(self, k: Emitter, work: Sequence[Sequence[B]]) -> None:
        self.k = k
        self.work = work
        self.body: list[Statement] = []
        self._over: list[tuple[str, Bound]] = []

    @cached_property
    def blocks(self) -> str:
        """The blocks of each worker, in the program."""
        return self.k.use(self.work, f"{self.k.name}_blocks")

    @property
    def every(self) -> list[B]:
        """The blocks of all workers."""
        return [block for mine in self.work for block in mine]

    @property
    def single(self) -> bool:
        """Whether there is one block, which needs no loop."""
        return len(self.work) == len(self.work[0]) == 1

    def scratch(
        self, shape: Sequence[int], dtype: DType, label: str, order: tuple[int, ...] | None = None
    ) -> tuple[Operand, ...]:
        """Working memory for each worker."""
        return tuple(self.k.scratch(shape, dtype, label, order) for _ in self.work)

    def zeroed(self, shape: Sequence[int], dtype: DType, label: str) -> tuple[Operand, ...]:
        """Working memory for each worker that is zero before the first run."""
        return tuple(self.k.zeroed(shape, dtype, label) for _ in self.work)

    def bind(self, label: str, function: Callable[..., Any], *arguments: Any) -> Bound:
        """Bind what ``function`` returns: for each worker a list with an item for each block. See :func:`bind`."""
        return bind(self.k, label, function, *arguments)

    def over(self, bound: Bound, *names: str) -> tuple[str, ...]:
        """Loop over the bound lists; returns the loop variable or, if the items are tuples, one for each part."""
        fresh = self.fresh(*names)
        self.named(bound, *fresh)
        return fresh

    def named(self, bound: Bound, *names: str) -> None:
        """:meth:`over` with variables of these very names, as lines contain them already."""
        self._over.append((names[0] if len(names) == 1 else f"({', '.join(names)})", bound))

    def parts(self, bound: Bound, kind: type[N]) -> N:
        """:meth:`over` for items that are named tuples: returns such a tuple, of variables."""
        return kind._make(self.over(bound, *kind._fields))

    def each(self, name: str, function: Callable[..., Any], *arguments: Any) -> str:
        """Loop over what ``function`` returns (see :meth:`bind`); returns the loop variable."""
        return self.over(self.bind(f"{name}s", function, *arguments), name)[0]

    def fresh(self, *names: str) -> tuple[str, ...]:
        """New names for variables of the body."""
        return tuple(map(self.k.names.fresh, names))

    def line(self, *lines: str) -> None:
        """Add lines (or indented blocks) to the body."""
        self.take(Statement.of(line, Phase.CALL) for line in lines)

    def take(self, statements: Iterable[Statement]) -> None:
        """Add statements, written by an emitter for a part of the node, to the body."""
        self.body += statements

    def for_each(self, names: Sequence[object], source: object, *lines: str) -> None:
        """Add an inner loop: ``lines`` for each item of ``source``."""
        self.line(f"for {', '.join(map(str, names))} in {source}:\n{_indented(lines)}")

    def emit(self) -> None:
        """Write the loop, shared by the workers; a single block needs no loop, only its lines."""
        workers = len(self.work)
        if self.single:
            for names, bound in self._over:
                self.k.define(names, f"{bound}[0][0]", bound.phase)
            self.k.take(self.body)
        elif workers == 1:
            self.k.line("\n".join(self._loop("0")))
        else:
            self.k.shared(self.k.names.fresh(f"{self.k.name}_loop"), workers, list(self._loop("worker")))

    def _loop(self, worker: str) -> Iterator[str]:
        names, lists = (", ".join(part) for part in zip(*((n, f"{b}[{worker}]") for n, b in self._over), strict=True))
        yield f"for {names} in {lists}:" if len(self._over) == 1 else f"for {names} in zip({lists}):"
        yield _indented(statement.line for statement in self.body)


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for text in lines for line in text.splitlines())


# ---------------------------------------------------------------- operands of window kernels


def channels_last(x: Operand) -> bool:
    return x.type.order == CHANNELS_LAST


def laid_out(k: Emitter, x: Operand, last: bool, label: str) -> Operand:
    """``x`` without gaps, channels last in memory if ``last``: itself, or a copy made before the next line."""
    return k.laid_out(x, CHANNELS_LAST if last else None, label)


def recheck(k: Emitter) -> None:
    """Check the concrete types by the op's type rule: a symbolic size may turn out too small."""
    k.node.op.infer_types(k.attrs, [x.type.with_order(None) for x in k.ins])
