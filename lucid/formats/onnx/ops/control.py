"""Operators that hold graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ....errors import GraphError, LucidError, from_handler
from ....graph.opdef import AbstractTensor
from ....graph.ops.elementwise import where
from ....graph.ops.expect import expect
from ....graph.ops.shape import reshape
from ..model import GraphDef
from ..registry import Call, Value, converter, is_host

Results: TypeAlias = "list[AbstractTensor]"


@converter("If")
def if_(call: Call, condition: Value) -> Sequence[Value]:
    """One branch where the condition is known; otherwise both, and of each result the one that is wanted.

    A branch that cannot be built for the sizes at hand is one that a model does not take with these: then the other
    one's results are taken, and when the program runs the condition is looked at.
    """
    branches = call.required("then_branch"), call.required("else_branch")
    if is_host(condition):
        return call.run(branches[0] if call.scalar(condition, "the condition") else branches[1], ())
    chosen = reshape(_tensor(call, condition), ())
    built = [_built(call, branch) for branch in branches]
    for value, (mine, other) in ((True, built), (False, built[::-1])):
        if isinstance(other, LucidError):
            if isinstance(mine, LucidError):
                raise mine
            words = f"{call.node}: for these sizes the branch that is taken cannot be built: {other}"
            return [expect(one, chosen, value, words[:1000]) for one in mine]
    return [_either(chosen, a, b) for a, b in zip(*built, strict=True)]


def _tensor(call: Call, value: Value) -> AbstractTensor:
    tensor: AbstractTensor = call.tensor(value)
    return tensor


def _built(call: Call, branch: GraphDef) -> Results | LucidError:
    try:
        return [_tensor(call, one) for one in call.run(branch, ())]
    except LucidError as error:
        if from_handler(error):
            raise
        return error


def _either(chosen: AbstractTensor, a: AbstractTensor, b: AbstractTensor) -> AbstractTensor:
    if a.type != b.type:
        raise GraphError(f"its branches give {a.type} and {b.type}, and which one is computed from data")
    return where(chosen, a, b)
