"""The table in the documentation is that of the registry."""

from __future__ import annotations

from .table import DOCUMENT, written


def test_the_table_lists_what_is_known() -> None:
    assert DOCUMENT.read_text("utf-8") == written(), "run: python -m tests.onnx.table"
