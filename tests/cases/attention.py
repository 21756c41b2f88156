"""Attention and rotations: composites, so that their rows have no op of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.ops import attention

from .case import Case

Array = np.ndarray[Any, Any]


def _operands(*shapes: tuple[int, ...], mask: Any = None) -> Any:
    """Normal numbers of these shapes; and a mask, which a function of the random generator makes."""

    def make(rng: np.random.Generator, dtype: str) -> tuple[Array, ...]:
        arrays = tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
        if mask is None:
            return arrays
        made = mask(rng)
        return (*arrays, made if made.dtype == bool else made.astype(dtype))

    return make


def _case(name: str, make: Any, **options: Any) -> Case:
    def theirs(torch: Any, *xs: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(*xs, **options)

    return Case(
        f"attention-{name}",
        lambda *xs: attention.scaled_dot_product_attention(*xs, **options),
        make,
        None if name.startswith("nothing") else theirs,  # of which PyTorch's gradients are as its kernels have them
    )


_SELF = ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5))
_CROSS = ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7))
_GROUPS = ((2, 6, 4, 5), (2, 3, 7, 5), (2, 3, 7, 5))


def _seen(*shape: int, nothing: bool = False) -> Any:
    """Truth values; the first query sees nothing, if so wished."""

    def mask(rng: np.random.Generator) -> Array:
        made = rng.random(shape) > 0.4
        made[..., 0] = True
        made[..., 0, :] &= not nothing
        return made

    return mask


ATTENTION = [
    _case("self", _operands(*_SELF)),
    _case("cross", _operands(*_CROSS)),
    _case("matrices", _operands((4, 5), (6, 5), (6, 3))),
    _case("causal", _operands(*_SELF), is_causal=True),
    _case("causal-longer", _operands(*_CROSS), is_causal=True),
    _case("scale", _operands(*_SELF), scale=0.3),
    _case("bools", _operands(*_CROSS, mask=_seen(4, 6))),
    _case("bools-per-head", _operands(*_CROSS, mask=_seen(2, 3, 4, 6))),
    _case("numbers", _operands(*_CROSS, mask=lambda rng: rng.standard_normal((2, 1, 4, 6)))),
    _case("infinities", _operands(*_CROSS, mask=lambda rng: np.where(_seen(4, 6)(rng), 0.5, -np.inf))),
    _case("nothing", _operands(*_CROSS, mask=_seen(4, 6, nothing=True))),
    _case("nothing-per-head", _operands(*_GROUPS, mask=_seen(2, 6, 4, 7, nothing=True)), enable_gqa=True),
    _case(
        "nothing-infinities",
        _operands(*_CROSS, mask=lambda rng: np.where(_seen(4, 6, nothing=True)(rng), 0.5, -np.inf)),
    ),
    _case("groups", _operands(*_GROUPS), enable_gqa=True),
    _case("groups-one", _operands((2, 6, 4, 5), (2, 1, 7, 5), (2, 1, 7, 5), mask=_seen(2, 6, 4, 7)), enable_gqa=True),
    _case("groups-bools", _operands(*_GROUPS, mask=_seen(2, 6, 4, 7)), enable_gqa=True),
    _case("empty", _operands((0, 3, 4, 5), (0, 3, 4, 5), (0, 3, 4, 5))),
    _case("no-keys", _operands((2, 4, 5), (2, 0, 5), (2, 0, 7))),
]


def _rotation(name: str, shape: tuple[int, ...], angles: tuple[int, ...], interleaved: bool = False) -> Case:
    return Case(
        f"rotary-{name}",
        lambda *xs: attention.rotary_embedding(*xs, interleaved),
        _operands(shape, angles, angles),
    )


ROTARY = [
    _rotation("halves", (2, 3, 4, 6), (4, 3)),
    _rotation("neighbours", (2, 3, 4, 6), (4, 3), True),
    _rotation("part", (2, 4, 7), (4, 2)),
    _rotation("part-neighbours", (2, 4, 7), (2, 4, 2), True),
    _rotation("empty", (0, 4, 6), (4, 3)),
]

CASES = [*ATTENTION, *ROTARY]
