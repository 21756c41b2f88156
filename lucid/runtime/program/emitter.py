"""The interface through which a kernel writes its part of a program.

A kernel is a function that receives an :class:`Emitter` for one node and writes Python lines through
it. The same kernel serves eager calls (a function of one node) and compiled plans (a program of many),
because each line goes to a part of the program that depends on the phase of the arrays it reads:

=========  ==============================================  ====================================
phase      what is known                                   when lines run
=========  ==============================================  ====================================
``STATE``  values that depend on parameters only           again when a parameter changed
``ARENA``  addresses; contents change at every run         views are made once, work at each run
``CALL``   nothing until the call (the caller's arrays)    everything at each run
=========  ==============================================  ====================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...base.structs import struct
from ...errors import GraphError
from ...graph.fields import check_attrs, plain
from ...graph.ir import Node
from ...graph.opdef import Attrs
from ...graph.types import DType, TensorType
from ..planning.phase import Phase
from ..workers.threads import parallel
from .names import Names
from .statement import Code, Statement, marked, names_in, unmarked
from .views import COPIES, as_view

if TYPE_CHECKING:  # Python's own has a default from 3.13
    from typing_extensions import TypeVar as TypeVarWithDefault

    E = TypeVarWithDefault("E", bound=Attrs, default=Any)
else:
    E = TypeVar("E", bound=Attrs)


@struct(eq=False)
class Operand:
    """An array in the generated source; formats as its name, marked as such (:mod:`.statement`).

    Attributes
    ----------
    name
        Identifier in the source.
    type
        Concrete type; ``type.order`` is its memory order.
    phase
        When its address is known.
    base
        The operand whose memory it shares, or None if it has memory of its own.
    persistent
        Keeps its content between runs (packed weights), so it has no place in the arena.
    contiguous
        Known to be laid out in ``type.order`` without gaps; nothing is known of the caller's arrays.
    kept
        Keeps its place in the arena, and its content, from one run to the next.
    born
        The kernel's line creates the array, so none is allocated before.
    value
        The number that all its elements equal, if that is known when the program is written.
    """

    name: str
    type: TensorType
    phase: Phase
    base: Operand | None = None
    persistent: bool = False
    contiguous: bool = True
    kept: bool = False
    born: bool = False
    value: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.concrete

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def root(self) -> Operand:
        """The operand that owns the memory."""
        operand = self
        while operand.base is not None:
            operand = operand.base
        return operand

    def __str__(self) -> str:
        return marked(self.name)


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple(order.index(axis) for axis in range(len(order)))


class Emitter(Generic[E]):
    """Writes the lines of one node. ``Emitter[ConvAttrs]`` says which attributes that has.

    Attributes
    ----------
    node, name
        The node and its name in the graph.
    attrs
        Its attributes (concrete).
    ins, outs
        Its operands. An output that nobody reads is None.
    threads
        How many threads a kernel may share its work over.
    way
        The ``block`` of the chosen :class:`~lucid.runtime.planning.registry.Way`: how to cut the work. None if the
        lowering has a single way.
    exact
        Whether sums must round like those of one whole product by BLAS.
    lasting
        Whether parameters stay the same for many runs.
    last
        Whether the node overwrites a parameter that it reads, so that none of its work may be repeated.
    workers
        The number of workers that share the work.
    code
        The statements written so far.
    buffers
        Working memory the kernel asked for.
    overwritable
        ``(output, input)`` pairs: the output may take the input's memory if that is not read later.
    kept
        Pairs for which it may not, whatever ``overwritable`` says.
    inner
        The steps of each region that the node runs, by the field that holds it.
    """

    def __init__(
        self,
        node: Node[E],
        name: str,
        names: Names,
        ins: Sequence[Operand],
        outs: Sequence[Operand | None],
        threads: int = 1,
        way: Any = None,
        exact: bool = False,
        lasting: bool = True,
        last: bool = False,
    ) -> None:
        check_attrs(node.op, node.attrs)
        self.node = node
        self.name = name
        self.attrs = node.attrs
        self.names = names
        self.ins = tuple(ins)
        self.outs: Any = tuple(outs)
        self.threads = threads
        self.way = way
        self.exact = exact
        self.lasting = lasting
        self.last = last
        self.workers = 1
        self.code = Code()
        self.buffers: list[Operand] = []
        self.overwritable: list[tuple[int, int]] = []
        self.kept: set[tuple[int, int]] = set()
        self.inner: dict[str, tuple[object, ...]] = {}
        self.volatile = {x.name for x in (*ins, *outs) if x is not None and x.phase is Phase.CALL}
        """Names that refer to another object in each call."""
        self._once = all(x.phase is Phase.STATE for x in ins) and all(y is None or y.phase is Phase.STATE for y in outs)

    # ------------------------------------------------------------ lines

    def line(self, text: str) -> None:
        """Write a line (or an indented block) that computes."""
        self._compute(text)

    def take(self, statements: Iterable[Statement]) -> None:
        """Add lines that an emitter for a part of the node has written, as lines that compute."""
        for statement in statements:
            self._compute(statement.line, *statement.writes, workers=statement.workers)

    def take_as_they_are(self, statements: Iterable[Statement]) -> None:
        """Add the steps of a region, as part of the work of this node at each run."""
        self.code.run.extend(statements)

    def _compute(self, text: str, *writes: str, workers: int = 0) -> None:
        where, phase = (self.code.prepare, Phase.STATE) if self._once else (self.code.run, Phase.CALL)
        where.append(Statement.of(text, phase, *writes, workers=workers))

    def check_written(self) -> None:
        """Raise if no line names a result, as the kernel has then forgotten to write it."""
        outs = [y.name for y in self.outs if y is not None and 0 not in y.shape]
        if outs and set(names_in(self.code.all)).isdisjoint(outs):
            raise GraphError(
                f"the kernel of {self.node.op.name} writes no line with its result: "
                f'k.line(f"np.…({{x}}, out={{y}})") for y in k.outs'
            )

    def call(self, function: str, out: Operand) -> None:
        """Write a line ``function(..., out=out)``; an array that is new in each call is assigned the result instead.

        ``function`` is an unfinished call, without the closing parenthesis: ``f"np.add({x}, 1"``.
        """
        if out.phase is Phase.CALL and out.base is None and out in self.outs:
            out.born = True
            self._compute(f"{out} = {function})", out.name)
        else:
            self.line(f"{function}, out={out})")

    def use(self, thing: object, base: str | None = None) -> str:
        """The name under which the program calls a helper or reads a constant array."""
        return self.names.use(thing, base)

    @staticmethod
    def number(value: float) -> str:
        """A number as source, also infinities and NaN, which Python has no literals for. Anything else is refused."""
        value = plain(value)
        if type(value) is float and not math.isfinite(value):
            return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
        if type(value) not in (bool, int, float):
            raise GraphError(f"a {type(value).__name__} is no number that a program could hold")
        return repr(value)

    @contextmanager
    def once(self, *reads: Operand) -> Iterator[None]:
        """A context whose lines and scratch run once per change of the parameters, if ``reads`` depend on these only.

        Otherwise they run with all other lines: a weight that is itself computed is packed at each run.
        """
        before = self._once
        self._once = before or all(x.phase is Phase.STATE for x in reads)
        try:
            yield
        finally:
            self._once = before

    def shared(self, function: str, workers: int, body: Sequence[str], *, resumed: bool = False) -> None:
        """Define a function of ``worker``, and have all workers call it at the same time.

        The workers may be processes if everything the function reads keeps its address from run to run. A node that
        overwrites what it reads (``last``) is shared only if the function is ``resumed``: called again for a worker, it
        continues where the first call left off.
        """
        lines = "\n".join([f"def {function}(worker):", *(f"    {line}" for text in body for line in text.splitlines())])
        defined = Statement.of(lines, Phase.ARENA, function, workers=workers)
        if self._once or not self.volatile.isdisjoint(defined.names):
            self._compute(f"{lines}\n{self.use(parallel)}({function}, {workers})", function, workers=workers)
        elif self.last and not resumed:
            self.code.bind.append(defined)
            self.line("\n".join(f"{function}({worker})" for worker in range(workers)))
            return
        else:
            self.code.bind.append(defined)
            self.line(f"{'complete' if self.last else 'share'}({len(self.names.regions)})")
            self.names.regions.append((unmarked(function), workers))
            self.names.early += not self.last
        self.workers = max(self.workers, workers)

    # ------------------------------------------------------------ arrays

    def scratch(
        self, shape: Sequence[int], dtype: DType, base: str = "tmp", order: tuple[int, ...] | None = None
    ) -> Operand:
        """Uninitialised working memory whose axes are in ``order`` in memory; its content is lost after the node."""
        phase = Phase.STATE if self._once else Phase.ARENA
        type_ = TensorType(tuple(int(d) for d in shape), dtype, order)
        operand = Operand(self.names.unique(f"{self.name}_{base}"), type_, phase, persistent=self._once)
        self.buffers.append(operand)
        return operand

    def adopt(self, buffers: Iterable[Operand]) -> None:
        """Take over working memory that an emitter for a part of the node asked for, as from :meth:`scratch`."""
        phase = Phase.STATE if self._once else Phase.ARENA
        self.buffers.extend(replace(buffer, phase=phase, persistent=self._once) for buffer in buffers)

    def filled(self, shape: Sequence[int], dtype: DType, value: str, base: str = "filled") -> Operand:
        """Working memory filled with ``value`` (source text) before the first run; no other node writes to it."""
        operand = self.scratch(shape, dtype, base)
        operand.kept = True
        where, phase = (self.code.prepare, Phase.STATE) if self._once else (self.code.bind, Phase.ARENA)
        where.append(Statement.of(f"{operand}.fill({value})", phase))
        return operand

    def zeroed(self, shape: Sequence[int], dtype: DType, base: str = "zeroed") -> Operand:
        """Working memory that is zero before the first run; no other node writes to it."""
        return self.filled(shape, dtype, "0", base)

    def view(
        self, base: Operand, expression: str, shape: Sequence[int], *, order: tuple[int, ...] | None = None,
        contiguous: bool = False, label: str = "view",
    ) -> Operand:  # fmt: skip
        """An array that shares ``base``'s memory; made only once if the address is known before the call.

        Parameters
        ----------
        base
            Whose memory it is.
        expression
            Python source that yields it, for instance ``f"{x}[:, 1:]"``.
        shape
            Its shape.
        order, contiguous
            Its memory order, and whether it has no gaps.
        label
            Hint for its name.
        """
        type_ = TensorType(tuple(int(d) for d in shape), base.dtype, order)
        name = self.names.unique(f"{self.name}_{label}")
        self.define(marked(name), expression, base.phase)
        return Operand(name, type_, base.phase, base=base, contiguous=contiguous, value=base.value)

    def define(self, name: str, expression: str, phase: Phase) -> None:
        """Assign an expression to a name (or several, in parentheses), as soon as what it reads has an address.

        Raises
        ------
        GraphError
            If it is assigned once for many runs and might be a copy (``x.reshape(...)``): see :meth:`seen`.
        """
        copies = [text for text in COPIES if text in expression] if phase is not Phase.CALL else []
        if copies:
            raise GraphError(
                f"{self.name}: {unmarked(f'{name} = {expression}')} is bound once, and {copies[0]!r} may copy what "
                f"changes later: use k.seen or k.reshaped, or compute it by k.line"
            )
        statement = Statement.assignment(name, expression, phase)
        self.code.setup(phase).append(statement)
        if phase is Phase.CALL:
            self.volatile.update(statement.writes)

    def alias(self, output: int, expression: str, *, contiguous: bool = False) -> None:
        """Declare the output a view of the first input, which takes neither memory nor time."""
        out, x = self.outs[output], self.ins[0]
        out.base, out.phase, out.contiguous = x, x.phase, contiguous
        self.define(str(out), expression, x.phase)

    def may_overwrite(self, output: int, *inputs: int) -> None:
        """Let the output take the memory of one of these inputs, as element i is read before it is written."""
        if not 0 <= output < len(self.outs) or not all(0 <= slot < len(self.ins) for slot in inputs):
            raise GraphError(
                f"the kernel of {self.node.op.name} lets output {output} overwrite {', '.join(map(str, inputs))}, "
                f"of {len(self.outs)} outputs and {len(self.ins)} inputs"
            )
        self.overwritable.extend((output, slot) for slot in inputs)

    def must_not_overwrite(self, output: int, slot: int) -> None:
        """Forbid the output this input's memory, whatever :meth:`may_overwrite` allows."""
        self.kept.add((output, slot))

    def permuted(self, x: Operand, axes: tuple[int, ...], label: str = "t") -> Operand:
        """``x`` with its axes permuted, as a view; ``x`` itself if nothing changes."""
        if axes == tuple(range(len(axes))):
            return x
        shape = [x.shape[axis] for axis in axes]
        memory = x.type.order or tuple(range(x.type.rank))
        order: tuple[int, ...] | None = tuple(axes.index(axis) for axis in memory)
        if order == tuple(range(len(axes))):
            order = None
        return self.view(
            x, f"{x}.transpose({', '.join(map(str, axes))})", shape, order=order, contiguous=x.contiguous, label=label
        )

    def stage(self) -> None:
        """Replace the caller's arrays in ``ins`` by copies in the arena, whose addresses stay the same."""
        staged = []
        for x in self.ins:
            copy = x
            if x.phase is Phase.CALL:
                copy = self.scratch(x.shape, x.dtype, "staged", x.type.order)
                self.line(f"{copy}[...] = {x}")
            staged.append(copy)
        self.ins = tuple(staged)

    def laid_out(self, x: Operand, order: tuple[int, ...] | None = None, label: str = "packed") -> Operand:
        """``x`` laid out in ``order`` without gaps: itself, or a copy made before the next line.

        The caller's arrays are copied only if their layout differs.
        """
        if x.contiguous and x.type.order == order:
            return x
        if x.phase is Phase.CALL:
            turned, back = ("", "") if order is None else (f".transpose{order}", f".transpose{inverse(order)}")
            text = f"np.asarray({x}{turned}, order='C'){back}"
            return self.view(x, text, x.shape, order=order, contiguous=True, label=label)
        with self.once(x):
            copy = self.scratch(x.shape, x.dtype, label, order)
            self.line(f"{copy}[...] = {x}")
        return copy

    def seen(self, expression: object, shape: Sequence[int]) -> str:
        """Source that views an array in another shape, and raises when run if that would need a copy."""
        return f"{self.use(as_view)}({expression}, {tuple(int(d) for d in shape)})"

    def reshaped(self, x: Operand, shape: Sequence[int], label: str = "flat") -> Operand:
        """``x``, which is only read, in another shape: a view of it, or of a copy if it is not row-major."""
        return self.target(self.laid_out(x), shape, label)

    def target(self, y: Operand, shape: Sequence[int], label: str = "out") -> Operand:
        """``y``, which may be written, in another shape; ``y`` itself if it has that shape."""
        shape, row_major = tuple(int(d) for d in shape), y.contiguous and y.type.order is None
        if row_major and shape == y.shape:
            return y
        # a view that is made at each call is made in the quickest way
        seen = f"{y}.reshape({shape})" if row_major and y.phase is Phase.CALL else self.seen(y, shape)
        return self.view(y, seen, shape, contiguous=True, label=label)
