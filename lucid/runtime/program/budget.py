"""Plans that stay within a memory budget by recomputing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import TypeAlias

from ...base.garbage import collection_paused
from ...errors import BudgetError
from ...graph.ir import Graph
from ..planning.registry import Choice
from .plan import OBJECTS, Plan, make_plan
from .recompute import Course

_ENDS = 3
"""How many of the orders that need the least memory are planned before a budget is refused."""

_Make: TypeAlias = "Callable[[Graph], Plan]"


@collection_paused()
def plan_within(
    graph: Graph, budget: int, *, threads: int = 1, exact: bool = False, lasting: bool = True,
    chosen: Mapping[str, Choice] | None = None, in_place: bool = False,
) -> Plan:  # fmt: skip
    """The plan of a concrete graph whose peak is within a budget.

    The orders that are tried do not depend on the budget, so the least budget that an error message names suffices.

    Parameters
    ----------
    budget
        Bytes that :attr:`Plan.peak` may be.
    graph, threads, exact, lasting, chosen, in_place
        As for :func:`~.plan.make_plan`.

    Raises
    ------
    BudgetError
        If more memory is needed, whatever is recomputed; the message says how much.
    """
    make = partial(make_plan, exact=exact, lasting=lasting, chosen=chosen, in_place=in_place)
    usual = make(graph, threads=threads)
    if usual.peak <= budget:
        return usual
    return _lowered(usual, budget, partial(make, threads=usual.threads))  # the same threads, so the same choices


def _lowered(usual: Plan, budget: int, make: _Make) -> Plan:
    """Another plan of the same graph, within the budget."""
    course = Course(usual.steps, usual.graph, [*usual.outputs, *(y for _, y in usual.updates or ())], usual.last)
    goal, ends = _about(course) - (usual.peak - budget), list[Course]()
    while (lower := course.lower()) is not None:
        course = lower
        ends = sorted([*ends, course], key=_about)[:_ENDS]
        if _about(course) <= goal:
            plan = _planned(course, make)
            if plan.peak <= budget:
                return plan
            goal = _about(course) - (plan.peak - budget)
    least = min(chain([usual], (_planned(end, make) for end in ends)), key=lambda plan: plan.peak)  # two plans at once
    if least.peak > budget:
        raise BudgetError(
            f"a memory_budget of {budget:,} bytes is too small: this takes {usual.peak:,}, and, where values are "
            f"computed again, not less than {least.peak:,}",
            least=least.peak,
        )
    return least


def _about(course: Course) -> int:
    """About how many bytes an order needs, leaving out what all orders have in common."""
    return course.peak + OBJECTS * len(course.steps)


def _planned(course: Course, make: _Make) -> Plan:
    graph, again = course.written()
    plan = make(graph)
    plan.recomputed = tuple(again)
    return plan
