"""``lucid.func``: what its graphs hold, what stays as it is, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import func, nn
from lucid.errors import GradientError, LucidError, OptionError, ShapeError

X = lucid.tensor(np.linspace(-1, 1, 3, dtype=np.float32))


def test_the_rows_of_a_jacobian_are_one_walk() -> None:
    sizes = {}
    for count in (4, 400):
        layer = nn.Sequential(nn.Linear(3, count), nn.Tanh())
        net = lucid.compile(lambda x, layer=layer: func.jacrev(layer)(x))
        wanted = (1 - layer(X).detach().numpy() ** 2)[:, None] * layer[0].weight.detach().numpy()
        np.testing.assert_allclose(net(X).detach().numpy(), wanted, rtol=1e-6)
        assert "Scan" not in {node.op.name for _, node in net.graph.nodes()}
        sizes[count] = len(list(net.graph.nodes()))
    assert sizes[4] == sizes[400]


def test_what_is_drawn_is_drawn_before_the_loop() -> None:
    layer = nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0), nn.Linear(1, 50), nn.Dropout(0.5))
    found = func.jacrev(layer)(X)
    kept = found.detach().numpy()[:, 0] != 0
    assert 5 < kept.sum() < 45


def test_a_module_is_as_before_and_traced_once() -> None:
    layer = nn.Linear(3, 2)
    before = dict(layer.named_parameters())
    traced = []

    def call(p: Any, x: Any) -> Any:
        traced.append(1)
        return func.functional_call(layer, p, (x,))

    net = lucid.compile(call)
    for scale in (1.0, 2.0):
        given = {"weight": lucid.full((2, 3), scale)}
        wanted = scale * X.numpy().sum() + layer.bias.detach().numpy()
        np.testing.assert_allclose(net(given, X).detach().numpy(), wanted, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(call(given, X).detach().numpy(), wanted, rtol=1e-6, atol=1e-7)
    layer.bias.data.add_(1.0)
    np.testing.assert_allclose(net(given, X).detach().numpy(), wanted + 1, rtol=1e-6, atol=1e-7)
    with pytest.raises(ShapeError):
        func.functional_call(layer, given, (lucid.ones(5),))
    assert all(p is before[name] for name, p in layer.named_parameters())


def test_tied_weights_are_replaced_together() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    two = lucid.eye(3) * 2
    np.testing.assert_array_equal(func.functional_call(model, {"1.weight": two}, X).numpy(), 4 * X.numpy())
    with pytest.raises(OptionError, match=r"1\.weight and 0\.weight are one tensor"):
        func.functional_call(model, {"0.weight": two, "1.weight": two * 2}, X)
    both = {"0.weight": two, "1.weight": two * 2}
    np.testing.assert_array_equal(func.functional_call(model, both, X, tie_weights=False).numpy(), 8 * X.numpy())
    func.functional_call(model, {"1.weight": two}, X, strict=True)
    with pytest.raises(OptionError, match=r"not given: \['0\.weight'\]"):
        func.functional_call(model, {"1.weight": two}, X, tie_weights=False, strict=True)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: func.functional_call(nn.Linear(3, 2), {"wieght": X}, X), "no parameter or buffer at 'wieght'"),
        (lambda: func.functional_call(nn.Linear(3, 2), {"weight": X}, X), r"weight is float32\[2, 3\]"),
        (lambda: func.functional_call(nn.Linear(3, 2), [{"bias": X}, {"bias": X}], X), "in two of the dicts"),
        (lambda: func.functional_call(nn.Linear(3, 2), {"bias": 1.0}, X), "is a tensor"),
        (lambda: func.functional_call(X, {}, X), "calls a module"),
        (lambda: func.jacrev(3), "differentiates a function"),
        (lambda: func.jacrev(lambda x: x, 1.0), "argnums"),
        (lambda: func.jacrev(lambda x: x, 1)(X), "no positional argument 1"),
        (lambda: func.jacrev(lambda x: x)(lucid.arange(3)), "has no gradient"),
        (lambda: func.jacrev(lambda x: x > 0)(X), "a result of type"),
        (lambda: func.jacrev(lambda x: x, has_aux=True)(X), "a tuple of two"),
        (lambda: lucid.compile(lambda x: func.jacrev(lucid.sin)(x), lucid.spec("N")), "how many"),
        (lambda: func.grad(lambda x: x)(X), "one element"),
        (lambda: func.vjp(lucid.sin, X)[1]([X]), "nested as that is"),
        (lambda: func.vjp(lucid.sin, lucid.arange(3)), "has no gradient"),
        (lambda: func.stack_module_state([]), "one class in one mode"),
        (lambda: func.stack_module_state([nn.ReLU(), nn.Linear(2, 2)]), "one class in one mode"),
        (lambda: func.stack_module_state([nn.Linear(2, 2), nn.Linear(2, 2, bias=False)]), "different names"),
    ],
)
def test_what_is_refused(call: Any, says: str) -> None:
    with pytest.raises(LucidError, match=says):
        call()


def test_back_from_compiled_models_without_a_history() -> None:
    layer = nn.Linear(3, 2)
    net = lucid.compile(layer)
    result, back = func.vjp(net, X)
    with lucid.no_grad():
        (gradient,) = back(lucid.ones_like(result))
    np.testing.assert_allclose(gradient.numpy(), layer.weight.detach().numpy().sum(0), rtol=1e-6)
    with pytest.raises(GradientError, match="no second gradient"):
        back(lucid.ones_like(result))
