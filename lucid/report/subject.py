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
    """A compiled model, as far as a report tells of it.

    Attributes
    ----------
    title
        What it is called.
    traced, passes, declined
        Where it comes from.
    plan, source
        How it runs.
    profile
        How long that takes, where it was measured.
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
