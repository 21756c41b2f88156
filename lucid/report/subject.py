"""The subject of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..base.arrays import Array
from ..base.structs import struct
from ..graph.ir import Graph
from ..inspect.profile import Profile
from ..passes.pipeline import Pass
from ..passes.rewrite import Decline
from ..runtime.program.plan import Plan
from ..runtime.program.printer import Source


@struct(frozen=True)
class Subject:
    """The compiled model that a report describes.

    Attributes
    ----------
    title
        The name of the model.
    traced, passes, declined
        The traced graph, the passes that optimised it, and why others did not apply.
    plan, source
        The plan and the source of its program.
    profile
        Measured times, if there are any.
    weights
        Its parameters and buffers, by name.
    """

    title: str
    traced: Graph
    passes: Sequence[Pass]
    declined: Iterable[Decline]
    plan: Plan
    source: Source
    profile: Profile | None
    weights: Mapping[str, Array]
