"""What a function's code may read: globals, closures, imports, and attributes of these."""

from __future__ import annotations

import dis
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, TypeAlias

from ...base.structs import struct
from ...graph.trace import PARTS, is_library, location, shown

Step: TypeAlias = "tuple[str, Any]"

_LIBRARIES = frozenset({*PARTS, "builtins", *sys.stdlib_module_names} - {"__main__"})

_ROOTS = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "LOAD_FROM_DICT_OR_GLOBALS": "global",
    "LOAD_DEREF": "closure",
    "LOAD_CLASSDEREF": "closure",
    "LOAD_FROM_DICT_OR_DEREF": "closure",
    "IMPORT_NAME": "import",
}
_NAMING = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM", "DELETE_ATTR"})
_IDLE = frozenset({"EXTENDED_ARG", "CACHE", "NOP", "PUSH_NULL"})
BY_NAME = frozenset({"__dict__", "__getattribute__", "__getstate__", "__reduce__", "__reduce_ex__"})
"""Code that mentions one of these may read any attribute."""


@struct(frozen=True)
class Read:
    """Something that code reads from outside: a root, and the steps taken from it.

    Attributes
    ----------
    kind
        "global", "closure" or "import".
    name
        Name of the variable or module.
    steps
        ("attribute", name) or ("item", constant key), in order.
    line
        Line number in the file.
    """

    kind: str
    name: str
    steps: tuple[Step, ...]
    line: int

    def __str__(self) -> str:
        return self.name + "".join(f".{key}" if kind == "attribute" else f"[{key!r}]" for kind, key in self.steps)


@struct(frozen=True)
class Reads:
    """Everything that code may read, including the functions that it defines.

    Attributes
    ----------
    found
        The reads; those of closures are of names that are free in the outermost code.
    names
        The names of all other attributes that it reads.
    texts
        Its string constants.
    dynamic
        Whether it may read attributes by names that do not occur in it.
    inner
        The code of the functions that it defines.
    """

    found: tuple[Read, ...]
    names: frozenset[str]
    texts: frozenset[str]
    dynamic: bool
    inner: tuple[CodeType, ...]


@struct(frozen=True)
class Place:
    """How code reached a value, for messages. If the line is unknown, it is looked up by a name in the code."""

    what: str
    where: str = ""
    code: CodeType | None = None
    name: str = ""
    lenient: bool = False
    """Whether the value is probably not read, so that it is no error if it cannot be guarded."""

    @classmethod
    def of(cls, read: Read, code: CodeType) -> Place:
        return cls(str(read), f"{shown(code.co_filename)}:{read.line}")

    def attribute(self, name: str, code: CodeType | None) -> Place:
        """The place of an attribute of this value, which ``code`` reads."""
        return Place(f"{self.what}.{name}", self.where, code, name, self.lenient)

    def __str__(self) -> str:
        return f"{self.what} ({self.line})"

    @property
    def line(self) -> str:
        """``file.py:12``"""
        if self.code is None:
            return self.where
        lines = (i.positions.lineno for i in dis.get_instructions(self.code) if i.argval == self.name and i.positions)
        return f"{shown(self.code.co_filename)}:{next(filter(None, lines), self.code.co_firstlineno)}"


def is_library_code(code: CodeType, space: Mapping[str, object]) -> bool:
    """Whether code with these globals belongs to a library; that of dataclasses and decorators may have no file."""
    known = is_library(code.co_filename)
    return known or (code.co_filename.startswith("<") and is_library_module(space.get("__name__")))


def is_library_frame(frame: FrameType) -> bool:
    """Whether a frame runs a library's code. That of a named tuple's ``__new__`` is identified by its class."""
    code, space = frame.f_code, frame.f_globals
    if code.co_filename == "<string>" and str(space.get("__name__")).startswith("namedtuple_"):
        return is_library_module(getattr(frame.f_locals.get("_cls"), "__module__", None))
    return is_library_code(code, space)


