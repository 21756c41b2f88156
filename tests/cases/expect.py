"""Rows of what is there on a condition."""

from __future__ import annotations

from lucid.graph.ops.composite import lt
from lucid.graph.ops.expect import expect
from lucid.graph.ops.source import constant

from .case import Case
from .shape import normal

CASES = [
    Case("expect", lambda x: expect(x * 2.0, constant(x, True), True, "never"), normal((3, 4))),
    Case("expect-not", lambda x: expect(x, lt((x * x).sum(), 0.0), False, "never"), normal((2, 3, 4, 2))),
]
