"""Statements: the lines of a program, each of which knows the names in it.

A kernel writes lines as text, with its operands formatted into them. An operand, or any other name that the emitter
hands out, formats as ``§name§``. The sign is not ASCII, so nothing else in a program contains it, and splitting a line
at these signs yields exactly the names in it, and where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...base.structs import struct
from ...errors import GraphError
from ..planning.phase import Phase

MARK = "§"
"""Precedes and follows each name in the text that kernels write."""


def marked(name: str) -> str:
    """The name as written in the lines of kernels."""
    return f"{MARK}{name}{MARK}"


def pieces_of(text: str) -> tuple[str, ...]:
    """Text and names in turn: the first, third, … are text.

    Raises
    ------
    GraphError
        If anything but an identifier is marked as a name.
    """
    pieces = tuple(text.split(MARK))
    if len(pieces) % 2 == 0 or not all(map(str.isidentifier, pieces[1::2])):
        raise GraphError(f"{text!a} marks what is no name: {MARK!a} is for operands and what k.names gives")
    return pieces


def unmarked(text: str) -> str:
    """The text without marks, as a program shows it."""
    return "".join(pieces_of(text)) if MARK in text else text


@dataclass(frozen=True, slots=True)
class Statement:
    """One or several lines of a program that belong together.

    Attributes
    ----------
    pieces
        Its text, cut at the names: these are the second, fourth, … piece.
    writes
        The names that it binds: variables that it assigns, or the function that it defines.
    phase
        When it can run: with the parameters, with the arena, or with a call.
    path
        For a statement of a node in a region: the region, the node, and so on inwards from the step's own node.
    workers
        For a function that workers call: the number of workers; otherwise 0.
    """

    pieces: tuple[str, ...]
    writes: tuple[str, ...]
    phase: Phase
    path: tuple[str, ...] = ()
    workers: int = 0

    @classmethod
    def of(cls, text: str, phase: Phase, *writes: str, workers: int = 0) -> Statement:
        """The statement for a line as kernels write it; ``writes`` are names with or without marks."""
        return cls(pieces_of(text), tuple(map(unmarked, writes)), phase, workers=workers)

    @classmethod
    def assignment(cls, target: str, expression: str, phase: Phase) -> Statement:
        """The statement that assigns to the names in ``target`` (one, or several in parentheses)."""
        return cls.of(f"{target} = {expression}", phase, *pieces_of(target)[1::2])

    @property
    def text(self) -> str:
        """The text as it appears in the program."""
        return "".join(self.pieces)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names it needs, in order of their first occurrence.

        They include arrays that it fills, since these must exist before, and variables of its own loops, which occur in
        no other statement.
        """
        return tuple(name for name in dict.fromkeys(self.names) if name not in self.writes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it, as often as they occur."""
        return self.pieces[1::2]

    @property
    def line(self) -> str:
        """The text with marked names, for use in another statement."""
        return MARK.join(self.pieces)

    def within(self, *path: str, deeper: bool = False) -> Statement:
        """The same statement as part of a region's program; indented if ``deeper``."""
        pieces = self.pieces
        if deeper:
            texts = [text.replace("\n", "\n    ") for text in pieces[::2]]
            pieces = tuple(piece for pair in zip(texts, (*pieces[1::2], ""), strict=True) for piece in pair)[:-1]
            pieces = (f"    {pieces[0]}", *pieces[1:])
        return Statement(pieces, self.writes, self.phase, (*path, *self.path), self.workers)

    def renamed(self, called: Callable[[str], str]) -> str:
        """The text with each name replaced by ``called(name)``."""
        return "".join(called(piece) if i % 2 else piece for i, piece in enumerate(self.pieces))


def names_in(statements: Iterable[Statement]) -> list[str]:
    """The names in several statements, one after another."""
    return [name for statement in statements for name in statement.names]


@struct
class Code:
    """Statements of one step, by the function of the program that contains them.

    ``state`` and ``bind`` make views and buffers; ``prepare`` and ``run`` compute.
    """

    state: list[Statement] = field(default_factory=list)
    prepare: list[Statement] = field(default_factory=list)
    bind: list[Statement] = field(default_factory=list)
    run: list[Statement] = field(default_factory=list)

    def setup(self, phase: Phase) -> list[Statement]:
        """The list that statements making views in this phase go to."""
        return (self.state, self.bind, self.run)[phase]

    @property
    def all(self) -> list[Statement]:
        """Every statement."""
        return [*self.state, *self.prepare, *self.bind, *self.run]
