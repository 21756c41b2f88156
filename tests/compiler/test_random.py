"""Random numbers of a compiled step are those of the eager loop after the same seed, and others at each step."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn, optim
from lucid.graph.ops.random import random_key
from lucid.nn import functional as F

Call = Callable[[Any], Any]

CALLS: dict[str, Call] = {
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, training=True),
    "bernoulli": lambda x: x * lucid.bernoulli(x.sigmoid()),
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout1d": lambda x: F.dropout1d(x.reshape(8, 4, 8), 0.5),
    "dropout2d": lambda x: F.dropout2d(x.reshape(8, 4, 4, 2), 0.5),
    "dropout3d": lambda x: F.dropout3d(x.reshape(8, 4, 2, 2, 2), 0.5),
    "feature_alpha_dropout": lambda x: F.feature_alpha_dropout(x.reshape(8, 4, 4, 2), 0.5, training=True),
    "fractional_max_pool2d": lambda x: F.fractional_max_pool2d(x.reshape(4, 2, 8, 4), 2, (3, 2)),
    "fractional_max_pool3d": lambda x: F.fractional_max_pool3d(x.reshape(2, 2, 4, 4, 4), 2, (2, 2, 2)),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, hard=True) * x,
    "multinomial": lambda x: x * lucid.multinomial(x.sigmoid(), 16),
    "rand": lambda x: x * lucid.rand(*x.shape),
    "rand_like": lambda x: x * lucid.rand_like(x),
    "randint": lambda x: x * lucid.randint(0, 100, x.shape),
    "randn": lambda x: x * lucid.randn(*x.shape),
    "randn_like": lambda x: x * lucid.randn_like(x),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "rrelu_": lambda x: F.rrelu_(x * 1.0, training=True),
    "scaled_dot_product_attention": lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
}
"""What draws, by its name in ``lucid`` or ``lucid.nn.functional``, applied to numbers (16, 16)."""


def several(x: Any) -> Any:
    """Used in another order than drawn, and in part not at all."""
    first, noise = F.dropout(x, 0.5), lucid.randn_like(x)
    lucid.rand(3)
    F.dropout(noise, 0.5)
    last = F.dropout(x * 2, 0.3)
    return last.tanh() * noise + lucid.rand_like(x) * (first - lucid.rand_like(x))


class Drawing(nn.Module):
    def __init__(self, call: Call, size: int) -> None:
        super().__init__()
        self.call = call
        self.weight = nn.Parameter(np.eye(size, dtype=np.float32) + 0.01)

    def forward(self, x: Any) -> Any:
        return self.call(x @ self.weight)


def squares(y: Any) -> Any:
    return (y * y).mean()


def losses(call: Call, size: int, *, threads: int | None = None, compiled: bool) -> list[Any]:
    """Of three steps on the same numbers; then the weights, and what is drawn next."""
    model = Drawing(call, size)
    optimizer = optim.SGD(model.parameters(), lr=1e-4)
    step = lucid.compile_step(model, squares, optimizer, threads=threads)
    x = Tensor(np.random.default_rng(0).standard_normal((size, size)).astype(np.float32))
    lucid.manual_seed(5)
    found = []
    for _ in range(3):
        if compiled:
            found.append(float(step(x)))
            continue
        optimizer.zero_grad()
        loss = squares(model(x))
        loss.backward()
        optimizer.step()
        found.append(float(loss))
    assert len(set(found)) == 3, "a step has drawn what one before has drawn"
    assert not compiled or threads is None or step.plan.threads == threads
    return [*found, *model.weight.numpy().ravel().tolist(), lucid.rand(1).item()]


@pytest.mark.parametrize("name", [*CALLS, "several"])
def test_a_step_draws_what_the_eager_loop_draws(name: str) -> None:
    call = CALLS.get(name, several)
    np.testing.assert_allclose(losses(call, 16, compiled=True), losses(call, 16, compiled=False), rtol=1e-4, atol=1e-6)


def test_two_workers_draw_the_same() -> None:
    found = [losses(several, 128, threads=threads, compiled=True) for threads in (1, 2)]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_all_that_draws_is_tried() -> None:
    """What is new is met by itself: whatever comes to a key in the end."""
    faces = {name: getattr(lucid, name) for name in lucid.__all__} | {k: v for k, v in vars(F).items() if k[0] != "_"}
    drawing = {name for name, one in faces.items() if isinstance(one, types.FunctionType) and _draws(one, set())}
    assert drawing == CALLS.keys()


def _draws(function: types.FunctionType, seen: set[int]) -> bool:
    if function is random_key or id(function) in seen:
        return function is random_key
    seen.add(id(function))
    return any(_draws(one, seen) for one in _named(function, function.__code__) if isinstance(one, types.FunctionType))


def _named(function: types.FunctionType, code: types.CodeType) -> Iterator[object]:
    """What the code of a function may call: by its name, in a module or closed over."""
    space = function.__globals__
    for name in code.co_names:
        found = space.get(name)
        yield found
        if isinstance(found, types.ModuleType):
            yield from map(vars(found).get, code.co_names)
    yield from (cell.cell_contents for cell in function.__closure__ or ())
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _named(function, inner)
