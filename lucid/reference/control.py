"""What runs graphs: these are run by their own definitions."""

from __future__ import annotations

from ..base.arrays import Array
from ..graph.ops.control import IF, IfAttrs
from ..graph.region import Region
from .evaluator import evaluate_reference, reference


def run(region: Region, *arrays: Array) -> tuple[Array, ...]:
    """The results of a region."""
    return tuple(evaluate_reference(region.graph, arrays))


@reference(IF)
def if_(attrs: IfAttrs, condition: Array, *captures: Array) -> tuple[Array, ...]:
    return run(attrs.then if condition else attrs.otherwise, *captures)
