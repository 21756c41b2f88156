"""The order of the passes, as readable lists, and the code that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from ..base.garbage import collection_paused
from ..base.structs import struct
from ..errors import PassError, from_handler
from ..graph.ir import Graph, Node
from ..graph.region import has_regions
from ..graph.verify import verify as verify_graph
from .combine_terms import combine_terms
from .convolve_gradients import convolve_gradients
from .defer_bias import defer_bias
from .eliminate_common import eliminate_common
from .eliminate_dead import eliminate_dead
from .expand_standardize import expand_standardize
from .fold.batch_norm import fold_batch_norm
from .fold.constants import Evaluate, fold_constants
from .fold.means import fold_means
from .fold.scales import fold_scales
from .fuse.attention import fuse_attention
from .fuse.conv_pool import fuse_conv_pool
from .fuse.elementwise import fuse_elementwise
from .fuse.hardswish import fuse_hardswish
from .fuse.linear import fuse_linear
from .fuse.linear_products import fuse_linear_products
from .fuse.loops import fuse_loops
from .fuse.residual import fuse_residual
from .join_slices import join_slices
from .layout import assign_layout
from .lift_signals import lift_signals
from .lower import lower
from .mask_winners import mask_winners
from .move_factors import move_factors
from .recompute_cheap import recompute_cheap
from .regions import optimise_regions
from .rewrite import fixed_point
from .simplify import SimplifyOptions, simplify
from .sink_monotone import sink_monotone
from .trim_kernels import trim_kernels

Observer: TypeAlias = "Callable[[Pass, Graph, Graph], None]"
Inside: TypeAlias = "Callable[[tuple[str, ...]], Observer]"


@struct(frozen=True)
class Pass:
    """A named function from graph to graph."""

    name: str
    run: Callable[[Graph], Graph]


def inference_pipeline(
    evaluate: Evaluate, has_kernel: Callable[[Node], bool], *, exact: bool = False
) -> tuple[Pass, ...]:
    """The passes for graphs that will not be differentiated.

    Parameters
    ----------
    evaluate
        ``evaluate(graph, inputs)`` runs a concrete graph; constants are folded with it.
    has_kernel
        Whether the runtime can run a node as it is; other composite nodes are decomposed.
    exact
        Leave out passes that change the rounding of sums.
    """
    options = SimplifyOptions(inference=True)
    return (
        Pass("eliminate_dead", eliminate_dead),
        Pass("clean_up", partial(clean_up, evaluate=evaluate, options=options)),
        Pass("lift_signals", lift_signals),
        Pass("fold_batch_norm", fold_batch_norm),
        *(() if exact else (Pass("fuse_hardswish", fuse_hardswish),)),
        Pass("fold_scales", partial(fold_scales, exact=exact)),
        Pass("trim_kernels", trim_kernels),
        Pass("sink_monotone", sink_monotone),
        Pass("fuse_conv_pool", fuse_conv_pool),
        Pass("fuse_residual", fuse_residual),
        Pass("fuse_linear_products", fuse_linear_products),
        *(() if exact else (Pass("fold_means", fold_means),)),
        Pass("fuse_linear", fuse_linear),
        *(() if exact else (Pass("fuse_attention", fuse_attention), Pass("defer_bias", defer_bias))),
        Pass("lower", partial(lower, has_kernel=has_kernel)),
        Pass("clean_up", partial(clean_up, evaluate=evaluate, options=options)),
        Pass("fuse_elementwise", fuse_elementwise),
        Pass("assign_layout", assign_layout),
    )


def training_pipeline(evaluate: Evaluate, has_kernel: Callable[[Node], bool]) -> tuple[Pass, ...]:
    """The passes for forward and backward graphs of training: none that changes which values have to be kept."""
    options = SimplifyOptions(inference=False)
    return (
        Pass("eliminate_dead", eliminate_dead),
        Pass("lower", partial(lower, has_kernel=has_kernel)),
        Pass("clean_up", partial(clean_up, evaluate=evaluate, options=options)),
        Pass("fuse_elementwise", fuse_elementwise),
        Pass("assign_layout", assign_layout),
    )


def step_pipeline(
    evaluate: Evaluate, has_kernel: Callable[[Node], bool], *, exact: bool = False
) -> tuple[Pass, ...]:  # fmt: skip
    """The passes for a whole training step, which is not differentiated and changes its parameters at each run.

    The parameters are those of :func:`inference_pipeline`.
    """
    options = SimplifyOptions(inference=True)
    inexact = (
        Pass("join_slices", join_slices),
        Pass("expand_standardize", expand_standardize),
        Pass("move_factors", move_factors),
        Pass("combine_terms", combine_terms),
        Pass("mask_winners", mask_winners),
        Pass("clean_up", partial(clean_up, evaluate=evaluate, options=options)),
    )
    return (
        Pass("eliminate_dead", eliminate_dead),
        Pass("lower", partial(lower, has_kernel=has_kernel)),
        Pass("clean_up", partial(clean_up, evaluate=evaluate, options=options)),
        *(() if exact else inexact),
        Pass("convolve_gradients", convolve_gradients),
        Pass("fuse_conv_pool", fuse_conv_pool),
        Pass("fuse_linear", fuse_linear),
        Pass("recompute_cheap", recompute_cheap),
        Pass("fuse_elementwise", fuse_elementwise),
        Pass("fuse_loops", fuse_loops),
        Pass("assign_layout", assign_layout),
    )


def clean_up(graph: Graph, evaluate: Evaluate, options: SimplifyOptions) -> Graph:
    """Simplify, fold constants and merge common subexpressions until none of them changes anything."""

    passes = (partial(simplify, options=options), partial(fold_constants, evaluate=evaluate), eliminate_common)
    idle: dict[Callable[[Graph], Graph], Graph] = {}
    """For each, the graph that it has left unchanged and need not look at again."""

    def step(graph: Graph) -> Graph:
        for one in passes:
            if idle.get(one) is not graph:
                before, graph = graph, one(graph)
                if graph is before:
                    idle[one] = graph
        return graph

    return fixed_point(step, graph, label="clean_up")


@collection_paused()
def run_passes(
    graph: Graph, passes: Sequence[Pass], *, observe: Observer | None = None, inside: Inside | None = None,
    verify: bool = True,
) -> Graph:  # fmt: skip
    """Run the passes in order; then, once, on the graphs within nodes.

    Parameters
    ----------
    graph
        The graph; it is not changed.
    passes
        In the order in which they run.
    observe
        Called as ``observe(pass, before, after)`` after each.
    inside
        Makes the ``observe`` for a graph that a node holds, from its path as in :func:`~lucid.graph.region.walk`.
    verify
        Verify the input graph, and every graph that a pass returns.

    Raises
    ------
    PassError
        It names the pass that failed (and the node, if known), and the passes that had run before.
    GraphError
        If the graph is malformed to begin with.
    """
    if verify:
        verify_graph(graph)
    regions = Pass("regions", partial(optimise_regions, run=partial(_run_within, passes=passes, inside=inside)))
    every = (*passes, regions) if has_regions(graph) else tuple(passes)
    for number, one in enumerate(every):
        try:
            after = one.run(graph)
            if after is not graph:
                _check_made(graph, after, verify)
        except Exception as error:
            if from_handler(error) or (isinstance(error, PassError) and error.graph is not None):
                raise  # it already describes a fault within a graph that a node holds
            ran = ", ".join(p.name for p in every[:number]) or "none"
            raise PassError(f"the pass {one.name} failed: {error} (passes that ran before it: {ran})") from error
        if observe is not None:
            observe(one, graph, after)
        graph = after
    return graph


def _run_within(
    graph: Graph, /, path: tuple[str, ...], *, passes: Sequence[Pass], inside: Inside | None
) -> Graph:  # fmt: skip
    """Run the passes on a graph that a node holds, at ``path``."""
    if inside is None:
        return run_passes(graph, passes, verify=False)

    def deeper(more: tuple[str, ...]) -> Observer:
        return inside((*path, *more))

    return run_passes(graph, passes, observe=inside(path), inside=deeper, verify=False)


def _check_made(before: Graph, after: object, verify: bool) -> None:
    """Raise if a pass returned something other than a graph, a malformed one, or one with other inputs or results."""
    if not isinstance(after, Graph):
        raise PassError(
            f"it returned a {type(after).__name__}; a pass returns a graph, and the one it was given where it had "
            f"nothing to do"
        )
    if not verify:
        return
    verify_graph(after)
    for what, old, new in (
        ("takes", before.input_types, after.input_types),
        ("gives", before.output_types, after.output_types),
    ):
        if len(old) != len(new) or not all(a.same_value(b) for a, b in zip(old, new, strict=True)):
            listed = [", ".join(str(t.with_order(None)) for t in types) or "nothing" for types in (new, old)]
            raise PassError(f"its graph {what} {listed[0]}, and the one it was given {listed[1]}")
    if [name for name, _ in before.updates] != [name for name, _ in after.updates]:
        raise PassError("its graph updates other parameters than the one it was given")
