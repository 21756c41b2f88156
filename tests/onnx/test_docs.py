"""The tables in the documentation are those of the registries."""

from __future__ import annotations

from .table import DOCUMENT, written


def test_the_tables_list_what_there_is() -> None:
    assert DOCUMENT.read_text("utf-8") == written(), "run: python -m tests.onnx.table"
