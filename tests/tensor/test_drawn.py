"""Random numbers drawn into a tensor: of their distributions, the same eagerly and compiled, and fresh at every run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import LucidError

N = 40_000

#: How they are drawn, and of the numbers what has a known mean, with that mean; NumPy takes it from there.
DRAWN: list[tuple[str, Any, float]] = [
    ("normal_(2.0, 0.5)", lambda x: (x - 2) ** 2, 0.25),
    ("normal_()", lambda x: x**4, 3.0),
    ("log_normal_(0.5, 0.25)", lambda x: np.log(x), 0.5),
    ("uniform_(-1.0, 3.0)", lambda x: x**2, 28 / 12),
    ("exponential_(2.0)", lambda x: x**2, 0.5),
    ("cauchy_(1.0, 2.0)", lambda x: np.abs(x - 1) < 2, 0.5),
    ("cauchy_()", lambda x: x < 1, 0.75),
    ("geometric_(0.3)", lambda x: x, 1 / 0.3),
    ("geometric_(0.3)", lambda x: x == 2, 0.21),
    ("bernoulli_(0.2)", lambda x: x, 0.2),
    ("bernoulli_()", lambda x: x == 1, 0.5),
    ("random_(2, 5)", lambda x: x == 4, 1 / 3),
    ("random_(7)", lambda x: x**2, 13.0),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("draw", "of", "mean"), DRAWN, ids=[row[0] for row in DRAWN])
def test_they_are_of_their_distribution(draw: str, of: Any, mean: float, dtype: str) -> None:
    lucid.manual_seed(7)
    t = lucid.zeros(N, dtype=dtype)
    assert eval(f"t.{draw}", {"t": t}) is t and t.dtype == dtype
    found = of(t.numpy().astype(np.float64)).astype(np.float64)
    assert abs(found.mean() - mean) < 5 * max(found.std(), 0.01) / math.sqrt(N)
    assert len(np.unique(t.numpy())) > (N // 2 if draw[:3] in ("nor", "log", "uni", "exp", "cau") else 1)


@pytest.mark.parametrize("draw", [row[0] for row in DRAWN])
def test_compiled_as_eagerly_and_fresh(draw: str) -> None:
    def run(x: Any) -> Any:
        return eval(f"(x * 1).{draw}", {"x": x})

    x, net = lucid.zeros(3, 4), lucid.compile(run)
    net(x)
    lucid.manual_seed(3)
    eager = [run(x).numpy() for _ in range(2)]
    lucid.manual_seed(3)
    compiled = [net(x).numpy() for _ in range(2)]
    np.testing.assert_allclose(compiled, eager, rtol=1e-6)
    lucid.manual_seed(3)
    again = [net(x).numpy() for _ in range(40)]
    np.testing.assert_array_equal(again[:2], compiled)
    assert any((one != again[0]).any() for one in again)


def test_of_integers_and_bools() -> None:
    lucid.manual_seed(0)
    whole = lucid.zeros(1000, dtype="int64")
    assert set(whole.random_(-2, 2).tolist()) == {-2, -1, 0, 1}
    assert set(whole.bernoulli_(0.5).tolist()) == {0, 1} and min(whole.geometric_(0.5).tolist()) == 1
    assert set(lucid.zeros(9000, dtype="uint8").random_().tolist()) == set(range(256))
    assert set(lucid.zeros(99, dtype="bool").random_().tolist()) == {False, True}
    assert lucid.zeros(99, dtype="bool").bernoulli_(1.0).all()
    assert whole.random_().numpy().max() > 1 << 50
    assert lucid.zeros(9, dtype="float32").random_().numpy().max() <= 1 << 24


def test_probabilities_of_each_element() -> None:
    p = lucid.tensor([0.0, 1.0, 0.5]).expand(2000, 3)
    lucid.manual_seed(0)
    for found in (p.bernoulli(), lucid.zeros(2000, 3).bernoulli_(p), lucid.compile(lambda p: p.bernoulli())(p)):
        assert found[:, 0].sum() == 0 and found[:, 1].sum() == 2000 and 850 < found[:, 2].sum().item() < 1150
    assert (p.bernoulli(0.0) == 0).all()
    for way in (lambda x: x.bernoulli(), lucid.compile(lambda x: x.bernoulli())):
        with pytest.raises(LucidError, match="from 0 to 1"):
            way(lucid.tensor([0.5, 1.5]))


def test_a_draw_ends_the_history() -> None:
    x = lucid.ones(3, requires_grad=True)
    y = x * 2
    y.uniform_()
    (y + x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(LucidError, match="leaf"):
        x.normal_()
    with lucid.no_grad():
        x.normal_()
    assert x.requires_grad and (x.detach() != 1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        "i.normal_()", "i.uniform_()", "t.normal_(0, -1)", "t.normal_(float('inf'))", "t.uniform_(2, 1)",
        "t.exponential_(0)", "t.cauchy_(0, -1)", "t.log_normal_(0, 0)", "t.geometric_(0)", "t.geometric_(1.5)",
        "t.bernoulli_(2)", "t.random_(3, 3)", "t.random_(1.5)", "u.random_(0, 300)", "u.random_(-1, 5)",
        "t.bernoulli_(i)", "i.bernoulli()", "b.geometric_(0.5)",
    ],
)  # fmt: skip
def test_what_is_refused(wrong: str) -> None:
    given = {name: lucid.zeros(3, dtype=dtype) for name, dtype in (("t", "float32"), ("i", "int64"), ("u", "uint8"))}
    with pytest.raises(LucidError):
        eval(wrong, {**given, "b": lucid.zeros(3, dtype="bool")})


def test_normal_numbers_by_their_own_means() -> None:
    lucid.manual_seed(1)
    mean, std = lucid.tensor([-100.0, 0.0, 100.0]), lucid.tensor([[0.0], [1.0]])
    for draw in (lucid.normal, lucid.compile(lucid.normal)):
        found = draw(mean, std)
        assert found.shape == (2, 3) and found[0].tolist() == mean.tolist()
        assert (found[1] != mean).all() and (found[1] - mean).abs().max() < 6
    assert lucid.normal(mean, 2).dtype == "float32" and lucid.normal(2.0, std).shape == (2, 1)
    many = lucid.normal(5.0, 0.5, (200, 100))
    assert many.shape == (200, 100) and abs(many.mean().item() - 5) < 0.03 and abs(many.std().item() - 0.5) < 0.03
    assert lucid.normal(0, 1, size=3).shape == (3,) and lucid.normal(0.0).shape == ()
    for wrong in (lambda: lucid.normal(mean, -1.0), lambda: lucid.normal(mean, 1.0, (3,)), lambda: lucid.normal("x")):
        with pytest.raises(LucidError):
            wrong()
