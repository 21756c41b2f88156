"""The sizes that a model's inputs may have, according to its file and its operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import LucidError, ShapeError, from_handler
from ..graph.assume import Assumption, assumed
from ..graph.dims import Dim, SymDim
from ..graph.equations import Solution, solution
from ..graph.opdef import AbstractTensor
from ..graph.types import Shape, TensorType
from ..tensor.tracing import Recorder

MOST_TRACES = 24
"""How often a model may be traced to find them."""


def agreed(run: Callable[..., object], types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    """The types, restricted to what is needed for ``run`` to be traced; unchanged if that is not found.

    A file may give one size several names, or a name to a size that has only one valid value. If an operator needs two
    sizes to be equal, or requires a particular size, this is substituted in the types, and the trace starts again.
    """
    waiting = [types]
    for _ in range(MOST_TRACES):
        if not waiting:
            break
        found = waiting.pop()
        conditions = _conditions(run, found)
        if conditions is None:
            return found
        others = (tuple(one.substitute(condition) for one in found) for condition in reversed(conditions))
        waiting += [one for one in others if _are_sizes(one)]
    return types


def _are_sizes(types: Sequence[TensorType]) -> bool:
    """Whether no dimension is certainly negative."""
    dims = (dim for one in types for dim in one.shape if isinstance(dim, SymDim))
    return all(any(factor > 0 for _, factor in dim.terms) for dim in dims)


def _conditions(run: Callable[..., object], types: Sequence[TensorType]) -> list[Solution] | None:
    """Conditions on the symbols to try, the most likely first; None if the model can be traced as it is."""
    order = list(dict.fromkeys(name for one in reversed(types) for name, _ in reversed(_symbols(one.shape))))
    recorder = Recorder()
    try:
        with recorder.active():
            run(*(recorder.input(one, "x") for one in types))
    except LucidError as error:
        if from_handler(error):
            raise
        other = [(one.dim, one.bound) for one in reversed(_asked(error)) if one.relation == "!="]
        pairs = [*_unequal(error), *other]
        of_inputs = (pair for pair in pairs if not any(map(recorder.tracer.is_found, pair)))
        found = (solution(a, b, order) for a, b in of_inputs)
        return [one for one in found if one]
    return None


def _symbols(shape: Shape) -> list[tuple[str, int]]:
    """The symbols of a shape, with their axes."""
    return [(name, axis) for axis, dim in enumerate(shape) if isinstance(dim, SymDim) for name in sorted(dim.symbols)]


def symbols_of(value: object) -> list[tuple[str, int]]:
    """The symbols of a tensor, with their axes; empty for anything else."""
    return _symbols(value.type.shape) if isinstance(value, AbstractTensor) else []


def failed(error: LucidError) -> None:
    """Attach to an error what its trace has assumed about sizes so far; traces of other branches may continue."""
    error.__dict__.setdefault("asked", assumed())


def _asked(error: LucidError) -> Sequence[Assumption]:
    found: Sequence[Assumption] = error.__dict__.get("asked", ())
    return found


def _unequal(error: LucidError) -> list[tuple[Dim, Dim]]:
    """Sizes that an operator needs to be equal."""
    left, right = (error.unequal if isinstance(error, ShapeError) else None) or ((), ())
    pairs = [pair for pair in zip(left, right, strict=False) if pair[0] != pair[1]]
    return [(a, b) for a, b in pairs if isinstance(a, int | SymDim) and isinstance(b, int | SymDim)]
