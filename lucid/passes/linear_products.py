"""Sees a linear layer in a product with weights and in what is added to it, however a model spells that."""

from __future__ import annotations

from ..graph.facts import parameter_only
from ..graph.ir import Graph
from ..graph.opdef import NoAttrs, apply
from ..graph.ops import elementwise as ew
from ..graph.ops.linalg import LINEAR, MATMUL
from ..graph.trace import Symbol
from ..graph.types import is_float
from .rewrite import Site, View, rebuild


def linear_products(graph: Graph) -> Graph:
    """``x @ w`` is a ``Linear`` of the turned weights, and a vector of weights that is added to a ``Linear`` its bias.

    For graphs that are run again and again with the same weights, which are turned once.
    """
    fixed = parameter_only(graph)

    def rule(site: Site) -> Symbol | None:
        if site.name in fixed:
            return None
        if site.op is MATMUL and _multiplies(site) and site.producer(1).name in fixed:
            x, weight = site.inputs
            y: Symbol = apply(LINEAR, NoAttrs(), x, weight.permute(1, 0))
            return y
        if site.op is not ew.ADD:
            return None
        for slot in (0, 1):
            product, made = site.producer(slot), site.made_by(site.inputs[slot])
            if _shifts(site, slot, made) and product.single_use and site.producer(1 - slot).name in fixed:
                site.absorb(product)
                bias = site.inputs[1 - slot].reshape(made.type.shape[-1])
                y = apply(LINEAR, NoAttrs(), *made.inputs, bias)
                site.call(y, product.name)
                return y
        return None

    return rebuild(graph, rule, "linear_products")


def _multiplies(product: View) -> bool:
    """Whether the right side of a product of floats is one matrix."""
    return product.inputs[1].type.rank == 2 and is_float(product.type.dtype)


def _shifts(add: View, slot: int, product: View) -> bool:
    """Whether an addition adds one number for each output to a linear layer without bias."""
    if product.op is not LINEAR or len(product.inputs) == 3 or product.type.shape != add.type.shape:
        return False
    bias = add.inputs[1 - slot].type.shape
    return bias[-1:] == product.type.shape[-1:] and all(dim == 1 for dim in bias[:-1])
