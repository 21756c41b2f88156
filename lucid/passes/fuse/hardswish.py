"""Recognises HardSwish written out as simpler ops, as in imported models.

As a single op it runs on the blocks of the layer before it, in fewer passes over memory.
"""

from __future__ import annotations

import math
from dataclasses import field

from ...base.structs import struct
from ...graph.ir import Graph
from ...graph.ops import elementwise as ew
from ...graph.ops.bounds import CLIP
from ...graph.trace import Symbol
from ...graph.types import is_float
from ..rewrite import Declined, Site, View, rebuild
from ..simplify import fill_value

PARTS = 4
"""The most products and quotients that an activation may consist of."""


def fuse_hardswish(graph: Graph) -> Graph:
    """Replace the product of a tensor and its own hard sigmoid by ``HardSwish``.

    Values in between must have no other reader. Results differ in the last digits.
    """

    def rule(site: Site) -> Symbol | Declined | None:
        if (site.op is not ew.MUL and site.op is not ew.DIV) or not is_float(site.type.dtype):
            return None
        product = _gathered(site)
        if product is None or len(product.factors) != 2:
            return None
        for slot in (0, 1):
            (x, _), (_, view) = product.factors[slot], product.factors[1 - slot]
            gate = _gate(view)
            if (
                gate is not None
                and gate.x.value == x.value
                and x.type.same_value(site.type)
                and _is(product.number, gate.number)
            ):
                site.absorb(*reversed([*product.parts, *gate.parts]))
                return ew.hardswish(x)
            site.leave(_not_seen(view, gate, x, product.number))
        return None

    return rebuild(graph, rule, "fuse_hardswish")


def _not_seen(view: View, gate: _Gate | None, x: Symbol, number: float) -> Declined | None:
    """Why a product with a clipped tensor is not a HardSwish, if it nearly is one."""
    if gate is None:
        inner = view.producer(0) if view.op is CLIP and view.attrs.low == 0 and view.attrs.high in (1, 6) else view
        if inner is view or inner.op is not ew.ADD:
            return None
        return next((Declined(one.shared().reason) for one in (view, inner) if not one.single_use), None)
    if gate.x.value != x.value:
        return Declined(f"what it multiplies is not what {view.name} is made of")
    return Declined(f"it multiplies with {number:.6g}, where HardSwish has {gate.number:.6g}")


def _is(number: float | None, wanted: float) -> bool:
    """Whether a number is the wanted one, to the precision that models use."""
    return number is not None and math.isclose(number, wanted, rel_tol=1e-6)


@struct
class _Product:
    """A number times tensors (each with its producer), and the nodes below the site that multiply them."""

    number: float = 1.0
    factors: list[tuple[Symbol, View]] = field(default_factory=list)
    parts: list[View] = field(default_factory=list)


def _gathered(site: Site) -> _Product | None:
    """The product that ends at a site; None if it has too many factors."""
    found, open_ = _Product(), list[View]([site])
    while open_:
        view = open_.pop()
        for slot in (0, 1):
            x, below, number = view.inputs[slot], view.producer(slot), fill_value(view, view.inputs[slot])
            if view.op is ew.DIV and slot == 1:
                if not number:
                    return None
                found.number /= number
            elif number is not None:
                found.number *= number
            elif below.single_use and _multiplies(below) and len(found.parts) < PARTS:
                found.parts.append(below)
                open_.append(below)
            else:
                found.factors.append((x, below))
        if len(found.factors) > 2:
            return None
    return found


def _multiplies(view: View) -> bool:
    """Whether it is a product, or a quotient by a number."""
    return view.op is ew.MUL or (view.op is ew.DIV and bool(fill_value(view, view.inputs[1])))


@struct(frozen=True)
class _Gate:
    """A clipped tensor that, multiplied by ``x`` and ``number``, is the HardSwish of ``x``."""

    x: Symbol
    number: float
    parts: tuple[View, ...]


def _gate(view: View) -> _Gate | None:
    """``x + 3`` clipped to between 0 and 6, or ``x / 6 + 0.5`` to between 0 and 1."""
    inner = view.producer(0) if view.op is CLIP and view.attrs.low == 0 and view.single_use else view
    if inner is view or inner.op is not ew.ADD or not inner.single_use:
        return None
    slot, number = _operand(inner)
    if view.attrs.high == 6 and _is(number, 3.0):
        return _Gate(inner.inputs[slot], 1 / 6, (view, inner))
    below = inner.producer(slot)
    if view.attrs.high == 1 and _is(number, 0.5) and below.single_use and _is(_factor(below), 1 / 6):
        return _Gate(below.inputs[_operand(below)[0]], 1.0, (view, inner, below))
    return None


def _operand(view: View) -> tuple[int, float | None]:
    """Which of two operands is a tensor, and the number that the other one is."""
    numbers = [fill_value(view, x) for x in view.inputs]
    return (1, numbers[0]) if numbers[0] is not None else (0, numbers[1])


def _factor(view: View) -> float | None:
    """The number by which a node multiplies a tensor."""
    if view.op is not ew.MUL and view.op is not ew.DIV:
        return None
    slot, number = _operand(view)
    if view.op is ew.MUL or not number:
        return number
    return 1 / number if slot == 0 else None
