"""Operators that hold graphs, of which one runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from ....errors import LucidError, TraceError, from_handler
from ....graph.assume import withdrawn_on_error
from ....graph.opdef import AbstractTensor
from ....graph.ops.control import cond
from ....graph.ops.expect import expect
from ....graph.ops.shape import reshape
from ..model import GraphDef
from ..registry import Call, Value, converter, is_host
from ..sequences import Layout

Results: TypeAlias = "list[AbstractTensor]"


@converter("If")
def if_(call: Call, condition: Value) -> Sequence[Value]:
    """Take one branch if the condition is known; otherwise both become regions of an ``If`` node.

    A branch that cannot be built for the present sizes is assumed not to be taken with them: the results of the other
    one are used, and the program checks the condition when it runs.
    """
    branches = call.required("then_branch"), call.required("else_branch")
    if is_host(condition):
        return call.run(branches[0] if call.scalar(condition, "the condition") else branches[1], ())
    chosen = reshape(call.tensor(condition), ())
    layouts: list[Layout] = []
    then, otherwise = (partial(_results, call, branch, layouts) for branch in branches)
    try:
        with withdrawn_on_error():
            found = cond(chosen, then, otherwise)
    except LucidError as error:
        if from_handler(error):
            raise
        _check_same(layouts)
        only = _only(call, chosen, then, otherwise)
        if only is None:
            raise
        found = only
    _check_same(layouts)
    return layouts[-1].restored(found)


def _results(call: Call, graph: GraphDef, layouts: list[Layout]) -> Results:
    """The tensors that a branch returns; their layout is appended to the list."""
    values = call.movable(call.run(graph, ()))
    layout = Layout.of(values)
    tensors = layout.flat(values, call.tensor)
    layouts.append(layout)
    return tensors


def _check_same(layouts: Sequence[Layout]) -> None:
    if len(set(layouts)) > 1:
        raise TraceError(
            "its branches give sequences of different lengths, or one gives nothing, and data chooses between them: "
            "lengths must be known when the model is built; uncompiled, it runs"
        )


def _only(
    call: Call, chosen: AbstractTensor, then: Callable[[], Results], otherwise: Callable[[], Results]
) -> Results | None:
    """The results of the only branch that can be built; None unless exactly one can."""
    built = _built(then), _built(otherwise)
    for value, (mine, other) in ((True, built), (False, built[::-1])):
        if isinstance(other, LucidError) and not isinstance(mine, LucidError):
            words = f"{call.node}: for these sizes the branch that is taken cannot be built: {other}"
            return [expect(one, chosen, value, words[:1000]) for one in mine]
    if not any(isinstance(one, LucidError) for one in built):
        _check_alike(*(one for one in built if not isinstance(one, LucidError)))
    return None


def _check_alike(then: Results, otherwise: Results) -> None:
    """Raise if results of two branches, both of which can be built, differ in shape."""
    for mine, other in zip(then, otherwise, strict=False):
        if mine.type.shape != other.type.shape:
            first, second = (", ".join(map(str, one.type.shape)) for one in (mine, other))
            raise TraceError(
                f"its branches give results of different shapes, ({first}) and ({second}), and data chooses between "
                "them: shapes must be known when the model is built; uncompiled, it runs"
            )


def _built(branch: Callable[[], Results]) -> Results | LucidError:
    try:
        with withdrawn_on_error():
            return branch()
    except LucidError as error:
        if from_handler(error):
            raise
        return error
