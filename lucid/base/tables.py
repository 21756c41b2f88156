"""Tables as notebooks show them."""

from __future__ import annotations

import html
from collections.abc import Sequence


def as_html(rows: Sequence[Sequence[str]], facts: Sequence[str] = ()) -> str:
    """A table, whose first row is its heading, and lines below it."""

    def row(cells: Sequence[str], kind: str) -> str:
        style = "text-align:left;white-space:pre"
        return "<tr>" + "".join(f'<{kind} style="{style}">{_safe(cell)}</{kind}>' for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows[1:])
    lines = "".join(f"<p>{_safe(fact)}</p>" for fact in facts)
    table = f"<table><thead>{row(rows[0], 'th')}</thead><tbody>{body}</tbody></table>"
    return f'<div><div style="overflow:auto;max-height:36em">{table}</div>{lines}</div>'


def _safe(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else " " for c in text))
