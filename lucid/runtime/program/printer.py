"""Prints a plan as a straight-line NumPy program, and compiles the source into functions.

The functions are nested: the further inside, the more often one is called::

    def program(parameters, kept, whole):  # once, and when a parameter is replaced
        def prepare(stale): ...   # when a parameter's content changed: packs it again
        def bind(arena, sharing):    # once for each run that goes on at the same time
            def blocks(worker): ...   # the share of one worker in a node
            def run(x): ...       # every time; share(i) has all workers call the i-th function;
                                  # "with whole" holds what overwrites parameters: complete(i) is share(i) there
            return run, ((blocks, 2),)
        return prepare, bind

Very long programs bind their names as globals of their own (:func:`apart`) instead of in closures.
"""

from __future__ import annotations

import linecache
import weakref
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from functools import cached_property, partial
from itertools import count, groupby, takewhile
from operator import itemgetter
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from ...base.checks import shown
from ...base.garbage import collection_paused, give_back_freed
from ...base.structs import struct
from ...errors import GraphError
from ...graph.region import spelled
from ..planning.phase import Phase
from ..workers.parts import BEGAN, ENDED, note
from ..workers.settings import private_bytes, shared_bytes
from ..workers.threads import parallel
from .emitter import Operand
from .marks import Marks
from .memory import ARENA, PACKED, WORKSPACE
from .names import quoted, remark
from .plan import Plan
from .statement import Statement, unmarked
from .step import Step
from .views import apart, place

Values: TypeAlias = "dict[str, tuple[Any, ...]]"

_numbers = count(1)

LONG_TEXT = 1 << 15
"""Characters of a program above which compiling it takes Python some ten megabytes, to be given back afterwards."""

CLOSURE_LIMIT = 1000
"""Steps above which a program binds globals: Python compiles a function in time quadratic in its closure's size."""


@struct(frozen=True)
class Source:
    """Generated source.

    Attributes
    ----------
    text
        The program; it needs only the names in ``namespace``.
    namespace
        The names it uses: ``np``, helpers, constant arrays.
    nodes
        Line number to the node that the line computes: its name, or a path to one in a region.
    filename
        Pseudo file name under which tracebacks show it.
    functions
        The first line of each function, as they follow one another.
    """

    text: str
    namespace: dict[str, Any]
    nodes: dict[int, tuple[str, ...]]
    filename: str
    functions: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def lines(self) -> Mapping[str, tuple[int, ...]]:
        """The line numbers of each node: first those of ``run``, then those of ``prepare``, then all others.

        Lines of a node in a region count for that node (by its path), and for the nodes that enclose it.
        """
        starts, names = [0, *self.functions.values()], ["", *self.functions]
        found: dict[str, list[tuple[bool, bool, int]]] = {}
        for line, path in self.nodes.items():
            function = names[bisect(starts, line) - 1]
            sort_key = function != "run", function != "prepare", line
            for end in range(1, len(path) + 1, 2):
                found.setdefault(spelled(path[:end]), []).append(sort_key)
        return {name: tuple(line for *_, line in sorted(keys)) for name, keys in found.items()}

    @collection_paused()
    def load(self, name: str) -> Callable[..., Any]:
        """Execute the definitions and return the function of this name; tracebacks show its text while it lives."""
        scope = dict(self.namespace)
        try:
            code = compile(self.text, self.filename, "exec")
        except SyntaxError as error:
            node = " > ".join(self.nodes.get(error.lineno or 0, ()))
            line = shown((error.text or "").strip())
            raise GraphError(f"the kernel of node {node!r} wrote what is no Python, {error.msg}: {line}") from error
        exec(code, scope)  # our own text, made by Printer from a verified graph
        if len(self.text) >= LONG_TEXT:
            give_back_freed()
        function: Callable[..., Any] = scope.pop(name)  # a function among its own globals would be a cycle
        self.show()
        # the callback is written in C: the function may be freed anywhere, and an interrupt in Python code be lost
        _shown[self.filename] = weakref.ref(function, partial(linecache.cache.pop, self.filename))
        return function

    def show(self) -> None:
        """Make the text available to tracebacks. Only the ``MOST_SHOWN`` programs made or failed last have theirs."""
        linecache.cache[self.filename] = (len(self.text), None, self.text.splitlines(True), self.filename)
        _shown[self.filename] = _shown.pop(self.filename, None)
        while len(_shown) > MOST_SHOWN:
            _hide(next(iter(_shown)))


