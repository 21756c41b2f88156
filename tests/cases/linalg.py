"""Matrix products: vectors, matrices, broadcast batches, linear layers, index notation."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.graph.opdef import apply
from lucid.graph.ops import linalg
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.einsum import einsum
from lucid.graph.ops.elementwise import GeluAttrs
from lucid.graph.ops.fused_linear import FUSED_LINEAR, FusedLinearAttrs

from .case import Case
from .elementwise import fixed, normal

MATMUL = [
    Case(f"matmul-{kind}", linalg.matmul, normal(*shapes), lambda torch, a, b: torch.matmul(a, b))
    for kind, shapes in {
        "matrices": ((3, 4), (4, 5)),
        "vectors": ((4,), (4,)),
        "row": ((4,), (4, 5)),
        "column": ((3, 4), (4,)),
        "batch": ((2, 3, 4), (2, 4, 5)),
        "batch-right-matrix": ((2, 3, 4), (4, 5)),
        "batch-left-matrix": ((3, 4), (2, 4, 5)),
        "batch-vector": ((2, 3, 4), (4,)),
        "vector-batch": ((4,), (2, 4, 5)),
        "broadcast": ((2, 1, 3, 4), (3, 4, 2)),
        "broadcast-both": ((2, 1, 3, 4), (1, 3, 4, 2)),
        "four": ((2, 3, 4, 5), (5, 6)),
        "empty": ((0, 4), (4, 5)),
        "empty-inside": ((3, 0), (0, 5)),
        "one": ((1, 1), (1, 1)),
    }.items()
]

LINEAR = [
    Case(
        f"linear-{kind}{'' if bias else '-without-bias'}",
        linalg.linear,
        normal(shape, (5, 4), *([(5,)] if bias else [])),
        lambda torch, *inputs: torch.nn.functional.linear(*inputs),
    )
    for kind, shape in {
        "matrix": (3, 4),
        "vector": (4,),
        "batch": (2, 3, 4),
        "four": (2, 3, 2, 4),
        "empty": (0, 4),
    }.items()
    for bias in (True, False)
]

FUSED = [
    Case(
        f"fused-linear-{name}",
        lambda *xs, attrs=attrs: apply(FUSED_LINEAR, attrs, *xs),
        normal(shape, (6, 4), *([(6,)] if bias else [])),
        ops=("FusedLinear",),
        gradient=False,  # it has none of its own
    )
    for name, shape, attrs, bias in (
        ("relu", (3, 4), FusedLinearAttrs("Relu"), True),
        ("alone", (3, 4), FusedLinearAttrs(), True),
        ("floor", (2, 3, 4), FusedLinearAttrs(floor=True), True),
        ("gelu", (2, 3, 4), FusedLinearAttrs("Gelu", GeluAttrs()), False),
        ("sigmoid-vector", (4,), FusedLinearAttrs("Sigmoid"), True),
        ("clip-empty", (0, 4), FusedLinearAttrs("Clip", ClipAttrs(0.0, 1.0)), True),
    )
]

_EQUATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "ij,jk": ((3, 4), (4, 5)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "bij,bkj->bik": ((2, 3, 4), (2, 5, 4)),
    "bqhd,bkhd->bhqk": ((2, 3, 2, 4), (2, 5, 2, 4)),
    "bhqk,bkhd->bqhd": ((2, 2, 3, 5), (2, 5, 2, 4)),
    "ij,kj->ki": ((3, 4), (5, 4)),
    "i,j->ij": ((3,), (4,)),
    "i,j->ji": ((3,), (4,)),
    "i,i->": ((4,), (4,)),
    "i,i->i": ((4,), (4,)),
    "ij->ji": ((3, 4),),
    "ji": ((3, 4),),
    "ij->": ((3, 4),),
    "ij->i": ((3, 4),),
    "ii->i": ((4, 4),),
    "ii": ((4, 4),),
    "iii->i": ((3, 3, 3),),
    "iij,jk->ik": ((3, 3, 4), (4, 2)),
    "ij,ik->j": ((3, 4), (3, 5)),
    "ij,j->": ((3, 4), (4,)),
    "ij,k->i": ((3, 4), (5,)),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)),
    "a,b,c->abc": ((2,), (3,), (4,)),
    "bn,anm,bm->ba": ((2, 4), (3, 4, 5), (2, 5)),
    "...ij,...jk->...ik": ((2, 3, 4), (4, 5)),
    "...i,...i->...": ((2, 3, 4), (3, 4)),
    "...ij->...ji": ((2, 3, 4),),
    "i...->...": ((3, 2, 4),),
    "...i": ((2, 3),),
    "b...,b...->b": ((3, 2, 4), (3, 2, 4)),
    ",ij->ij": ((), (2, 3)),
    "ij,ij->ij": ((3, 4), (3, 4)),
    "ij,jk->ik ": ((0, 4), (4, 5)),
}

EINSUM = [
    Case(
        f"einsum-{equation.strip()}{'-empty' if 0 in shapes[0] else ''}",
        lambda *xs, e=equation: einsum(e, *xs),
        normal(*shapes),
        lambda torch, *xs, e=equation: torch.einsum(e.strip(), *xs),
    )
    for equation, shapes in _EQUATIONS.items()
] + [
    Case(
        "einsum-ones-broadcast",
        lambda a, b: einsum("bij,bjk->bik", a, b),
        normal((1, 3, 4), (2, 4, 5)),
        lambda torch, a, b: torch.einsum("bij,bjk->bik", a, b),
    ),
    Case(
        "einsum-same-tensor-twice",
        lambda x: einsum("ij,ij->i", x, x),
        normal((3, 4)),
        lambda torch, x: torch.einsum("ij,ij->i", x, x),
    ),
]

OTHERS = [
    Case("bmm", linalg.bmm, normal((2, 3, 4), (2, 4, 5)), lambda torch, a, b: torch.bmm(a, b)),
    Case("dot", linalg.dot, normal((4,), (4,)), lambda torch, a, b: torch.dot(a, b)),
    Case("outer", linalg.outer, normal((3,), (4,)), lambda torch, a, b: torch.outer(a, b)),
]

_INTS = fixed(np.array([[1, 2], [3, 4]]), np.array([[5, -6], [7, 8]]))
_NOT_FINITE = fixed([[1.0, float("inf")], [float("nan"), 2.0]], [[1.0, 0.0], [2.0, 1.0]])


def _exact(name: str, function: Any, make: Any, torch: Any) -> Case:
    return Case(name, function, make, torch, gradient=False)


EDGES = [
    _exact("matmul-int", linalg.matmul, _INTS, lambda torch, a, b: a @ b),
    _exact("einsum-int", lambda a, b: einsum("ij,kj->ik", a, b), _INTS, lambda torch, a, b: a @ b.T),
    _exact("linear-int", linalg.linear, _INTS, lambda torch, a, b: a @ b.T),
    _exact("matmul-not-finite", linalg.matmul, _NOT_FINITE, lambda torch, a, b: a @ b),
]

CASES = [*MATMUL, *LINEAR, *FUSED, *EINSUM, *OTHERS, *EDGES]
