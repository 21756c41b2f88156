"""The table of operators in ``docs/onnx.md``: ``python -m tests.onnx.table`` writes it anew."""

from __future__ import annotations

from pathlib import Path

import lucid
from lucid.formats.onnx.registry import known

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
HEAD = "| domain | operator | from version |\n|---|---|---|\n"


def table() -> str:
    """A row for each operator that is known."""
    assert lucid.onnx  # which registers them
    rows = (
        f"| {domain or 'ONNX'} | {op} | {', '.join(map(str, versions))} |\n"
        for (domain, op), versions in known().items()
    )
    return HEAD + "".join(rows)


def written() -> str:
    """The document with the table as it should be."""
    text = DOCUMENT.read_text("utf-8")
    return text.partition(HEAD)[0] + table()


if __name__ == "__main__":
    DOCUMENT.write_text(written(), "utf-8")
