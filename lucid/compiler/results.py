"""Results of a compiled model: computed by its program, or objects that the model passes through.

A compiled model returns the same objects as the eager one: an argument itself rather than a copy, a tensor that is
returned twice as one object, an array that the model created as an array. Arrays among the arguments are returned as
tensors, as a module does. Parameters and buffers are returned as copies: results belong to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..errors import OptionError
from ..tensor.grad_mode import is_grad_enabled
from ..tensor.inplace import check_writable
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from .arguments import LEAF, Structure, Unflatten, leaf_names, structures, unflattener

COMPUTED, ARGUMENT, REPEATED, ARRAY = "computed", "argument", "again", "array"

Source: TypeAlias = "tuple[str, Any]"


@struct(frozen=True)
class Results:
    """The results of a trace.

    Attributes
    ----------
    structure
        How they are nested.
    sources
        Where each comes from; empty if all are computed (as in a model from a file).
    changed
        Arguments that are changed in place, each with whether that was outside ``no_grad``. The program returns their
        new values after the results.
    arrays
        Whether arrays are changed too: a module computes with copies of them.
    rows
        Whether the trace assumed that the arguments are contiguous.
    """

    structure: Structure
    sources: tuple[Source, ...] = ()
    changed: tuple[tuple[int, bool], ...] = ()
    rows: bool = False
    arrays: bool = True

    @cached_property
    def alone(self) -> bool:
        """Whether there is a single result, not in a container, which the program computes."""
        return self.structure == LEAF and self.sources in ((), ((COMPUTED, None),)) and not self.changed

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the results by key and position (``hidden.0``), if some are in dicts or dataclasses."""
        kind, *parts = self.structure
        if not any(part[0] in ("dict", "object") for part in structures(self.structure)):
            return ()
        if kind not in ("tuple", "list"):
            return tuple(leaf_names(self.structure, ""))
        parts = parts[1:] if kind == "tuple" else parts
        return tuple(name for i, part in enumerate(parts) for name in leaf_names(part, str(i)))

    def of(self, made: Sequence[Tensor], leaves: Sequence[object]) -> Any:
        """The value that a call on ``leaves`` returns, from the tensors that its program has computed."""
        found: list[Any] = list(made)
        if self.changed:
            found, now = found[: -len(self.changed)], found[-len(self.changed) :]
            for (i, tracked), value in zip(self.changed, now, strict=True):
                if self.arrays or isinstance(leaves[i], Tensor):
                    _hand_back(cast("Tensor | Array", leaves[i]), value, tracked)
        for i, (kind, which) in self._otherwise:
            if kind == ARGUMENT:
                found[i] = leaves[which] if isinstance(leaves[which], Tensor) else found[i]
            elif kind == REPEATED:
                found[i] = found[which]
            else:
                found[i] = np.array(found[i]._array)
        return self._make(iter(found))

    @cached_property
    def _otherwise(self) -> tuple[tuple[int, Source], ...]:
        """The results that are not computed: their positions and sources."""
        return tuple((i, source) for i, source in enumerate(self.sources) if source[0] != COMPUTED)

    @cached_property
    def _make(self) -> Unflatten:
        return unflattener(self.structure)


def _hand_back(argument: Tensor | Array, value: Tensor, tracked: bool) -> None:
    """Write the new value of an argument into it, with its history if the change was ``tracked``."""
    if isinstance(argument, Tensor):
        argument.become("the compiled model", value if tracked else value.detach())
    else:
        np.copyto(argument, value._array)


def check_arguments(results: Results, leaves: Sequence[Tensor | Array], state: Iterable[Tensor]) -> None:
    """Raise if the memory of arguments that are changed in place does not fit the assumptions of the trace."""
    arrays = [leaf._array if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    for i, array in enumerate(arrays):
        if results.rows and not array.flags.c_contiguous:
            raise OptionError(
                f"argument {i} does not lie row by row in memory, and the model changes tensors in place of which that "
                f"decides what is a view: hand over x.contiguous()"
            )
    for i, tracked in results.changed:
        if not results.arrays and not isinstance(leaves[i], Tensor):
            continue
        name, leaf = f"the compiled model, which changes argument {i}", leaves[i]
        if isinstance(leaf, Tensor):
            leaf.check_change(tracked and is_grad_enabled() and leaf.requires_grad, name)
        else:
            check_writable(name, leaf)
        others = [*arrays[:i], *arrays[i + 1 :], *(x._array for x in state)]
        if any(np.may_share_memory(arrays[i], other) and np.shares_memory(arrays[i], other) for other in others):
            raise OptionError(
                f"the compiled model changes argument {i} in place, which has memory in common with another argument "
                f"or with the model's state: hand over a clone() of one of them"
            )


def traced_results(
    structure: Structure, found: Sequence[object], inputs: Sequence[TracedTensor],
    changed: tuple[tuple[int, bool], ...] = (), rows: bool = False, arrays: bool = True,
) -> Results:  # fmt: skip
    """The results of a model that was traced with these inputs and ``changed`` some of them."""
    known: dict[int, Source] = {id(x): (ARGUMENT, i) for i, x in enumerate(inputs)}
    sources: list[Source] = []
    for i, one in enumerate(found):
        sources.append(known.get(id(one)) or ((ARRAY if isinstance(one, np.ndarray) else COMPUTED), None))
        known.setdefault(id(one), (REPEATED, i))
    return Results(structure, tuple(sources), changed, rows, arrays)
