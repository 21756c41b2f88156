"""What a compiled model returns is of the type, and the object, that the eager one returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import TraceError
from lucid.nn import functional as F

TABLE = np.array([1.0, 2.0], np.float32)


class Through(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter([2.0, 3.0])
        self.mean: Any
        self.register_buffer("mean", lucid.zeros(2))

    def forward(self, x: Any) -> Any:
        self.mean.copy_(x + self.mean)
        return x * self.weight, x, self.weight, self.mean


def an_array(x: Any) -> Any:
    return np.ones(3, np.float32)


def beside(x: Any) -> Any:
    return F.relu(x), np.arange(3)


def a_table(x: Any) -> Any:
    return {"y": F.relu(x), "table": TABLE}


def handed(x: Any) -> Any:
    return F.relu(x), [x]


def by_an_op(x: Any) -> Any:
    return F.dropout(x, 0.5, training=False)


def by_a_module(x: Any) -> Any:
    return nn.Identity()(x), x


def as_it_was(x: Any) -> Any:
    return F.relu(x), x


@pytest.mark.parametrize("function", [an_array, beside, a_table, handed, by_an_op, by_a_module, as_it_was])
def test_results_have_the_types_of_the_eager_ones(function: Callable[[Any], Any]) -> None:
    x, compiled = lucid.Tensor([1.0, -2.0]), lucid.compile(function)
    for _ in range(2):
        want, got = function(x), compiled(x)
        assert str(got) == str(want)
        assert type(got) is type(want)


def test_an_array_that_is_passed_and_handed_through_comes_back_as_a_tensor() -> None:
    x = np.array([1.0, -2.0], np.float32)
    for model in (nn.Identity(), lucid.compile(nn.Identity()), lucid.compile(lambda x: x)):
        assert type(model(x)) is lucid.Tensor
        assert not np.shares_memory(model(x).numpy(), x)


def test_an_array_of_a_result_is_the_callers() -> None:
    compiled = lucid.compile(a_table)
    compiled(lucid.ones(2))["table"][:] = 7
    assert compiled(lucid.ones(2))["table"].tolist() == TABLE.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("grad", [True, False])
def test_one_tensor_returned_twice_is_one_tensor(grad: bool) -> None:
    def twice(x: Any) -> Any:
        y = x * 2
        return y, {"again": y}, y.clone()

    x = lucid.Tensor([1.0, 2.0], requires_grad=grad)
    first, second, third = lucid.compile(twice)(x)
    assert first is second["again"]
    assert third is not first
    assert not np.shares_memory(third.numpy(), first.numpy())
    if grad:
        (first.sum() + second["again"].sum()).backward()
        assert x.grad is not None
        assert x.grad.tolist() == [4.0, 4.0]


def test_what_is_handed_through_is_the_object_itself() -> None:
    model = Through()
    compiled = lucid.compile(model)
    for _ in range(2):
        x = lucid.Tensor([1.0, 2.0], requires_grad=True)
        y, same, weight, mean = compiled(x)
        assert same is x
        assert not np.shares_memory(weight.numpy(), model.weight.numpy())  # results belong to the caller
        (y + same).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [3.0, 4.0]
    assert mean.tolist() == [2.0, 4.0]
    alone: Any = lucid.compile(lambda x: x)
    assert all(alone(x) is x for _ in range(3))


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda x: deque([x]), "a result of type collections.deque"),
        (lambda x: {x}, "a result of type builtins.set"),
        (lambda x: [iter([x])], "a result of type builtins.list_iterator"),
        (lambda x: {(1, 2): x}, "a dict among the results has a key of type tuple"),
    ],
)
def test_a_result_of_another_kind_is_called_a_result(made: Callable[[Any], Any], named: str) -> None:
    with pytest.raises(TraceError, match=named):
        lucid.compile(made)(lucid.ones(2))


def test_an_argument_of_another_kind_is_called_an_argument() -> None:
    function = lucid.compile(lambda x, more: x)
    with pytest.raises(TraceError, match=r"an argument of type collections\.deque"):
        function(lucid.ones(2), deque())
    with pytest.raises(TraceError, match="a dict among the arguments has a key of type tuple"):
        function(lucid.ones(2), {(1, 2): 3})