MOST_SHOWN = 256
"""The most programs whose text is in ``linecache`` at the same time."""

_shown: dict[str, Any] = {}
"""Their file names, and the finalizer that removes the text when the function is collected."""


def _hide(filename: str) -> None:
    _shown.pop(filename, None)
    linecache.cache.pop(filename, None)


class Printer:
    """Collects indented lines and remembers which node each belongs to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.nodes: dict[int, tuple[str, ...]] = {}
        self.indent = 0
        self.assigned: list[str] = []
        self.functions: dict[str, int] = {}
        self.watch: Callable[[Step, Statement], str] | None = None
        """Returns the text of functions that workers call, if it is to be recorded which worker calls them."""

    def write(self, text: str, *node: str) -> None:
        """Write lines that belong to a node, given by its path.

        Raises
        ------
        GraphError
            If a character is not printable ASCII: the line might not be executed as it looks.
        """
        for line in unmarked(text).split("\n"):
            if not (line.isascii() and line.isprintable()):
                raise GraphError(f"a line of a program holds what would not be read as it is printed: {quoted(line)}")
            self.lines.append("    " * self.indent + line if line else "")
            if node:
                self.nodes[len(self.lines)] = node

    def assign(self, name: object, expression: str, *node: str) -> None:
        """Write a line that assigns to a variable of the current function."""
        self.write(f"{name} = {expression}", *node)
        self.assigned.append(unmarked(str(name)))

    def section(self, steps: Iterable[Step], part: str) -> None:
        """Write one part of every step's code, each under a comment that names its node."""
        for step in steps:
            statements: list[Statement] = getattr(step.code, part)
            if statements:
                self.write(f"# {remark(str(step))}", step.name)
                for statement in statements:
                    watched = self.watch is not None and statement.workers and part in ("bind", "run")
                    text = self.watch(step, statement) if self.watch and watched else statement.text
                    self.write(text, step.name, *statement.path)
                    self.assigned.extend(statement.writes)

    def define(self, header: str, body: Callable[[], None], apart: str | None = None) -> None:
        """Write a function; ``apart`` names the decorator that makes its assignments go to globals of its own."""
        if apart is not None:
            self.write(f"@{apart}")
        self.write(header)
        self.indent += 1
        before, outside = len(self.lines), self.assigned
        self.assigned = []
        if apart is not None:
            self.write("# (names assigned below)")
        body()
        if apart is not None:
            names = dict.fromkeys(self.assigned)
            if names:
                self.lines[before] = "    " * self.indent + f"global {', '.join(names)}"
        self.assigned = outside
        if all(line.lstrip().startswith("#") for line in self.lines[before:]):
            self.write("pass")
        self.indent -= 1

    def function(self, header: str, body: Callable[[], None], apart: str | None = None) -> None:
        """Write one of the program's own functions (not a worker's), and note where it begins."""
        name = header.removeprefix("def ").partition("(")[0]
        self.functions[name] = len(self.lines) + 1
        self.define(header, body, apart)

    def finish(self, name: str, namespace: dict[str, Any]) -> Source:
        filename = f"<lucid {name} {next(_numbers)}>"
        return Source("\n".join(self.lines) + "\n", namespace, self.nodes, filename, self.functions)


def _allocate(operand: Operand, names: Any) -> str:
    order = operand.type.order
    shape = operand.shape if order is None else tuple(operand.shape[axis] for axis in order)
    array = f"np.empty({shape}, {names.use(operand.dtype.type)})"
    back = "" if order is None else f".transpose({tuple(int(i) for i in np.argsort(order))})"
    return f"{operand} = {array}{back}"


@collection_paused()
def generate(
    plan: Plan, marks: Marks | None = None, values: Values | None = None, clock: Callable[[], float] = perf_counter
) -> Source:
    """The program of a plan.

    Parameters
    ----------
    plan
        What to print.
    marks
        If given, the program records there the time (s) at which each step of a run ended.
    values
        If given, the program puts copies of every step's outputs there, as soon as they are computed.
    clock
        Tells the time of marks.
    """
    out = Printer()
    out.write(f'"""NumPy program of a graph of {len(plan.graph)} nodes; arena {plan.arena_bytes} bytes."""')
    writer = _Writer(plan, out, marks, values, clock)
    header = "def program(parameters, kept=None):" if plan.updates is None else "def program(parameters, kept, whole):"
    out.define(header, writer.program, writer.own)
    out.watch = None  # a method of the writer, which refers to ``out``: they would form a cycle
    return out.finish("program", plan.names.namespace)


