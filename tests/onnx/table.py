"""The tables of ``docs/onnx.md``: ``python -m tests.onnx.table`` writes them anew."""

from __future__ import annotations

from pathlib import Path

import lucid
from lucid.formats.onnx.registry import known
from lucid.formats.onnx.write.reasons import REASONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
UNWRITTEN = "| op | why it is not written |\n|---|---|\n"
HEAD = "| domain | operator | from version |\n|---|---|---|\n"


def table() -> str:
    """A row for each operator that is known."""
    assert lucid.onnx  # which registers them
    rows = (
        f"| {domain or 'ONNX'} | {op} | {', '.join(map(str, versions))} |\n"
        for (domain, op), versions in known().items()
    )
    return HEAD + "".join(rows)


def unwritten() -> str:
    """A row for each op that has no form in a file."""
    return UNWRITTEN + "".join(f"| {op} | {reason} |\n" for op, reason in sorted(REASONS.items()))


def written() -> str:
    """The document with the tables as they should be."""
    text = DOCUMENT.read_text("utf-8").partition(HEAD)[0]
    before, _, after = text.partition(UNWRITTEN)
    return before + unwritten() + after[after.index("\n## ") :] + table()


if __name__ == "__main__":
    DOCUMENT.write_text(written(), "utf-8")
