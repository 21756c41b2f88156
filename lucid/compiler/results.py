"""What a compiled model gives back: what its program has computed, or the very object that the model handed through.

An eager model that returns an argument returns that object and no copy; one tensor that it returns twice is one object;
an array that it made itself is an array. So it is for the compiled one. Arrays among its arguments are tensors to it as
to a module, and come back as tensors. Parameters and buffers come back as copies: results belong to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from ..base.structs import struct
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from .arguments import LEAF, Making, Structure, leaf_names, making, structures

COMPUTED, ARGUMENT, AGAIN, ARRAY = "computed", "argument", "again", "array"

Source: TypeAlias = "tuple[str, Any]"


@struct(frozen=True)
class Results:
    """The results of a trace.

    Attributes
    ----------
    structure
        How they are nested.
    sources
        What each of them is; nothing where all are computed (as in a model from a file).
    """

    structure: Structure
    sources: tuple[Source, ...] = ()

    @cached_property
    def alone(self) -> bool:
        """Whether there is a single result, in no container, which the program computes."""
        return self.structure == LEAF and self.sources in ((), ((COMPUTED, None),))

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called, where some are in dicts or dataclasses: by key and place, as ``hidden.0``."""
        kind, *parts = self.structure
        if not any(part[0] in ("dict", "object") for part in structures(self.structure)):
            return ()
        if kind not in ("tuple", "list"):
            return tuple(leaf_names(self.structure, ""))
        parts = parts[1:] if kind == "tuple" else parts
        return tuple(name for i, part in enumerate(parts) for name in leaf_names(part, str(i)))

    def of(self, made: Sequence[Tensor], leaves: Sequence[object]) -> Any:
        """What a call on ``leaves`` gives back, once its program has made these tensors."""
        found: list[Any] = list(made)
        for i, (kind, which) in self._otherwise:
            if kind == ARGUMENT:
                found[i] = leaves[which] if isinstance(leaves[which], Tensor) else found[i]
            elif kind == AGAIN:
                found[i] = found[which]
            else:
                found[i] = np.array(found[i]._array)
        return self._make(iter(found))

    @cached_property
    def _otherwise(self) -> tuple[tuple[int, Source], ...]:
        """The places of those that are not computed, and what they are."""
        return tuple((i, source) for i, source in enumerate(self.sources) if source[0] != COMPUTED)

    @cached_property
    def _make(self) -> Making:
        return making(self.structure)


def traced_results(structure: Structure, found: Sequence[object], inputs: Sequence[TracedTensor]) -> Results:
    """What a model returned while it was traced with these inputs."""
    known: dict[int, Source] = {id(x): (ARGUMENT, i) for i, x in enumerate(inputs)}
    sources: list[Source] = []
    for i, one in enumerate(found):
        sources.append(known.get(id(one)) or ((ARRAY if isinstance(one, np.ndarray) else COMPUTED), None))
        known.setdefault(id(one), (AGAIN, i))
    return Results(structure, tuple(sources))
