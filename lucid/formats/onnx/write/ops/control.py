"""Ops that run graphs: these become graphs within nodes, which read captured values directly."""

from __future__ import annotations

from .....graph.ir import Graph
from .....graph.ops.control import IF, IfAttrs
from .....graph.ops.custom_gradient import CUSTOM_GRADIENT, ONCE, CustomGradientAttrs
from .....graph.ops.expect import EXPECT, ExpectAttrs
from .....graph.ops.loops import LOOP, SCAN, Along, LoopAttrs, ScanAttrs
from .....graph.types import bool_, int64
from ..draft import Item, Part, Step, UnwritableError
from ..registry import Use, Written, writer


@writer(IF)
def branch(use: Use[IfAttrs]) -> Written:
    condition, *captures = use.inputs
    dtypes = [type_.dtype for type_ in use.node.outputs]
    then, otherwise = (use.part(region.graph, 0, captures) for region in use.attrs.branches)
    return use.emit_all("If", condition, dtypes=dtypes, then_branch=then, else_branch=otherwise)


@writer(LOOP)
def loop(use: Use[LoopAttrs]) -> Written:
    limit, condition, *given = use.inputs
    count = use.attrs.carried
    body = use.part(use.attrs.body.graph, use.attrs.handed, given[count:])
    body.inputs.insert(1, (Item(use.draft.fresh("condition"), bool_), ()))
    dtypes = [type_.dtype for type_ in use.node.outputs]
    return use.emit_all("Loop", limit, condition, *given[:count], dtypes=dtypes, body=body)


@writer(SCAN)
def scan(use: Use[ScanAttrs]) -> Written:
    a = use.attrs
    init, xs, captures = a.operands(use.inputs)
    if not a.scanned:
        return _counted(use, list(init), list(captures))
    body = use.part(a.body.graph, a.handed, captures)
    _, _, kept = a.results(range(len(use.node.outputs)))
    stacks = [*a.stacked]
    if any(map(use.is_read, kept)):  # the values carried into an iteration are the body's own inputs
        stacks += [Along()] * len(kept)
        _keep(use, body, a.body.graph)
    dtypes = [type_.dtype for type_ in use.node.outputs[: a.carried + len(stacks)]]
    return use.emit_all(
        "Scan", *init, *xs, dtypes=dtypes, body=body, num_scan_inputs=len(xs),
        scan_input_axes=[one.axis for one in a.scanned], scan_input_directions=[int(one.reverse) for one in a.scanned],
        scan_output_axes=[one.axis for one in stacks] or None,
        scan_output_directions=[int(one.reverse) for one in stacks] or None,
    )  # fmt: skip


def _keep(use: Use[ScanAttrs], body: Part, graph: Graph) -> None:
    """Let a body return a value that it is passed."""
    handed = body.inputs[: use.attrs.carried]
    for (item, shape), type_ in zip(handed, graph.input_types, strict=False):
        given = Item(use.draft.fresh("kept"), type_.dtype)
        body.steps.append(Step("Identity", use.draft.fresh("/Identity"), (item.name,), (given.name,), {}))
        body.outputs.append((given, shape))


def _counted(use: Use[ScanAttrs], init: list[Item], captures: list[Item]) -> Written:
    """A loop with a number of iterations and no inputs; its results are stacked along the first axis."""
    a = use.attrs
    if any(one != Along() for one in a.stacked) or any(
        use.is_read(i) for i in a.results(range(len(use.node.outputs)))[2]
    ):
        raise UnwritableError(
            "it goes over no array, and stacks otherwise than along the first axis: let it go over one"
        )
    body = use.part(a.body.graph, a.handed, captures)
    turn, before, after = (use.draft.fresh(name) for name in ("turn", "condition", "further"))
    body.inputs[:0] = [(Item(turn, int64), ()), (Item(before, bool_), ())]
    body.steps.append(Step("Identity", use.draft.fresh("/Identity"), (before,), (after,), {}))
    body.outputs.insert(0, (Item(after, bool_), ()))
    dtypes = [type_.dtype for type_ in use.node.outputs[: a.carried + len(a.stacked)]]
    return use.emit_all("Loop", use.size(a.length), use.number(True, bool_), *init, dtypes=dtypes, body=body)


@writer(EXPECT)
def expect(use: Use[ExpectAttrs]) -> Item:
    """The first element of a vector of one if the condition holds; otherwise the second, which ends the run."""
    x, condition = use.inputs
    wrong = use.emit("Not", condition) if use.attrs.value else condition
    row = use.emit("Unsqueeze", x, use.array([0]))
    return use.emit("Gather", row, use.cast(wrong, int64), axis=0)


@writer(CUSTOM_GRADIENT)
def custom_gradient(use: Use[CustomGradientAttrs]) -> Written:
    """The values as they are: a file of ONNX holds no gradients but those that were written as nodes."""
    return use.inputs[: use.attrs.results]


@writer(ONCE)
def once(use: Use) -> Item:
    return use.inputs[0]
