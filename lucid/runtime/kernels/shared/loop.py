"""The block loop: every worker takes its blocks of a node's work through all steps, while they are in its cache.

What a block reads and writes is bound once, as views; the program runs plain loops over them::

    loop = BlockLoop(k, deal(blocks, k.threads))
    memory = loop.scratch((size,), x.dtype, "windows")
    seen, matrix = loop.over(loop.bind("windows", bind_windows, conv, loop.blocks, x, memory), "seen", "matrix")
    loop.line(f"{matrix}[...] = {seen}")
    loop.emit()

How work is cut into blocks stands in :mod:`.cut`. Functions that bind are called by the program; they stand in files of
their own (``…_views.py``), which know arrays and geometry, and nothing of the compiler.
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
    """An object that a program binds once; formats as its name.

    Attributes
    ----------
    name
        Its name in lines.
    phase
        When it is known.
    """

    name: str
    phase: Phase

    def __str__(self) -> str:
        return self.name


def bind(k: Emitter, label: str, function: Callable[..., Any], *arguments: Any) -> Bound:
    """``function(*arguments)``, called as soon as all arrays among the arguments have an address.

    Operands, what is bound, and tuples of these are passed as they stand in the program, a string is source; numbers
    and None are written out; anything else is kept for the program.
    """
    phase = max((x.phase for x in _arrays(arguments)), default=Phase.STATE)
    text = ", ".join(_source(k, argument) for argument in arguments)
    return bind_source(k, label, f"{k.use(function)}({text})", phase)


def bind_source(k: Emitter, label: str, expression: str, phase: Phase) -> Bound:
    """The same for source."""
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
    """The source of a tuple of them."""
    return f"({''.join(f'{part}, ' for part in parts)})"


# ---------------------------------------------------------------- the loop


class BlockLoop(Generic[B]):
    """The loop over the blocks of a node, while its kernel writes it.

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
        """What ``function`` returns: for each worker a list of one thing for each of its blocks. See :func:`bind`."""
        return bind(self.k, label, function, *arguments)

    def over(self, bound: Bound, *names: str) -> tuple[str, ...]:
        """Loop variables that run over what is bound, its parts where these are several."""
        fresh = self.fresh(*names)
        self.known(bound, *fresh)
        return fresh

    def known(self, bound: Bound, *names: str) -> None:
        """The same under names that lines know already."""
        self._over.append((names[0] if len(names) == 1 else f"({', '.join(names)})", bound))

    def parts(self, bound: Bound, kind: type[N]) -> N:
        """The same for bound named tuples: the names of the variables, each in its field."""
        return kind._make(self.over(bound, *kind._fields))

    def each(self, name: str, function: Callable[..., Any], *arguments: Any) -> str:
        """One loop variable that runs over what ``function`` binds."""
        return self.over(self.bind(f"{name}s", function, *arguments), name)[0]

    def fresh(self, *names: str) -> tuple[str, ...]:
        """Names of variables for the lines of the body."""
        return tuple(map(self.k.names.fresh, names))

    def line(self, *lines: str) -> None:
        """Add lines (or indented blocks) that run for each block."""
        self.take(Statement.of(line, Phase.CALL) for line in lines)

    def take(self, statements: Iterable[Statement]) -> None:
        """Add lines that an emitter for a part of the node has written."""
        self.body += statements

    def for_each(self, names: Sequence[object], source: object, *lines: str) -> None:
        """An inner loop: ``lines`` for all in ``source``."""
        self.line(f"for {', '.join(map(str, names))} in {source}:\n{_indented(lines)}")

    def emit(self) -> None:
        """Write the loop, on as many workers as there are; plain lines where there is one block."""
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
    """``x`` without gaps, channels innermost if ``last``: itself, or a copy made before the next line."""
    return k.laid_out(x, CHANNELS_LAST if last else None, label)


def recheck(k: Emitter) -> None:
    """Apply the type rule to the concrete types: a symbolic size may have turned out too small."""
    k.node.op.infer_types(k.attrs, [x.type.with_order(None) for x in k.ins])
