"""Rarely used functions: loaded when first asked for, and NumPy's values, eagerly and compiled; what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError
from lucid.graph.rare_methods import RareMethods

A = np.array([[3.0, -1.5, np.nan, np.inf], [0.0, -0.0, 2.25, -np.inf], [1e-310, 7.0, 7.0, -2.0]])
B = np.array([[1.0, np.nan, np.nan, 5.0], [-3.0, 4.0, 2.25, 1.0], [1.0, 7.0, 8.0, -9.0]])
WHOLE, BY = np.array([[12, -18, 0, 7]]), np.array([[8], [27], [0]])

#: Numbers whose powers of two are beyond single precision, where the results are not.
FAR = np.array([0.0, -0.0, 1e-30, 1e30, 1.5, 3.0, -1.0, np.nan, np.inf], np.float32)

PAIRS: list[tuple[str, Any, Any]] = [
    ("m.fmax(a, b)", np.fmax, (A, B)),
    ("a.fmin(b)", np.fmin, (A, B)),
    ("m.isposinf(a)", np.isposinf, (A,)),
    ("a.isneginf()", np.isneginf, (A,)),
    ("m.isreal(a)", np.isreal, (A,)),
    ("m.gcd(a, b)", np.gcd, (WHOLE, BY)),
    ("a.lcm(b)", np.lcm, (WHOLE, BY)),
    ("m.ldexp(a, b)", np.ldexp, (A, BY)),
    ("m.ldexp(a, b)", np.ldexp, (FAR, np.array([250, 300, 200, -200, -140, -400, 400, 130, -300]))),
    ("a.frexp()[0]", lambda a: np.frexp(a)[0], (A,)),
    ("m.frexp(a).exponent", lambda a: np.where(np.isfinite(a), np.frexp(a)[1], 0), (A,)),
    ("m.nextafter(a, b)", np.nextafter, (A, B)),
    ("m.diagflat(a, 1)", lambda a: np.diagflat(a, 1), (A,)),
    ("m.ger(a[0], b[1])", lambda a, b: np.outer(a[0], b[1]), (WHOLE, WHOLE.repeat(2, 0))),
    ("m.msort(a)", lambda a: np.sort(a, 0), (B,)),
    ("m.nanmedian(a, 1).values", lambda a: np.array([1.0, 1.0, 1.0]), (B,)),
    ("m.mode(a, 0).indices", lambda a: np.array([2, 1, 2, 2]), (np.array([[1, 2, 3, 4], [5, 2, 0, 3], [1, 0, 0, 3]]),)),
    ("m.unique_consecutive(a)", lambda a: np.array([2, 3, 2]), (np.array([2, 2, 3, 3, 3, 2]),)),
    ("m.histc(a, 4, 0, 8)", lambda a: np.histogram(a, 4, (0, 8))[0].astype(float), (np.abs(B),)),
    ("m.nonzero_static(a, size=2)", lambda a: np.argwhere(a)[:2], (WHOLE,)),
    ("a.sum_to_size(3, 1)", lambda a: a.sum(1, keepdims=True), (B[:, :1].repeat(4, 1),)),
    ("m.select_scatter(a, b[:, 0], 1, 2)", lambda a, b: np.c_[a[:, :2], b[:, 0], a[:, 3]], (A, B)),
    ("a.put(m.tensor([1, 1]), b[0, :2], True)", lambda a, b: np.array([[12, -9, 0, 7]]), (WHOLE, np.array([[4, 5]]))),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "wanted", "arrays"), PAIRS, ids=[row[0] for row in PAIRS])
def test_values_are_numpys(expression: str, wanted: Any, arrays: Any) -> None:
    def run(*given: Any) -> Any:
        return eval(expression, {"m": lucid, **dict(zip("ab", given, strict=False))})

    with np.errstate(all="ignore"):
        right = np.asarray(wanted(*arrays))
    for found in (run(*map(lucid.tensor, arrays)), lucid.compile(run)(*arrays)):
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-12)
        np.testing.assert_array_equal(np.signbit(found.numpy()), np.signbit(right))


def test_a_method_is_looked_up_once() -> None:
    program = (
        "import sys, lucid\n"
        "from lucid.graph.rare_methods import RareMethods\n"
        "assert 'lucid.graph.rare' not in sys.modules and 'fmax' in dir(lucid.Tensor)\n"
        "t = lucid.tensor([1.0])\n"
        "late = vars(RareMethods)['fmax']\n"
        "assert t.fmax(t).tolist() == [1.0] and 'lucid.graph.rare' in sys.modules\n"
        "assert vars(RareMethods)['fmax'] is not late and lucid.fmax is lucid.Tensor.fmax\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_late_method_is_there() -> None:
    names = [name for name in vars(RareMethods) if name[0] != "_"]
    assert len(names) > 30 and all(callable(getattr(lucid.Tensor, name)) for name in names)


def test_on_a_diagonal() -> None:
    for shape, wrap in (((3, 3), False), ((7, 3), False), ((7, 3), True), ((2, 5), True), ((3, 3, 3), False)):
        wanted = np.zeros(shape)
        if len(set(shape)) == 1:
            np.fill_diagonal(wanted, 5.0)
        else:
            np.fill_diagonal(wanted, 5.0, wrap=wrap)
        compiled = lucid.compile(lambda x, w=wrap: (x * 1).fill_diagonal_(5.0, w))
        for run in (lambda x, w=wrap: x.fill_diagonal_(5.0, w), compiled):
            np.testing.assert_array_equal(run(lucid.zeros(*shape, dtype="float64")).numpy(), wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        "m.gcd(a, a)", "m.frexp(i)", "m.nextafter(i, i)", "m.positive(i > 1)", "m.mvlgamma(a, 0)",
        "m.renorm(a[0], 2, 0, 1.0)",
        "m.histc(i)", "m.histc(a, 0)", "m.histc(a, 3, 2, 1)", "m.histc(a)",
        "m.mode(a[:0], 0)", "m.nanmedian(a[:, :0], 1)",
        "m.diagonal_scatter(a, a)", "a.put(i, a)", "a.index_reduce(0, i[0], a, 'sum')", "a.sum_to_size(2, 4)",
        "a.split_with_sizes([1, 1])", "m.nonzero_static(i, size=-1)", "a[0].fill_diagonal_(1)", "m.pdist(a[0])",
        "a.addr(a, a)", "a.addmv(a[0], a[0])",
    ],
)  # fmt: skip
def test_what_is_refused(wrong: str) -> None:
    with pytest.raises(LucidError):
        eval(wrong, {"m": lucid, "a": lucid.tensor(A), "i": lucid.tensor(WHOLE)})
