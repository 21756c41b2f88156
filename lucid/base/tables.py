"""Tables for display in notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from .lazy import html


def as_html(rows: Sequence[Sequence[str]], facts: Sequence[str] = ()) -> str:
    """A table, whose first row is its heading, with lines below it, as HTML."""

    def row(cells: Sequence[str], kind: str) -> str:
        style = "text-align:left;white-space:pre"
        return "<tr>" + "".join(f'<{kind} style="{style}">{_escaped(cell)}</{kind}>' for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows[1:])
    lines = "".join(f"<p>{_escaped(fact)}</p>" for fact in facts)
    table = f"<table><thead>{row(rows[0], 'th')}</thead><tbody>{body}</tbody></table>"
    return f'<div><div style="overflow:auto;max-height:36em">{table}</div>{lines}</div>'


def printable(text: str) -> str:
    """The text with a space for each unprintable character, such as those that reverse the writing direction."""
    return "".join(c if c.isprintable() else " " for c in text)


def _escaped(text: str) -> str:
    return html.escape(printable(text))
