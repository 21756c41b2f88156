"""Bugs that are planted in the package while it runs: a text in a module's source becomes another."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@contextmanager
def planted(module: str, right: str, wrong: str) -> Iterator[None]:
    """Every function of the module computes as if ``wrong`` stood in its source where ``right`` does.

    Functions are the same objects with other code, so whoever holds one (a table of rules, a closure) has the bug too.
    """
    home = importlib.import_module(f"lucid.{module}").__file__
    assert home is not None
    source = Path(home).read_text("utf-8")
    assert source.count(right) == 1, f"{right!r} occurs {source.count(right)} times in {module}"
    assert right.count("\n") == wrong.count("\n"), "a bug leaves the lines where they are"
    codes = _codes(compile(source.replace(right, wrong), home, "exec", dont_inherit=True))
    made = {(code.co_qualname, code.co_firstlineno): code for code in codes}
    functions = [f for f in gc.get_objects() if type(f) is FunctionType and f.__code__.co_filename == home]
    before = [(f, f.__code__) for f in functions]
    changed = 0
    try:
        for function, code in before:
            other = made.get((code.co_qualname, code.co_firstlineno))
            if other is not None and other != code:
                function.__code__ = other
                changed += 1
        assert changed, f"no function of {module} holds {right!r}"
        yield
    finally:
        for function, code in before:
            function.__code__ = code
