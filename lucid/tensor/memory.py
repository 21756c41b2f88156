"""The memory that tensors of a trace would share if the model ran eagerly.

A graph has values, but no memory. So an in-place change gives the memory a new value; all tensors that share it are
recomputed from its current value when they are next read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias
from weakref import ref

from ..errors import TraceError
from ..graph.facts import gives_gradients
from ..graph.ops.shape import overwritten, stop_gradient
from ..graph.trace import Symbol, user_location
from ..graph.types import is_float
from .views import Steps, seen, with_part

Kind: TypeAlias = Literal["view", "apart", "perhaps"]


def past_history(new: Symbol, old: Symbol) -> Symbol:
    """The numbers of ``new`` with the history of ``old``, for changes that do not enter the history."""
    if not is_float(old.type.dtype):
        return new
    if _gives(new):
        new = stop_gradient(new)
    return overwritten(new, old) if _gives(old) else new


def _gives(x: Symbol) -> bool:
    return gives_gradients(x.tracer.builder.dag, x.value.node)


class Memory:
    """The memory of one tensor and its views, or a part of such a memory that has a history of its own.

    A part is of a kind: a "view" shares the history of the memory above it; a part that is "apart" does not; and one
    that is "perhaps" a view turns out to be a view or a copy when either is changed.

    Parameters
    ----------
    value
        The current value.
    refusal
        Why it must not be changed, for a message; may be empty.

    Attributes
    ----------
    writes
        How often the value has changed.
    tracked
        Whether some change was made outside ``no_grad``, which eager code refuses for leaves.
    """

    def __init__(self, value: Symbol, refusal: str = "") -> None:
        self._value = value
        self.refusal = refusal
        self.writes = 0
        self.tracked = False
        self._above: Memory | None = None
        self._kind: Kind = "view"
        self._steps: Steps = ()
        self._seen = 0
        self._is_view: Callable[[], bool | None] | None = None
        self._perhaps: list[ref[Memory]] = []
        self._where = ""

    @property
    def value(self) -> Symbol:
        """The value, not counting changes above it that :meth:`catch_up` has not applied yet."""
        return self._value

    @value.setter
    def value(self, value: Symbol) -> None:
        self._value = value

    def part(self, steps: Steps, value: Symbol, is_view: Callable[[], bool | None] | None = None) -> Memory:
        """The memory of ``value``, the view of this one by ``steps``: the same numbers with a history of its own.

        With ``is_view``, it is instead either a view or a copy, which is decided when one of the two is changed.
        """
        part = Memory(value)
        part._above, part._steps, part._seen = self, steps, self.writes
        part._kind = "apart" if is_view is None else "perhaps"
        part._is_view, part._where = is_view, user_location()
        if is_view is not None:
            self._perhaps.append(ref(part))
        return part

    def catch_up(self) -> None:
        """Recompute the value if the memory above has changed."""
        above = self._above
        if above is None:
            return
        above.catch_up()  # if that changes it, it has decided whether this is a view, and may have set _above to None
        if self._above is not None and self._kind != "perhaps" and above.writes != self._seen:
            self._settle()
            taken = seen(above.value, self._steps)
            self.value = taken if self._kind == "view" else past_history(taken, self.value)
            self.writes += 1
            self._seen = above.writes

    def writable(self, check: Callable[[Memory], None]) -> None:
        """Decide what shares this memory before it is changed; ``check`` raises for memory that must not change."""
        memory: Memory | None = self
        while memory is not None:
            memory._settle()
            check(memory)
            memory = memory._above

    def write(self, value: Symbol, tracked: bool) -> None:
        """Set a new value, here and in the memory above."""
        self.value = value
        self.tracked = self.tracked or tracked
        self.writes += 1
        above = self._above
        if above is not None:
            whole = with_part(above.value, self._steps, value)
            is_view = self._kind == "view"
            above.write(whole if is_view else past_history(whole, above.value), tracked and is_view)
            self._seen = above.writes

    def _settle(self) -> None:
        """Decide whether this is a view, and whether the parts that may be views of it are."""
        if self._kind == "perhaps":
            self._decide()
        for reference in self._perhaps:
            if (part := reference()) is not None:
                part._decide()
        self._perhaps.clear()

    def _decide(self) -> None:
        if self._kind != "perhaps" or self._is_view is None or self._above is None:
            return
        found = self._is_view()
        if found is None:
            raise TraceError(
                f"a tensor is changed in place ({user_location()}), of which another ({self._where}) is a view or a "
                f"copy, as it happens to lie in memory, which is not known while the model is traced: make that "
                f"reshape of a contiguous() tensor, or change a clone()"
            )
        if found:
            self._kind, self._seen = "view", self._above.writes
        else:
            self._above, self._kind = None, "view"
