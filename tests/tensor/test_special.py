"""Special functions: to the last digits against sums and integrals in exact arithmetic, and at the ends of the line."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import lucid
from lucid import special
from lucid.errors import LucidError

ENDS = np.array([-np.inf, np.inf, np.nan])


def _bessel(order: int, x: Fraction) -> float:
    """The power series, in fractions."""
    term = (x / 2) ** order / math.factorial(order)
    total = Fraction(0)
    for k in range(1, 141):
        total, term = total + term, term * x * x / (4 * k * (k + order))
    return float(total)


@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions_to_the_last_digits(order: int) -> None:
    points = [Fraction(n, 8) for n in (*range(-80, 400, 29), 239, 240, 241)]
    x = np.array([float(p) for p in points])
    wanted = np.array([_bessel(order, p) for p in points])
    plain, scaled = (special.i1, special.i1e) if order else (special.i0, special.i0e)
    np.testing.assert_allclose(plain(x).numpy(), wanted, rtol=3e-15)
    np.testing.assert_allclose(scaled(x).numpy(), wanted * np.exp(-np.abs(x)), rtol=3e-15)
    np.testing.assert_allclose(scaled(x.astype(np.float32)).numpy(), wanted * np.exp(-np.abs(x)), rtol=1e-7)


def test_bessel_functions_at_the_ends() -> None:
    np.testing.assert_array_equal(special.i0(ENDS).numpy(), [np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(special.i1(ENDS).numpy(), [-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(special.i0e(ENDS).numpy(), [0, 0, np.nan])
    np.testing.assert_array_equal(special.i1e([0.0, -0.0]).numpy(), [0.0, -0.0])
    largest = special.i0(np.array([713.0, 714.0])).numpy()
    assert np.isfinite(largest[0]) and np.isinf(largest[1])


def test_the_scaled_complement_goes_on_where_the_other_is_nothing() -> None:
    x = np.array([-26.0, -3.0, -0.4, 0.0, 0.3, 0.5, 3.9, 4.1, 26.0])
    wanted = [math.exp(v * v) * math.erfc(v) for v in x]
    np.testing.assert_allclose(special.erfcx(x).numpy(), wanted, rtol=1e-13)
    far = np.array([1e3, 1e8, 1e300])
    np.testing.assert_allclose(special.erfcx(far).numpy(), 1 / (far * math.sqrt(math.pi)), rtol=1e-6)
    np.testing.assert_array_equal(special.erfcx(ENDS).numpy(), [np.inf, 0, np.nan])


def test_quantiles_are_the_inverse_of_shares() -> None:
    x = np.linspace(-37, 8, 300)
    np.testing.assert_allclose(special.ndtri(special.ndtr(x)).numpy()[:200], x[:200], rtol=1e-13)
    np.testing.assert_allclose(special.ndtr(x).numpy(), [math.erfc(-v * math.sqrt(0.5)) / 2 for v in x], rtol=5e-13)
    np.testing.assert_array_equal(
        special.ndtri([0.0, 1.0, -0.1, 1.1, 0.5]).numpy(), [-np.inf, np.inf, np.nan, np.nan, 0]
    )


def test_the_logarithm_of_a_share_has_no_end() -> None:
    x = np.array([-37.0, -5.0, -1.0, -0.9, 0.5, 5.0])
    above = [math.erfc(v * math.sqrt(0.5)) / 2 for v in x]
    wanted = [math.log(1 - share) if v < 0 else math.log1p(-share) for v, share in zip(x, above, strict=True) if v > -5]
    wanted = [math.log(math.erfc(v * -math.sqrt(0.5)) / 2) for v in x[:2]] + wanted
    np.testing.assert_allclose(special.log_ndtr(x).numpy(), wanted, rtol=1e-14)
    far = special.log_ndtr(np.array([-1e3, -1e150])).numpy()
    np.testing.assert_allclose(far, [-500000 - math.log(1e3 * math.sqrt(2 * math.pi)), -0.5e300], rtol=1e-11)


def test_entropies() -> None:
    np.testing.assert_array_equal(special.entr([0.0, 1.0, -1.0, np.inf]).numpy(), [0, 0, -np.inf, -np.inf])
    x = lucid.tensor([0.0, 0.5], requires_grad=True)
    special.entr(x).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [np.inf, math.log(2) - 1], rtol=1e-6)
    np.testing.assert_array_equal(special.xlog1py([0.0, 0.0, 2.0], [-1.0, -2.0, 0.0]).numpy(), [0, 0, 0])


def test_those_that_lucid_has_too_are_the_same() -> None:
    x = lucid.tensor([[0.2, 0.7]])
    for name, other in {"expit": "sigmoid", "gammaln": "lgamma", "psi": "digamma", "sinc": "sinc", "i0": "i0"}.items():
        np.testing.assert_array_equal(getattr(special, name)(x).numpy(), getattr(lucid, other)(x).numpy())
    np.testing.assert_array_equal(special.multigammaln(x + 2, 2).numpy(), lucid.mvlgamma(x + 2, 2).numpy())


def test_they_compile_for_any_size() -> None:
    def model(x: lucid.Tensor) -> lucid.Tensor:
        return special.log_ndtr(x) + special.i1e(x) + special.entr(special.ndtr(x)) + special.ndtri(special.expit(x))

    net = lucid.compile(model, lucid.spec("N", 3))
    for count in (1, 4):
        x = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
        np.testing.assert_allclose(net(x).numpy(), model(lucid.tensor(x)).numpy(), rtol=1e-6, atol=1e-6)


def test_what_is_not_there_says_what_is() -> None:
    with pytest.raises(AttributeError, match=r"scipy\.special"):
        special.gammainc  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(LucidError, match="ndtr: x"):
        special.ndtr("a")
