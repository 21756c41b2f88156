"""Draws with ``generator=``: the same numbers for the same seed, and nothing taken from the process's sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import OptionError, TraceError

X = lucid.full((4, 3), 0.25)

DRAWS: list[Callable[[Any], Any]] = [
    lambda g: lucid.rand(4, 3, generator=g),
    lambda g: lucid.rand(size=(4, 3), generator=g, dtype="float64"),
    lambda g: lucid.randn(4, 3, generator=g),
    lambda g: lucid.randint(1000, (4, 3), generator=g),
    lambda g: lucid.randperm(20, generator=g),
    lambda g: lucid.rand_like(X, generator=g),
    lambda g: lucid.randn_like(X, generator=g),
    lambda g: lucid.normal(X, 2.0, generator=g),
    lambda g: lucid.bernoulli(X, generator=g),
    lambda g: lucid.multinomial(X, 2, generator=g),
    lambda g: X.multinomial(3, replacement=True, generator=g),
    lambda g: X.clone().normal_(1.0, 2.0, generator=g),
    lambda g: X.clone().log_normal_(generator=g),
    lambda g: X.clone().uniform_(-1, generator=g),
    lambda g: X.clone().exponential_(generator=g),
    lambda g: X.clone().cauchy_(generator=g),
    lambda g: X.clone().geometric_(0.1, generator=g),
    lambda g: X.clone().bernoulli_(generator=g),
    lambda g: X.clone().random_(generator=g),
    lambda g: nn.init.uniform_(X.clone(), generator=g),
    lambda g: nn.init.normal_(X.clone(), generator=g),
    lambda g: nn.init.trunc_normal_(X.clone(), generator=g),
    lambda g: nn.init.xavier_uniform_(X.clone(), generator=g),
    lambda g: nn.init.xavier_normal_(X.clone(), generator=g),
    lambda g: nn.init.kaiming_uniform_(X.clone(), generator=g),
    lambda g: nn.init.kaiming_normal_(X.clone(), generator=g),
    lambda g: nn.init.orthogonal_(X.clone(), generator=g),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_generator_has_a_sequence_of_its_own(draw: Callable[[Any], Any]) -> None:
    lucid.manual_seed(0)
    before, generator = lucid.get_rng_state().numpy().copy(), lucid.Generator().manual_seed(7)
    first, second = draw(generator).numpy(), draw(generator).numpy()
    np.testing.assert_array_equal(lucid.get_rng_state().numpy(), before)
    lucid.rand(3)
    np.testing.assert_array_equal(draw(lucid.Generator().manual_seed(7)).numpy(), first)
    lucid.manual_seed(7)
    np.testing.assert_array_equal(draw(None).numpy(), first)
    if first.dtype != np.int64 and not set(np.unique(first)) <= {0.0, 1.0}:
        assert (first != second).any()


@pytest.mark.parametrize("draw", DRAWS)
def test_what_is_no_generator_is_refused(draw: Callable[[Any], Any]) -> None:
    with pytest.raises(OptionError, match=r"generator is a lucid\.Generator"):
        draw(np.random.default_rng(0))


@pytest.mark.parametrize("draw", [lambda x, g: x + lucid.rand(3, generator=g), lambda x, g: x.normal_(generator=g),
                                  lambda x, g: x + lucid.rand_like(x, generator=g)])  # fmt: skip
def test_a_trace_refuses_a_generator(draw: Callable[[Any, Any], Any]) -> None:
    generator = lucid.Generator()
    with pytest.raises(TraceError, match="a generator is given while a model is traced"):
        lucid.compile(lambda x: draw(x * 1, generator))(lucid.ones(3))


def test_a_failed_draw_gives_the_sequence_back() -> None:
    generator = lucid.Generator()
    with pytest.raises(OptionError):
        X.clone().uniform_(2, 1, generator=generator)
    lucid.manual_seed(3)
    first = lucid.rand(2).numpy()
    lucid.manual_seed(3)
    np.testing.assert_array_equal(lucid.rand(2).numpy(), first)
