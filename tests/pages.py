"""The code of a page, run from top to bottom as a reader would type it."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucid import cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(.*)\n((?s:.*?))^```$", re.M)


def pages() -> Iterator[str]:
    """Every page of the documentation; the build runs those of the course, which are notebooks."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        if path.parent.name != "course":
            yield path.relative_to(ROOT).as_posix()


def run(page: str, names: dict[str, Any], leave_out: str | None = None) -> None:
    """Run what a page shows in the current folder, with the names that are known there already.

    Blocks of Python are programs, or sessions whose answers are compared; sessions may also stand indented. Blocks of
    ``sh`` are calls of ``lucid``; those without a language are shown only. One with the words ``leave_out`` is not run.
    """
    text, end = (ROOT / page).read_text("utf-8"), 0
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        _answer(text, end, block.start(), page, names)
        end = block.end()
        if leave_out is not None and leave_out in code:
            continue
        if language == "python":
            _run_python(text, block.start(2), block.end(2), page, names)
        elif language == "sh":
            _call(code, page)
        else:
            assert language in ("", "{eval-rst}"), f"{page}: no test runs {language}"
    _answer(text, end, len(text), page, names)


def _run_python(text: str, start: int, end: int, page: str, names: dict[str, Any]) -> None:
    if text.startswith(">>>", start):
        _answer(text, start, end, page, names)
    else:
        above = "\n" * text.count("\n", 0, start)  # so that a traceback names the line of the page
        exec(compile(above + text[start:end], page, "exec"), names)


def _answer(text: str, start: int, end: int, page: str, names: dict[str, Any]) -> None:
    session = doctest.DocTestParser().get_doctest(text[start:end], names, page, page, text.count("\n", 0, start))
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(session, out=said.append, clear_globs=False)
    names.update(session.globs)
    assert not said, "".join(said)


def _call(lines: str, page: str) -> None:
    """Line by line, as far as Lucid goes: not into pipes and files. What is to fail begins with an exclamation mark."""
    for line in lines.splitlines():
        parts = re.fullmatch(r"(! )?lucid (.*?)(?: [|>] .*)?", line)
        assert parts, f"{page}: {line} calls something else than lucid"
        assert cli.main(shlex.split(parts[2])) == (2 if parts[1] else 0), f"{page}: {line}"