class _Writer:
    """Writes the nested functions, from outside to inside."""

    def __init__(
        self, plan: Plan, out: Printer, marks: Marks | None, values: Values | None, clock: Callable[[], float]
    ) -> None:
        self.plan, self.out, self.marks, self.values, self.clock = plan, out, marks, values, clock
        self.ends: list[str] = []
        """Variables with the times at which steps ended."""
        if marks is not None:
            marks.begin()
            if marks.parts is not None:
                out.watch = self.noted
        self.own = plan.names.use(apart) if len(plan.steps) > CLOSURE_LIMIT else None
        self._early: dict[Operand, str] = {}
        """Names of copies of new parameter values that are overwritten before they are stored."""

    def program(self) -> None:
        plan, out = self.plan, self.out
        for index, operand in enumerate(plan.parameters.values()):
            out.assign(operand, f"parameters[{index}]")
        sizes = [*(packing.nbytes for packing in plan.packings.all), plan.workspace_bytes]
        out.write(f"*packed, workspace = kept or map({plan.names.use(private_bytes)}, {tuple(sizes)})")
        for step in plan.steps:
            self._place(step, PACKED, WORKSPACE)
            out.section([step], "state")
        out.function(f"def prepare(stale=frozenset(range({len(sizes) - 1}))):", self.prepare)
        out.function("def bind(arena, sharing):", self.bind, self.own)
        out.write("return prepare, bind")

    def prepare(self) -> None:
        for step in self.plan.steps:
            needed = self.plan.packings.needed[step.name]
            if needed:
                self.out.write(f"# {remark(str(step))}", step.name)
            for which, statements in groupby(zip(needed, step.code.prepare, strict=True), key=itemgetter(0)):
                condition = f"{which[0]} in stale" if len(which) == 1 else f"not stale.isdisjoint({which})"
                self.out.write(f"if {condition}:", step.name)
                self.out.indent += 1
                for _, statement in statements:
                    self.out.write(statement.text, step.name, *statement.path)
                self.out.indent -= 1
            if self._kept_early(step):
                self._keep(step)

    def bind(self) -> None:
        plan, out = self.plan, self.out
        for step in plan.steps:
            self._place(step, ARENA)
            out.section([step], "bind")
        functions = {function for function, _ in plan.names.regions}  # returned by bind, so they need no global
        out.assigned = [name for name in out.assigned if name not in functions]
        if plan.names.early:
            out.assign("share", "sharing.share")
        if plan.names.early < len(plan.names.regions):
            out.assign("complete", "sharing.complete")
        out.function(f"def run({', '.join(map(str, plan.inputs))}):", self.run)
        regions = "".join(f"({function}, {workers}), " for function, workers in plan.names.regions)
        out.write(f"return run, ({regions})")

    def run(self) -> None:
        names = self.plan.names
        if names.regions or any(thing is parallel for thing in names.namespace.values()):
            self.out.define("with sharing:", self.within)
        else:
            self.within()
        if self.plan.updates is not None:
            self.out.write("return results")

    def within(self) -> None:
        """The part of a run that workers may share in."""
        self.compute()
        if self.plan.updates is not None:
            self.out.define("with whole:", self.write_over)

    def compute(self) -> None:
        """The part that computes the results."""
        plan = self.plan
        self.steps(plan.steps[: len(plan.steps) - plan.last])
        if plan.updates is None:
            self.note_ends()
        results = f"({''.join(f'{name}, ' for name in _results(self.out, plan))})"
        if plan.updates is None:
            self.out.write(f"return {results}")
            return
        self._early = {}
        late = {y for step in plan.final for y in step.outs}
        for parameter, value in plan.updates:
            if value not in late and value.root in plan.parameters.values():  # a parameter may be overwritten first
                self._early[parameter] = plan.names.fresh(f"{value.name}_early")
                self.out.write(f"{self._early[parameter]} = np.array({value})")
        self.out.write(f"results = {results}")

    def write_over(self) -> None:
        """The part that writes over parameters."""
        plan = self.plan
        self.steps(plan.final)
        for parameter, value in plan.updates or ():
            self.out.write(f"{parameter}[...] = {self._early.get(parameter, value)}")
        self.note_ends()

    def note_ends(self) -> None:
        """Record when the steps ended, after everything else."""
        if self.marks is not None:
            ends = "".join(f"{end}, " for end in self.ends)
            self.out.write(f"{self.plan.names.use(self.marks.runs, 'runs')}.append(({ends}))")

    def steps(self, steps: Iterable[Step]) -> None:
        plan, out = self.plan, self.out
        for step in steps:
            before = len(out.lines)
            self._allocate(step)
            out.section([step], "run")
            if not self._kept_early(step):
                self._keep(step)
            if self.marks is not None and len(out.lines) > before and self.marks.wants(step.name):
                self.marks.steps.append(step.name)
                self.ends.append(plan.names.fresh("end"))
                out.write(f"{self.ends[-1]} = {plan.names.use(self.clock, 'clock')}()")

    def noted(self, step: Step, statement: Statement) -> str:
        """The text of a function that workers call, extended by lines that record when each worker calls it."""
        assert self.marks is not None and self.marks.parts is not None
        parts = shared_bytes(24 * statement.workers).view(np.float64).reshape(statement.workers, 3)
        self.marks.parts.append((step.name, parts))
        names = self.plan.names
        begin, end = (f"{names.use(note)}({names.use(parts, 'parts')}, worker, {column})" for column in (BEGAN, ENDED))
        header, *lines = statement.text.split("\n")
        indent = " " * (len(header) - len(header.lstrip()))
        inside = [*takewhile(lambda line: not line or line.startswith(f"{indent} "), lines)]
        return "\n".join([header, f"{indent}    {begin}", *inside, f"{indent}    {end}", *lines[len(inside) :]])

    def _kept_early(self, step: Step) -> bool:
        """Whether a step's outputs must be copied in ``prepare``, as their memory may be reused before a run.

        Without packings ``prepare`` is not called.
        """
        return step.fixed and bool(self.plan.packings.all)

    def _keep(self, step: Step) -> None:
        """Write a line that copies a step's outputs to ``values``."""
        if self.values is not None:
            idle = not any(self.plan.packings.needed[step.name])  # then no packing computes these values
            passing = {y for y in step.outs if y in self.plan.places and self.plan.places[y].memory == WORKSPACE}
            unmade = {None, *(passing if idle else ())}
            copies = "".join("None, " if y in unmade else f"np.array({y}), " for y in step.outs)
            self.out.write(f"{self.plan.names.use(self.values, 'values')}[{quoted(step.name)}] = ({copies})")

    def _place(self, step: Step, *memories: str) -> None:
        """Write the lines that make arrays of a step's operands in these memories."""
        names, places = self.plan.names, self.plan.places
        for y in step.memory:
            at = places.get(y)
            if at is not None and at.memory in memories:
                where = f"{at.name}, {at.offset}, {y.shape}, {names.use(y.dtype.type)}, {y.type.order}"
                self.out.assign(y, f"{names.use(place)}({where})", step.name)

    def _allocate(self, step: Step) -> None:
        for operand in step.memory:
            if operand.phase is Phase.CALL and not operand.born:
                self.out.write(_allocate(operand, self.plan.names), step.name)


def _results(out: Printer, plan: Plan) -> list[str]:
    """Names to return; arrays that other calls or other results refer to are copied first."""
    names, returned, follow = [], set(), plan.graph.channels_last
    for operand in plan.outputs:
        own = operand.phase is Phase.CALL and operand.base is None and operand not in plan.inputs
        if own and operand not in returned:
            returned.add(operand)
            names.append(str(operand))
        else:
            fresh = plan.names.fresh(f"{operand.name}_result")
            out.write(f"{fresh} = np.array({operand}, order={'K' if follow and operand.type.order else 'C'!r})")
            names.append(fresh)
    return names


def generate_call(step: Step, names: Any) -> Source:
    """One step as a function ``call(*inputs) -> tuple of outputs``, for eager execution."""
    out = Printer()

    def body() -> None:
        for operand in step.memory:
            if not operand.born:
                out.write(_allocate(operand, names))
        for part in ("state", "prepare", "bind", "run"):
            for statement in getattr(step.code, part):
                out.write(statement.text, step.name)
        out.write(f"return ({''.join(f'{y}, ' for y in step.outs)})")

    out.define(f"def call({', '.join(map(str, step.ins))}):", body)
    return out.finish(step.node.op.name, names.namespace)
