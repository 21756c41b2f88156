"""Packed parameters of programs, and how two programs share them.

A *packing* is memory that some lines of a step fill from parameters, for runs to read. Two programs of a model (for
different sizes, say) share it if these lines are the same, with the same parameters, functions and numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import field

import numpy as np

from ...base.keys import Content, Key
from ...base.structs import struct
from ..planning.phase import Phase
from .emitter import Operand
from .memory import PACKED, Place, aligned
from .names import Names
from .statement import Statement, names_in
from .step import Step


@struct(frozen=True)
class Packing:
    """Memory that some lines of one step compute from parameters.

    Attributes
    ----------
    nbytes
        Its size.
    key
        Equal for two packings only if they compute the same from the parameters of the same names.
    parameters
        The numbers of the program's parameters that it is computed from.
    """

    nbytes: int
    key: Hashable
    parameters: tuple[int, ...]


@struct(frozen=True)
class Packings:
    """The packings of a plan.

    Attributes
    ----------
    all
        By number.
    needed
        For each line that computes from parameters, by step and in order, the packings that need it.
    """

    all: tuple[Packing, ...] = ()
    needed: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)


def only_passed(steps: Sequence[Step], passing: set[Operand]) -> set[Operand]:
    """Those of the ``passing`` values (:func:`~.liveness.passing`) whose steps compute nothing that runs read.

    Such steps run again for each packing that reads them, and their values need no lasting memory.
    """
    kept = {step for step in steps for y in step.memory if y.phase is Phase.STATE and y not in passing}
    return passing - {y for step in kept for y in step.outs if y is not None}


def packings(
    steps: Sequence[Step], parameters: Mapping[str, Operand], names: Names, passing: set[Operand]
) -> tuple[Packings, dict[Operand, Place]]:
    """The packings of a plan and where they hold its packed buffers.

    ``passing`` are values needed only until others have been computed from them.
    """
    reader, parts = _Reader(parameters, names), []
    for step in steps:
        parts += reader.parts(step)
    numbers = {name: index for index, name in enumerate(parameters)}
    made: list[Packing] = []
    places: dict[Operand, Place] = {}
    for part in parts:
        kept = [y for y in part.memory if y not in passing]
        if kept or not part.memory:  # lines without memory check the parameters
            part.needed.add(len(made))
            nbytes = 0
            for y in kept:
                places[y] = Place(PACKED, nbytes, len(made))
                nbytes += aligned(y.type.nbytes)
            made.append(Packing(nbytes, part.key, tuple(numbers[name] for name in sorted(part.parameters))))
    needed: dict[str, list[tuple[int, ...]]] = {step.name: [()] * len(step.code.prepare) for step in steps}
    for part in reversed(parts):
        for other in part.reads:
            if not any(y in places for y in other.memory):
                other.needed |= part.needed
        for line in part.lines:
            needed[part.step][line] = tuple(sorted(part.needed))
    return Packings(tuple(made), needed), places


@struct(eq=False)
class _Part:
    """Lines of a step that compute from parameters and touch the same memory.

    ``views`` are the names that the lines assign; ``reads``, the parts whose memory they read; ``needed``, the numbers
    of the packings that need them.
    """

    step: str
    lines: list[int]
    memory: list[Operand]
    views: set[str] = field(default_factory=set)
    key: Hashable = None
    parameters: set[str] = field(default_factory=set)
    reads: set[_Part] = field(default_factory=set)
    needed: set[int] = field(default_factory=set)


@struct
class _Known:
    """What a name stands for, independent of the name itself."""

    key: Hashable
    parameters: frozenset[str]
    parts: frozenset[_Part] = frozenset()


class _Reader:
    """Groups the statements of steps into parts, and describes each part independently of the names in it."""

    def __init__(self, parameters: Mapping[str, Operand], names: Names) -> None:
        self.names = names
        self.known = {
            operand.name: _Known(("parameter", name), frozenset([name])) for name, operand in parameters.items()
        }

    def parts(self, step: Step) -> list[_Part]:
        """The parts of one step, in the order of their first lines."""
        memory = {y.name: y for y in step.memory if y.phase is Phase.STATE}
        local = {name for statement in step.code.prepare for name in statement.writes}
        parts: list[_Part] = []
        for index, statement in enumerate(step.code.prepare):
            names = dict.fromkeys(names_in(_with_views(statement, step.code.state)))
            touched = [memory[name] for name in names if name in memory]
            views = local & set(names)
            joined = [p for p in parts if not (p.views.isdisjoint(views) and set(p.memory).isdisjoint(touched))]
            parts = [part for part in parts if part not in joined]
            lines = [line for part in joined for line in part.lines]
            touched = list(dict.fromkeys([*(y for part in joined for y in part.memory), *touched]))
            parts.append(_Part(step.name, [*lines, index], touched, views.union(*(part.views for part in joined))))
        written = {y for part in parts for y in part.memory}
        parts += [_Part(step.name, [], [y]) for y in memory.values() if y not in written]
        for part in parts:
            self._describe(part, step)
        for view in step.code.state:
            about = self._about([view], {name: -number for number, name in enumerate(view.writes)})
            for number, name in enumerate(view.writes):
                self.known.setdefault(name, _Known(Key((about.key, number)), about.parameters, about.parts))
        return parts

    def _describe(self, part: _Part, step: Step) -> None:
        """Set the part's key and the parameters it reads, and define its memory for the steps that follow."""
        code = step.code
        statements = [s for index in part.lines for s in _with_views(code.prepare[index], code.state)]
        own = {y.name: number for number, y in enumerate(part.memory)}
        about = self._about(statements, own)
        types = tuple((y.type.concrete, y.type.dtype, y.type.order) for y in part.memory)
        part.key = Key((about.key, types)) if part.lines else object()
        part.parameters, part.reads = set(about.parameters), set(about.parts)
        for number, y in enumerate(part.memory):
            self.known[y.name] = _Known((part.key, number), about.parameters, frozenset([part]))

    def _about(self, statements: Iterable[Statement], own: dict[str, int]) -> _Known:
        """A description of statements: their own names become numbers, others are replaced by what they stand for."""
        referents: list[Hashable] = []
        parameters: set[str] = set()
        parts: set[_Part] = set()

        def word(name: str) -> str:
            if name not in own and name in self.known:
                known = self.known[name]
                parameters.update(known.parameters)
                parts.update(known.parts)
                referents.append(known.key)
                return f"<{len(referents)}>"
            if name not in own and name in self.names.namespace:
                referents.append(_constant(self.names.namespace[name]))
                return f"<{len(referents)}>"
            return f"<own {own.setdefault(name, len(own))}>"

        text = "\n".join([statement.renamed(word) for statement in statements])
        return _Known(Key((text, tuple(referents))), frozenset(parameters), frozenset(parts))


def _with_views(statement: Statement, views: Sequence[Statement]) -> list[Statement]:
    """The statement, preceded by those that make the views it names."""
    statements, wanted = [statement], set(statement.reads)
    for view in reversed(views):
        if not wanted.isdisjoint(view.writes):
            statements.insert(0, view)
            wanted.update(view.reads)
    return statements


def _constant(thing: object) -> Hashable:
    """A key that is equal for equal constants; for an object that cannot be compared, one that equals no other."""
    if isinstance(thing, np.ndarray):
        return Content(thing)
    if isinstance(thing, list | tuple):
        return "list", type(thing), *map(_constant, thing)
    try:
        hash(thing)
    except TypeError:
        return object()
    return type(thing), thing
