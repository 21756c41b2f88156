"""The use of the arena: which buffer occupies which bytes, and during which steps."""

from __future__ import annotations

from ..runtime.program.emitter import Operand
from ..runtime.program.liveness import intervals
from ..runtime.program.plan import Plan
from .nodes import Data


def memory_data(plan: Plan) -> Data:
    """The blocks of the arena over the steps of a run, without steps that depend on parameters only."""
    running = [number for number, step in enumerate(plan.steps) if not step.fixed]
    at = {number: position for position, number in enumerate(running)}
    owners = _owners(plan)
    blocks = []
    for interval in intervals(plan.steps, plan.outputs):
        first, last = _within(interval.start, interval.stop, at, len(plan.steps))
        blocks.append({
            "offset": plan.places[interval.operands[0]].offset, "bytes": interval.nbytes, "first": first, "last": last,
            "owners": [owners[y] | {"type": str(y.type.with_order(None))} for y in interval.operands],
        })  # fmt: skip
    return {
        "arena": plan.arena_bytes,
        "least": plan.layout.lower_bound,
        "packed": plan.packed_bytes,
        "packing": plan.workspace_bytes,
        "results": sum(y.type.nbytes for y in plan.outputs),
        "steps": [plan.steps[number].name for number in running],
        "blocks": blocks,
    }


def _within(start: int, stop: int, at: dict[int, int], steps: int) -> tuple[int, int]:
    """The first and last of an interval's steps, counting only those that run at each call."""
    inside = [at[number] for number in range(start, min(stop + 1, steps)) if number in at]
    return (inside[0], inside[-1]) if inside else (0, 0)


def _owners(plan: Plan) -> dict[Operand, dict[str, str]]:
    """For each operand, the node that it belongs to, and its role."""
    found: dict[Operand, dict[str, str]] = {}
    for step in plan.steps:
        results = [y for y in step.outs if y is not None]
        for number, y in enumerate(results):
            found[y] = {"node": step.name, "what": "result" if len(results) == 1 else f"result {number}"}
        for y in step.buffers:
            found.setdefault(y, {"node": step.name, "what": "working memory"})
    return found
