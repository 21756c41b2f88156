"""Plots as SVG, written by hand: bars of times, and curves on two logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

OURS = ("#0b5394", "#6fa8dc", "#9fc5e8")
THEIRS = ("#cc4125", "#e69138", "#6aa84f", "#8e7cc3", "#999999", "#741b47")


def colours(names: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
    """Blues for ours, other colours for the rest."""
    own, other = iter(OURS), iter(THEIRS)
    return {name: next(own if name in ours else other, "#444444") for name in names}


def _text(x: float, y: float, text: str, size: int = 12, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str = "#dddddd", width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width:.1f}"/>'
    )


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif">'
    )
    return "\n".join([head, _rect(0, 0, width, height, "white"), *parts, "</svg>"]) + "\n"


def _legend(names: Mapping[str, str], x: float, y: float, right: float) -> tuple[list[str], float]:
    """Its parts and the height it takes; it breaks where it would pass ``right``."""
    parts, left, top = [], x, y
    for name, fill in names.items():
        width = 26 + 7 * len(name)
        if x + width > right:
            x, y = left, y + 20
        parts += [_rect(x, y - 10, 12, 12, fill), _text(x + 17, y, name)]
        x += width
    return parts, y - top + 20


def bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]], ours: Sequence[str]) -> str:
    """Horizontal bars, a group for each row.

    Parameters
    ----------
    title, unit
        Above the plot, and of its axis.
    rows
        For each group the value of every bar. Longer than three times the reference 1, a bar is broken off.
    ours
        The names that get our colours.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    fills = colours(names, ours)
    left = 24 + 6.6 * max(map(len, rows))
    right, bar, gap, most = left + 570, 11.0, 16.0, 3.0
    parts = [_text(16, 26, title, 16, weight="bold")]
    legend, taken = _legend(fills, 16, 50, right + 60)
    parts += legend
    top = y = 60 + taken

    def at(value: float) -> float:
        return left + (right - left) * min(value, most) / most

    body: list[str] = []
    for label, row in rows.items():
        middle = y + bar * len(row) / 2 + 4
        body.append(_text(left - 8, middle, label, anchor="end"))
        for name, value in row.items():
            body.append(_rect(left, y, at(value) - left, bar - 1, fills[name]))
            more = " ▸" if value > most else ""
            body.append(_text(at(value) + 4, y + bar - 2, f"{value:.2f}{more}", 9))
            y += bar
        y += gap
    for i in range(7):
        tick = i / 2
        strong = tick == 1
        parts.append(_line(at(tick), top - 6, at(tick), y - gap, "#888888" if strong else "#dddddd"))
        parts.append(_text(at(tick), y + 6, f"{tick:g}", 11, "middle"))
    parts += [*body, _text((left + right) / 2, y + 24, unit, 12, "middle")]
    return _document(right + 80, y + 40, parts)


def curves(
    title: str, across: str, up: str, lines: Mapping[str, Sequence[tuple[float, float]]], ours: Sequence[str]
) -> str:
    """Curves through points, both axes logarithmic.

    Parameters
    ----------
    title, across, up
        Above the plot and along its axes.
    lines
        Points (x, y), all positive, by name.
    ours
        The names that get our colours.
    """
    fills = colours(list(lines), ours)
    left, right, top, bottom = 80.0, 720.0, 90.0, 440.0
    points = [point for line in lines.values() for point in line]
    xs = sorted({x for x, _ in points})
    low_x, high_x = math.log(xs[0]), math.log(max(xs[-1], xs[0] * 1.01))
    low_y = math.floor(math.log10(min(y for _, y in points)))
    high_y = max(low_y + 1, math.ceil(math.log10(max(y for _, y in points))))

    def place(x: float, y: float) -> tuple[float, float]:
        across_ = (math.log(x) - low_x) / (high_x - low_x)
        up_ = (math.log10(y) - low_y) / (high_y - low_y)
        return left + (right - left) * across_, bottom - (bottom - top) * up_

    parts = [_text(16, 26, title, 16, weight="bold"), *_legend(fills, 16, 52, right)[0]]
    for power in range(low_y, high_y + 1):
        _, y = place(xs[0], 10.0**power)
        parts += [_line(left, y, right, y), _text(left - 8, y + 4, f"{10.0**power:g}", 11, "end")]
    for x in xs:
        px, _ = place(x, 10.0**low_y)
        parts += [_line(px, top, px, bottom), _text(px, bottom + 18, f"{x:g}", 11, "middle")]
    for name, line in lines.items():
        placed = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        width = 3 if name in ours else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{fills[name]}" stroke-width="{width}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{fills[name]}"/>' for x, y in placed]
    parts.append(_text((left + right) / 2, bottom + 42, across, 12, "middle"))
    parts.append(
        f'<text x="22" y="{(top + bottom) / 2:.0f}" font-size="12" text-anchor="middle" '
        f'transform="rotate(-90 22 {(top + bottom) / 2:.0f})">{escape(up)}</text>'
    )
    return _document(right + 40, bottom + 60, parts)
