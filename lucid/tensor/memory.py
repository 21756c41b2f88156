"""The memory that tensors of a trace would share if the model ran eagerly.

A graph has values and no memory. So a change in place gives what was changed a new value, and all that shares its
memory is taken anew, when it is next read, of the value that the memory has by then.
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
    """The numbers of one value with the history of another: a change that the history knows nothing of."""
    if not is_float(old.type.dtype):
        return new
    if _gives(new):
        new = stop_gradient(new)
    return overwritten(new, old) if _gives(old) else new


def _gives(x: Symbol) -> bool:
    return gives_gradients(x.tracer.builder.dag, x.value.node)


class Memory:
    """The memory of one tensor and its views, or a part of another memory with a history of its own.

    Parameters
    ----------
    value
        What it holds.
    refusal
        Why it must not be changed, for a message; may be empty.

    Attributes
    ----------
    writes
        How often its value has become another.
    tracked
        Whether a change was none within ``no_grad``, so that eager code asks whether it is of a leaf.
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
        """What it holds, but for changes of the memory that it is a part of."""
        return self._value

    @value.setter
    def value(self, value: Symbol) -> None:
        self._value = value

    def part(self, steps: Steps, value: Symbol, is_view: Callable[[], bool | None] | None = None) -> Memory:
        """The memory of ``value``, which the steps make of this one's: the same numbers, with a history of its own.

        Where ``is_view`` is given it has the same history, or is a copy; that is asked when one of the two is changed.
        """
        made = Memory(value)
        made._above, made._steps, made._seen = self, steps, self.writes
        made._kind = "apart" if is_view is None else "perhaps"
        made._is_view, made._where = is_view, user_location()
        if is_view is not None:
            self._perhaps.append(ref(made))
        return made

    def catch_up(self) -> None:
        """Take the value anew where the memory that this is a part of has been changed."""
        above = self._above
        if above is None:
            return
        above.catch_up()  # which has found out whether this is a view of it, where it has been changed
        if self._above is not None and self._kind != "perhaps" and above.writes != self._seen:
            self._settle()
            taken = seen(above.value, self._steps)
            self.value = taken if self._kind == "view" else past_history(taken, self.value)
            self.writes += 1
            self._seen = above.writes

    def writable(self, check: Callable[[Memory], None]) -> None:
        """Decide what shares this memory, as it is about to be changed; ``check`` raises where that must not be."""
        memory: Memory | None = self
        while memory is not None:
            memory._settle()
            check(memory)
            memory = memory._above

    def write(self, value: Symbol, tracked: bool) -> None:
        """Hold another value from now on, and have the memory that this is a part of hold it there."""
        self.value = value
        self.tracked = self.tracked or tracked
        self.writes += 1
        above = self._above
        if above is not None:
            whole = with_part(above.value, self._steps, value)
            same = self._kind == "view"
            above.write(whole if same else past_history(whole, above.value), tracked and same)
            self._seen = above.writes

    def _settle(self) -> None:
        """Find out of all that may be views of this, or this of another, whether they are."""
        if self._kind == "perhaps":
            self._decide()
        for one in self._perhaps:
            if (made := one()) is not None:
                made._decide()
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
