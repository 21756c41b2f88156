"""The face of the ops: what goes through it unasked is what its checks let through as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid.errors import DTypeError, OptionError
from lucid.graph.opdef import AbstractTensor
from lucid.graph.public import AS_THEY_ARE, KINDS

SAMPLES: dict[type, list[Any]] = {
    AbstractTensor: [lucid.ones(2), lucid.zeros(0, 3), lucid.tensor(True), lucid.nn.Parameter([1.0])],
    bool: [True, False],
    float: [1.5, -0.0, float("inf"), float("nan"), np.float64(2)],
    str: ["", "mean", "nonsense\n", np.str_("sum")],
    list: [[], [1, "a"]],
    tuple: [(), (1, None), (lucid.ones(1),)],
    type(None): [None],
}


@pytest.mark.parametrize(
    ("check", "value"),
    [(check, value) for check, types in AS_THEY_ARE.items() for type_ in types for value in SAMPLES[type_]],
)
def test_what_is_not_asked_would_come_back_as_it_is(check: Any, value: Any) -> None:
    assert check("f", "x", value, None) is value


def test_the_samples_are_of_their_types_and_the_checks_in_use() -> None:
    assert all(isinstance(value, type_) for type_, values in SAMPLES.items() for value in values)
    assert set(AS_THEY_ARE) <= set(KINDS.values())


def test_what_stands_beside_such_values_is_asked() -> None:
    x = lucid.ones(2, 2)
    with pytest.raises(DTypeError, match="add: b is larger"):
        lucid.add(x, 1 << 1100)
    with pytest.raises(OptionError, match="sum: keepdim is True or False"):
        lucid.sum(x, 0, "yes")
    with pytest.raises(OptionError, match="clip: max is NaN"):
        lucid.clip(x, 0.0, float("nan"))
    with pytest.raises(DTypeError, match="einsum: operand"):
        lucid.einsum("ij,jk->ik", x, "x")
    np.testing.assert_array_equal(lucid.einsum("ij,jk->ik", x, [[1.0, 0.0], [0.0, 1.0]]).numpy(), x.numpy())
