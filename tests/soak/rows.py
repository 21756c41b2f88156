"""What the sweeps over the table of ops share: running a row eagerly, compiled and in PyTorch, and comparing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lucid.errors import LucidError
from lucid.tensor.tensor import Tensor

from ..cases.case import Case as Row
from ..op_checks import Array, Function, all_cases, inputs_of

try:
    import torch
except ImportError:  # the sweeps then hold compiled against eager only
    torch: Any = None  # type: ignore[no-redef]

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
"""Relative to the largest finite element, of 1 at least: sums are taken in other orders."""

Refusal: TypeAlias = "Exception"


@dataclass
class Outcome:
    """What came of running something: results and gradients, or the refusal."""

    refused: Refusal | None = None
    results: tuple[Array, ...] = ()
    gradients: tuple[Array | None, ...] = ()


def rows() -> list[Row]:
    """The table's rows that compute the same at each run."""
    return [row for row in all_cases() if not row.name.startswith(("random", "dropout"))]


def run(function: Function, arrays: Sequence[Array], row: Row, wanted: bool = True) -> Outcome:
    """An eager or compiled function on tensors; where ``wanted``, with the gradients of all outputs, seeded."""
    differentiated = wanted and row.gradient
    try:
        tensors = [Tensor(a, requires_grad=differentiated and a.dtype.kind == "f") for a in arrays]
        outputs = _tuple(function(*tensors))
        results = tuple(np.array(y.numpy()) for y in outputs)
        for y, seed in zip(outputs, seeds(results), strict=True):
            if y.requires_grad:
                y.backward(seed)
    except LucidError as error:
        return Outcome(error)
    return Outcome(None, results, tuple(None if x.grad is None else np.array(x.grad.numpy()) for x in tensors))


def run_torch(row: Row, arrays: Sequence[Array]) -> Outcome:
    """The row in PyTorch."""
    assert row.torch is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch warns of, it does
            return _torch(row, arrays)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        return Outcome(error)


def _torch(row: Row, arrays: Sequence[Array]) -> Outcome:
    assert row.torch is not None
    tensors = [torch.from_numpy(a.copy()).requires_grad_(row.gradient and a.dtype.kind == "f") for a in arrays]
    outputs = _tuple(row.torch(torch, *tensors))
    results = tuple(np.array(y.detach().numpy()) for y in outputs)
    for y, seed in zip(outputs, seeds(results), strict=True):
        if y.requires_grad:
            y.backward(torch.from_numpy(seed), retain_graph=True)
    return Outcome(None, results, tuple(None if t.grad is None else np.array(t.grad.numpy()) for t in tensors))


def seeds(results: Sequence[Array]) -> list[Array]:
    """A cotangent for each result, of small whole numbers, none of them 0."""
    rng = np.random.default_rng(5)
    return [np.asarray(rng.integers(1, 4, y.shape) * rng.choice([-1, 1], y.shape), y.dtype) for y in results]


def _tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, tuple | list) else (results,)


def assert_same(have: Outcome, want: Outcome, what: str, *, none_is_zero: bool = False) -> None:
    """Both refused, or equal in shape and type, NaNs, infinities and numbers, and in which gradients there are."""
    if have.refused is not None or want.refused is not None:
        both = have.refused is not None and want.refused is not None
        assert both, f"{what}: {have.refused or have.results!r}, not {want.refused or want.results!r}"
        return
    assert len(have.results) == len(want.results), what
    for i, (a, b) in enumerate(zip(have.results, want.results, strict=True)):
        _close(a, b, f"{what}, result {i}")
    for i, (g, h) in enumerate(zip(have.gradients, want.gradients, strict=True)):
        if none_is_zero and (g is None or h is None):
            present = g if h is None else h
            assert present is None or not np.any(present), f"{what}, gradient {i}: {g!r}, not {h!r}"
            continue
        assert (g is None) == (h is None), f"{what}, gradient {i}: {g!r}, not {h!r}"
        if g is not None and h is not None:
            _close(g, h, f"{what}, gradient {i}")


def _close(have: Array, want: Array, what: str) -> None:
    assert have.shape == want.shape, f"{what}: shape {have.shape}, not {want.shape}"
    assert have.dtype == want.dtype, f"{what}: {have.dtype}, not {want.dtype}"
    if want.dtype.kind != "f":
        assert np.array_equal(have, want), f"{what}: {have.tolist()}, not {want.tolist()}"
        return
    rtol = TOLERANCE[want.dtype.name]
    finite = np.abs(want[np.isfinite(want)])
    scale = max(1.0, float(finite.max(initial=0.0)))
    with np.errstate(all="ignore"):
        near = np.isclose(have, want, rtol=rtol, atol=rtol * scale, equal_nan=True)
    assert near.all(), f"{what}: {have[~near][:6].tolist()}, not {want[~near][:6].tolist()}"


__all__ = [
    "Outcome", "Row", "assert_same", "inputs_of", "rows", "run", "run_torch", "torch",
]  # fmt: skip
