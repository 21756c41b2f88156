"""Operators that hold graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from ....errors import LucidError, from_handler
from ....graph.opdef import AbstractTensor
from ....graph.ops.control import cond
from ....graph.ops.expect import expect
from ....graph.ops.shape import reshape
from ..model import GraphDef
from ..registry import Call, Value, converter, is_host

Results: TypeAlias = "list[AbstractTensor]"


@converter("If")
def if_(call: Call, condition: Value) -> Sequence[Value]:
    """One branch where the condition is known; otherwise both are regions of a node, of which one runs.

    A branch that cannot be built for the sizes at hand is one that a model does not take with these: then the other
    one's results are taken, and when the program runs the condition is looked at.
    """
    branches = call.required("then_branch"), call.required("else_branch")
    if is_host(condition):
        return call.run(branches[0] if call.scalar(condition, "the condition") else branches[1], ())
    chosen = reshape(call.tensor(condition), ())
    then, otherwise = (partial(_results, call, branch) for branch in branches)
    try:
        return cond(chosen, then, otherwise)
    except LucidError as error:
        if from_handler(error):
            raise
        found = _only(call, chosen, then, otherwise)
        if found is None:
            raise
        return found


def _results(call: Call, graph: GraphDef, given: Sequence[Value] = ()) -> Results:
    return [call.tensor(one) for one in call.run(graph, given)]


def _only(
    call: Call, chosen: AbstractTensor, then: Callable[[], Results], otherwise: Callable[[], Results]
) -> Results | None:
    """The results of the one branch that can be built, where that is what is wrong."""
    built = _built(then), _built(otherwise)
    for value, (mine, other) in ((True, built), (False, built[::-1])):
        if isinstance(other, LucidError) and not isinstance(mine, LucidError):
            words = f"{call.node}: for these sizes the branch that is taken cannot be built: {other}"
            return [expect(one, chosen, value, words[:1000]) for one in mine]
    return None


def _built(branch: Callable[[], Results]) -> Results | LucidError:
    try:
        return branch()
    except LucidError as error:
        if from_handler(error):
            raise
        return error
