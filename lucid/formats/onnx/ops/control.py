"""Operators that hold graphs."""

from __future__ import annotations

from typing import Any

from ....errors import GraphError
from ....graph.ops.elementwise import where
from ..registry import Call, converter, is_host


@converter("If")
def if_(call: Call, condition: Any) -> Any:
    """One branch where the condition is known; otherwise both, and of each result the one that is wanted."""
    branches = call.required("then_branch"), call.required("else_branch")
    if is_host(condition):
        return call.run(branches[0] if call.scalar(condition, "the condition") else branches[1], ())
    chosen, results = condition.reshape(()), []
    for a, b in zip(*(call.tensors(*call.run(branch, ())) for branch in branches), strict=True):
        if a.type != b.type:
            raise GraphError(f"its branches give {a.type} and {b.type}, and which one is computed from data")
        results.append(where(chosen, a, b))
    return results
