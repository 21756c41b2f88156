"""What people type in PyTorch, here: the same values, element types and gradients, eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import lucid

_rng = np.random.default_rng(0)
GIVEN: dict[str, np.ndarray] = {
    "x": _rng.standard_normal((3, 4)).astype(np.float32),
    "y": _rng.standard_normal((3, 4)).astype(np.float32),
    "v": _rng.standard_normal(4).astype(np.float32),
    "s": np.asarray(0.7, np.float32),
    "d": _rng.standard_normal((3, 4)),
    "i": _rng.integers(0, 3, (3, 4)),
    "b": _rng.random((3, 4)) > 0.5,
}
"""By the names of what a program takes."""

PROGRAMS: dict[str, Callable[..., Any]] = {}


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """To be called with the library, and with those of :data:`GIVEN` that its parameters name."""
    PROGRAMS[function.__name__] = function
    return function


@program
def copied(lib: Any, x: Any, y: Any) -> Any:
    a = x * 2
    a.copy_(y)
    return a * x


@program
def copied_row_over_all(lib: Any, x: Any, v: Any) -> Any:
    a = x * 2
    a.copy_(v)
    return a * x, a.sum()


@program
def copied_into_zeros(lib: Any, x: Any, s: Any) -> Any:
    a, b = lib.zeros(3, 4), lib.zeros(3, 4)
    a.copy_(x * 3)
    b.copy_(s)
    return a * x + b


@program
def copied_of_another_type(lib: Any, x: Any, d: Any, i: Any) -> Any:
    a, whole, c = x * 1, lib.zeros(3, 4, dtype=lib.int64), x * 3
    a.copy_(d)
    whole.copy_(x.detach() * 5)
    c.copy_(i)
    return a * x, whole, c + x


@program
def copied_after_which_it_changes(lib: Any, x: Any, y: Any) -> Any:
    a, z = x * 2, y * 1
    a.copy_(z)
    z.mul_(3)
    a.add_(1)
    return a * a + z


@program
def summed_in_another_type(lib: Any, x: Any, i: Any, b: Any) -> Any:
    F, double = lib.nn.functional, lib.float64
    return (
        F.softmax(x, dim=-1, dtype=double), lib.softmax(i, 1, dtype=double), x.log_softmax(0, double),
        F.softmin(x, -1, dtype=double), x.sum(0, dtype=double), i.mean(dtype=lib.float32), x.norm(dtype=double),
        x.prod(1, True, dtype=double), x.cumprod(0, dtype=double), x.nansum(dtype=double),
        x.nanmean(0, dtype=double), b.prod(0, dtype=lib.float32),
    )  # fmt: skip


@program
def filled_by_one_number(lib: Any, x: Any, s: Any, b: Any, i: Any) -> Any:
    a = x * 2
    a.masked_fill_(~b, s * 2)
    hidden = x.masked_fill(b, lib.tensor(float("-inf")))
    return x.masked_fill(b, s), lib.masked_fill(x, b, lib.tensor(3)), a, hidden.exp(), i.masked_fill(b, lib.tensor(7))


@program
def places_of_experts(lib: Any, x: Any, b: Any) -> Any:
    """As mixtures of experts go over those that chose one."""
    result = lib.zeros_like(x)
    for expert in range(4):
        (rows,) = lib.where(b[:, expert])
        result[rows] += x[rows] * (expert + 1)
    mask = b.long()
    rows, columns = lib.where(mask.t())
    return result.index_add_(0, columns, x[columns] * 2), rows


@program
def repeated(lib: Any, x: Any) -> Any:
    return x.repeat_interleave(2, dim=0), lib.repeat_interleave(x, 3), x.repeat_interleave(lib.tensor([2]), 1)


@program
def repeated_as_often_as_is_said(lib: Any, x: Any, i: Any) -> Any:
    counts = i[0, :3]
    total = int(GIVEN["i"][0, :3].sum())
    return (
        lib.repeat_interleave(x, counts, dim=0, output_size=total), lib.repeat_interleave(counts, output_size=total),
        x[0, :3].repeat_interleave(counts, output_size=total),
    )  # fmt: skip


@program
def lists_of_operands(lib: Any, x: Any, v: Any) -> Any:
    return lib.einsum("ij,j->ij", [x, v]), lib.meshgrid([v, v * 2], indexing="ij"), lib.cat([x, x[:1]])


@program
def put_at_places(lib: Any, x: Any, y: Any, b: Any, s: Any) -> Any:
    a, rows, shared = x * 2, lib.tensor([0, 2]), lib.tensor([0, 2, 0])
    a.index_put_((rows, lib.tensor([1, 3])), s * 3)
    a.masked_scatter_(~b, y * 2)
    return a, x.index_put((shared,), y, accumulate=True), lib.index_put(x, [b], s), x.masked_scatter(b[:1], y)


@program
def smallest_but_some(lib: Any, x: Any) -> Any:
    return *x.kthvalue(2, dim=1), *lib.kthvalue(x, 3, 0, True), x[0, 0].kthvalue(1).values


@program
def made_alike(lib: Any, x: Any, i: Any) -> Any:
    a = x.new_zeros(3, 4)
    a[0] = x[0]
    filled, ones = x.new_full((3, 4), 2.5), i.new_ones([3, 4], dtype=lib.float64)
    return a.add_(1), filled * x, ones, i.new_tensor([1, 2]), x.new_zeros(x.shape) + x.new_empty(3, 1).zero_()


@program
def rows_and_columns(lib: Any, x: Any, y: Any, v: Any) -> Any:
    a = x * 2
    a[0].mul_(v)
    a[:, 1:3].copy_(y[:, :2])
    a[1][2] = v[0] * 3
    a.select(0, 2).exp_()
    return a * x


@program
def views_of_views(lib: Any, x: Any, y: Any) -> Any:
    a = x * 2
    flat = a.view(2, 6)[1]
    flat[1:4].mul_(y[0, :3])
    turned = a.t()
    turned[1:][:, :2].add_(y.t()[1:][:, :2])
    turned.clamp_(-1.5, 1.5)
    return a * y, turned * 2


@program
def one_view_again_and_again(lib: Any, x: Any, v: Any) -> Any:
    a = x * 2
    row, before = a[1], a * 3
    row.mul_(2)
    row.add_(v)
    row.pow_(2)
    a.diagonal().zero_()
    return a * x, before


@program
def a_copy_beside_what_was_copied(lib: Any, x: Any, y: Any) -> Any:
    a = x * 2
    turned = a.t()
    copied, same = turned.contiguous(), a.contiguous()
    copied.mul_(y.t())
    same.mul_(3)
    return a * y, copied


@program
def copies_are_no_views(lib: Any, x: Any, s: Any) -> Any:
    a, b = x * 2, s * 2
    row_by_row, flat = a.t().contiguous(), a.t().contiguous().view(-1)
    row_by_row.mul_(3)
    largest, total = b.max(0)[0], b.detach().logcumsumexp(0)
    largest.mul_(3)
    total.add_(5)
    return row_by_row, flat, b, largest, total


@program
def places_of_a_view(lib: Any, x: Any, y: Any, b: Any) -> Any:
    a = x * 2
    z = a.reshape(-1)
    z[::3] = 0
    a[1:][b[1:]] = 1
    a.narrow(1, 1, 2).masked_fill_(b[:, 1:3], 0.5)
    return a * y


def _flat(result: Any) -> list[Any]:
    return [one for part in result for one in _flat(part)] if isinstance(result, tuple | list) else [result]


def _run(lib: Any, names: tuple[str, ...], function: Callable[..., Any]) -> tuple[list[Any], list[Any]]:
    """Results, and gradients of a weighted sum of all of those that have one."""
    given = {name: lib.tensor(GIVEN[name].copy()) for name in names}
    leaves = [x.requires_grad_() for x in given.values() if x.is_floating_point()]
    results = _flat(function(*given.values()))
    total: Any = 0
    for y in results:
        if y.requires_grad:
            total = total + (y * lib.tensor(np.cos(np.arange(y.numel())).reshape(tuple(y.shape)))).sum()
    if not isinstance(total, int):
        total.backward()
    return [np.asarray(y.detach()) for y in results], [None if x.grad is None else np.asarray(x.grad) for x in leaves]


def _ways(function: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    def called(*args: Any) -> Any:
        return function(lucid, *args)

    yield "eager", called
    yield "compiled", lucid.compile(called)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_pytorch_s(name: str) -> None:
    function = PROGRAMS[name]
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    wanted, slopes = _run(torch, names, lambda *args: function(torch, *args))
    for way, called in _ways(function):
        results, gradients = _run(lucid, names, called)
        for ours, theirs in zip(results, wanted, strict=True):
            assert ours.dtype == theirs.dtype, way
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=way)
        for ours, theirs in zip(gradients, slopes, strict=True):
            zero = np.zeros(1, np.float32)  # none is as good as zeros
            np.testing.assert_allclose(
                *np.broadcast_arrays(zero if ours is None else ours, zero if theirs is None else theirs),
                rtol=1e-5, atol=1e-5, err_msg=f"{way}: a gradient",
            )  # fmt: skip
