"""Systems of special kinds: NumPy's numbers, gradients by differences, and what is refused or an error of the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import ExecutionError, LucidError

RNG = np.random.default_rng(5)
A, B, TALL = RNG.standard_normal((2, 3, 3)), RNG.standard_normal((2, 3, 2)), RNG.standard_normal((2, 5, 3))
LOW = TALL[0] @ np.diag([1.0, 2.0, 0.0])

ROWS: list[tuple[str, Any]] = [
    ("m.linalg.solve_triangular(a, b, upper=True)", lambda: np.linalg.solve(np.triu(A), B)),
    ("m.linalg.solve_triangular(a, b, upper=False, unitriangular=True)",
     lambda: np.linalg.solve(np.tril(A, -1) + np.eye(3), B)),
    ("m.cholesky_solve(b, m.linalg.cholesky(a @ a.mT))", lambda: np.linalg.solve(A @ A.swapaxes(1, 2), B)),
    ("m.linalg.cholesky(a @ a.mT).cholesky_inverse()", lambda: np.linalg.inv(A @ A.swapaxes(1, 2))),
    ("m.linalg.pinv(t)", lambda: np.linalg.pinv(TALL)),
    ("t.mT.pinverse()", lambda: np.linalg.pinv(TALL.swapaxes(1, 2))),
    ("m.linalg.pinv(r)", lambda: np.linalg.pinv(LOW)),
    ("m.linalg.lstsq(t[0], t[1]).solution", lambda: np.linalg.lstsq(TALL[0], TALL[1], None)[0]),
    ("m.linalg.lstsq(t[0], t[1]).residuals", lambda: np.linalg.lstsq(TALL[0], TALL[1], None)[1]),
    ("m.linalg.lstsq(r, t[1]).rank", lambda: 2),
    ("m.linalg.matrix_rank(r)", lambda: 2),
    ("m.linalg.matrix_rank(t)", lambda: np.array([3, 3])),
    ("m.linalg.cond(a)", lambda: np.linalg.cond(A)),
    ("m.linalg.cond(a, 1)", lambda: np.linalg.cond(A, 1)),
    ("m.linalg.tensorsolve(t[0, :4].reshape(12)[:8].reshape(2, 2, 2)[:, :, :, None][:, :1], b[0, :2, 0][:, None])",
     lambda: np.linalg.tensorsolve(TALL[0, :4].reshape(12)[:8].reshape(2, 2, 2)[:, :, :, None][:, :1], B[0, :2, :1])),
    ("m.linalg.tensorinv(a[0].reshape(3, 3, 1), 1)", lambda: np.linalg.tensorinv(A[0].reshape(3, 3, 1), 1)),
    ("m.linalg.vander(a[0])", lambda: np.stack([np.vander(row, increasing=True) for row in A[0]])),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "wanted"), ROWS, ids=[row[0] for row in ROWS])
def test_numbers_are_numpys(expression: str, wanted: Any) -> None:
    def run(a: Any, b: Any, t: Any, r: Any) -> Any:
        return eval(expression, {"m": lucid, "a": a, "b": b, "t": t, "r": r})

    for found in (run(*map(lucid.tensor, (A, B, TALL, LOW))), lucid.compile(run)(A, B, TALL, LOW)):
        np.testing.assert_allclose(found.numpy(), wanted(), rtol=1e-9, atol=1e-12)


def test_second_gradients_of_a_pseudo_inverse() -> None:
    weights = RNG.standard_normal((3, 5))

    def slopes(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        t = lucid.tensor(x, requires_grad=True)
        (lucid.linalg.pinv(t) * weights).sum().backward()
        assert t.grad is not None
        return t.grad.numpy().copy()

    t = lucid.tensor(TALL[0], requires_grad=True)
    (first,) = lucid.autograd.grad((lucid.linalg.pinv(t) * weights).sum(), t, create_graph=True)
    assert first is not None
    (first**2).sum().backward()
    assert t.grad is not None
    step, found = 1e-6, np.zeros_like(TALL[0])
    for place in np.ndindex(found.shape):
        change = np.zeros_like(found)
        change[place] = step
        up, down = (np.sum(slopes(TALL[0] + sign * change) ** 2) for sign in (1, -1))
        found[place] = (up - down) / (2 * step)
    np.testing.assert_allclose(t.grad.numpy(), found, rtol=1e-6, atol=1e-8)


def test_what_there_is_not_is_an_error_of_the_run() -> None:
    hole = lucid.tensor([[1.0, 2.0], [0.0, 0.0]])
    for run in (lambda x: lucid.linalg.solve_triangular(x, x, upper=True), lambda x: lucid.linalg.pinv(x * np.nan)):
        for way in (run, lucid.compile(run)):
            with pytest.raises(ExecutionError):
                way(hole)
    assert lucid.linalg.solve_triangular(hole, hole, upper=True, unitriangular=True).tolist() == [
        [1.0, 2.0],
        [0.0, 0.0],
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "m.linalg.solve_triangular(t, b, upper=True)", "m.linalg.solve_triangular(a, b[0, :, 0], upper=True)",
        "m.linalg.solve_triangular(a, b, upper=1)", "m.linalg.pinv(a[0, 0])", "m.linalg.pinv(t, hermitian=True)",
        "m.linalg.pinv(a, rtol=-1.0)", "m.linalg.lstsq(t, b)", "m.linalg.matrix_rank(a[0, 0])",
        "m.linalg.cond(a, 3)",
        "m.linalg.tensorsolve(a, b)", "m.linalg.tensorinv(a, 0)", "m.linalg.tensorinv(t)",
        "m.linalg.vander(a[0, 0, 0])",
        "m.cholesky_inverse(t)",
    ],
)  # fmt: skip
def test_what_is_refused(wrong: str) -> None:
    with pytest.raises(LucidError):
        eval(wrong, {"m": lucid, "a": lucid.tensor(A), "b": lucid.tensor(B), "t": lucid.tensor(TALL)})
