"""Recognises linear layers written out as products with weights and sums."""

from __future__ import annotations

from ...graph.facts import parameter_only
from ...graph.ir import Graph
from ...graph.opdef import NoAttrs, apply
from ...graph.ops import elementwise as ew
from ...graph.ops.linalg import LINEAR, MATMUL
from ...graph.trace import Symbol
from ...graph.types import is_float
from ..rewrite import Declined, Site, View, rebuild


def fuse_linear_products(graph: Graph) -> Graph:
    """Replace ``x @ w`` by ``Linear`` with transposed weights, and make a fixed vector added to ``Linear`` its bias.

    This is for graphs that run many times with the same weights, as these are transposed once.
    """
    if MATMUL not in graph.ops and LINEAR not in graph.ops:
        return graph
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | Declined | None:
        if site.name in fixed:
            return None
        if site.op is MATMUL and _multiplies(site):
            weights = site.producer(1)
            if weights.name not in fixed:
                return Declined(f"{weights.name} depends on the input, and what is turned once is fixed", weights)
            y: Symbol = apply(LINEAR, NoAttrs(), site.inputs[0], site.inputs[1].permute(1, 0))
            return y
        if site.op is not ew.ADD:
            return None
        for slot in (0, 1):
            product, made = site.producer(slot), site.made_by(site.inputs[slot])
            if not _shifts(site, slot, made) or site.producer(1 - slot).name not in fixed:
                continue
            if not product.single_use:
                return product.shared()
            if len(made.inputs) == 3:
                return Declined(f"{product.name} has a bias already", product)
            site.absorb(product)
            bias = site.inputs[1 - slot].reshape(made.type.shape[-1])
            y = apply(LINEAR, NoAttrs(), *made.inputs, bias)
            site.call(y, product.name)
            return y
        return None

    return rebuild(graph, rule, "fuse_linear_products")


def _multiplies(product: View) -> bool:
    """Whether it is a product of floats whose right side is a single matrix."""
    return product.inputs[1].type.rank == 2 and is_float(product.type.dtype)


def _shifts(add: View, slot: int, product: View) -> bool:
    """Whether an addition adds one number per output to a linear layer."""
    if product.op is not LINEAR or product.type.shape != add.type.shape:
        return False
    bias = add.inputs[1 - slot].type.shape
    return bias[-1:] == product.type.shape[-1:] and all(dim == 1 for dim in bias[:-1])