def user_line(frame: FrameType | None) -> str:
    """``file.py:12`` of the innermost frame that runs the user's code."""
    while frame is not None and is_library_frame(frame):
        frame = frame.f_back
    return "" if frame is None else location(frame)


def is_library_module(name: object) -> bool:
    """Whether a module of this name belongs to a library."""
    return isinstance(name, str) and name.partition(".")[0] in _LIBRARIES


def is_internal(kind: type) -> bool:
    """Whether a class is one of Lucid's internal ones, of which nothing that a trace reads changes."""
    package, _, rest = kind.__module__.partition(".")
    return package == "lucid" and rest.partition(".")[0] not in ("nn", "optim")


def reads(code: CodeType) -> Reads:
    """What code may read according to its instructions, including branches that are not taken."""
    return _reads(code, code.co_filename)


@lru_cache(maxsize=4096)
def _reads(code: CodeType, filename: str) -> Reads:
    free = frozenset(code.co_freevars)
    everything = [code]
    for one in everything:
        everything.extend(const for const in one.co_consts if isinstance(const, CodeType))
    found: dict[Read, None] = {}
    names: set[str] = set()
    for one in everything:
        taken, loose = _instructions(one)
        names |= loose
        for read in taken:
            if read.kind != "closure" or read.name in free:
                found[read] = None
            else:  # a variable of the enclosing code, whose value is found by its own reads
                names |= {name for kind, name in read.steps if kind == "attribute"}
    texts = frozenset(const for one in everything for const in one.co_consts if isinstance(const, str))
    return Reads(tuple(found), frozenset(names), texts, not names.isdisjoint(BY_NAME), tuple(everything[1:]))


def _instructions(code: CodeType) -> tuple[list[Read], set[str]]:
    """Each load from outside with the steps that follow it immediately, and the names of all other attributes."""
    steps = [i for i in dis.get_instructions(code) if i.opname not in _IDLE]
    line, end = code.co_firstlineno, 0
    found, names = [], set()
    for at, first in enumerate(steps):
        if first.positions is not None and first.positions.lineno is not None:
            line = first.positions.lineno
        if first.opname in _ROOTS:
            chain, end = _chain(steps, at + 1)
            name = _asked(steps, at) if first.argval in ("getattr", "hasattr") else None
            if name is not None:
                names.add(name)
                continue
            found.append(Read(_ROOTS[first.opname], first.argval, tuple(chain), line))
        elif first.opname in _NAMING and at >= end:
            names.add(first.argval)
    return found, names


def _chain(steps: Sequence[dis.Instruction], at: int) -> tuple[list[Step], int]:
    """The consecutive reads of attributes and constant items that start here, and the position after them."""
    found: list[Step] = []
    while at < len(steps) and not steps[at].is_jump_target:
        here = steps[at]
        following = steps[at + 1] if at + 1 < len(steps) else None
        if here.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            found.append(("attribute", here.argval))
            at += 1
        elif here.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and following is not None and _is_item(following):
            found.append(("item", here.argval))
            at += 2
        else:
            break
    return found, at


def _asked(steps: Sequence[dis.Instruction], at: int) -> str | None:
    """The constant name in a ``getattr(x, "name")`` or ``hasattr`` whose function is loaded here; None for others."""
    depth, name = 0, None
    for step in steps[at + 1 :]:
        if step.opname == "CALL" and step.arg == depth:
            return name
        if step.is_jump_target or step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            return None
        if step.opname == "PRECALL":
            continue
        before = depth
        depth += dis.stack_effect(step.opcode, step.arg if step.opcode >= dis.HAVE_ARGUMENT else None)
        if depth < 1 and before >= 1:
            return None
        if before == 1 and depth == 2:
            name = step.argval if step.opname == "LOAD_CONST" and isinstance(step.argval, str) else None
        elif depth <= 2 <= before:
            name = None
    return None


def _is_item(step: dis.Instruction) -> bool:
    return step.opname == "BINARY_SUBSCR" or (step.opname == "BINARY_OP" and step.argrepr == "[]")
