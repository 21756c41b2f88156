"""``lucid.func`` beside ``torch.func``: derivatives of every nesting, and modules with other tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import stateless as their_stateless

import lucid
from lucid.nn.utils import stateless

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # PyTorch's own
RNG = np.random.default_rng(0)
X, W = RNG.standard_normal(3), RNG.standard_normal((4, 3))


def tensors(m: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return m.tensor(value, dtype=m.float64)
    if isinstance(value, dict):
        return {key: tensors(m, one) for key, one in value.items()}
    return tuple(tensors(m, one) for one in value) if isinstance(value, tuple) else value


def arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: arrays(one) for key, one in value.items()}
    return [arrays(one) for one in value] if isinstance(value, list | tuple) else np.asarray(value.detach().numpy())


def same(ours: Any, theirs: Any) -> None:
    ours, theirs = arrays(ours), arrays(theirs)
    assert_alike(ours, theirs)


def assert_alike(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def scalar(m: Any, x: Any, w: Any) -> Any:
    return ((w @ x).tanh() * (w @ x)).sum() * x.exp().sum()


def vector(m: Any, x: Any, w: Any) -> Any:
    return (w @ x).sin() * x.sum()


def several(m: Any, x: Any, w: Any) -> Any:
    return {"a": (w @ x).softmax(0), "b": (x.prod(), m.stack([x, x * x]))}


def of_dict(m: Any, p: Any) -> Any:
    return (p["w"] @ p["x"]).sigmoid() * p["x"].sum()


CASES = {
    "grad": lambda m: m.func.grad(lambda x, w: scalar(m, x, w))(*tensors(m, (X, W))),
    "grad of two": lambda m: m.func.grad(lambda x, w: scalar(m, x, w), (1, 0))(*tensors(m, (X, W))),
    "grad with aux": lambda m: m.func.grad(lambda x, w: (scalar(m, x, w), {"y": w @ x}), has_aux=True)(
        *tensors(m, (X, W))
    ),
    "grad and value": lambda m: m.func.grad_and_value(lambda x, w: scalar(m, x, w))(*tensors(m, (X, W))),
    "and aux": lambda m: m.func.grad_and_value(lambda x, w: (scalar(m, x, w), w @ x), has_aux=True)(
        *tensors(m, (X, W))
    ),
    "jacrev": lambda m: m.func.jacrev(lambda x, w: vector(m, x, w))(*tensors(m, (X, W))),
    "jacrev of two": lambda m: m.func.jacrev(lambda x, w: vector(m, x, w), (0, -1))(*tensors(m, (X, W))),
    "jacrev of several": lambda m: m.func.jacrev(lambda x, w: several(m, x, w), (1,))(*tensors(m, (X, W))),
    "jacrev by dict": lambda m: m.func.jacrev(lambda p: of_dict(m, p))(tensors(m, {"x": X, "w": W})),
    "jacrev with aux": lambda m: m.func.jacrev(lambda x, w: (vector(m, x, w), x + 1), has_aux=True)(
        *tensors(m, (X, W))
    ),
    "jacfwd": lambda m: m.func.jacfwd(lambda x, w: vector(m, x, w), 1)(*tensors(m, (X, W))),
    "independent": lambda m: m.func.jacrev(lambda x, w: (w * 2, x.sum()))(*tensors(m, (X, W))),
    "hessian": lambda m: m.func.hessian(lambda x, w: scalar(m, x, w))(*tensors(m, (X, W))),
    "hessian of two": lambda m: m.func.hessian(lambda x, w: scalar(m, x, w), (0, 1))(*tensors(m, (X, W))),
    "hessian of a vector": lambda m: m.func.hessian(lambda x, w: vector(m, x, w))(*tensors(m, (X, W))),
    "jacobian of gradient": lambda m: m.func.jacrev(m.func.grad(lambda x, w: scalar(m, x, w), 1))(*tensors(m, (X, W))),
    "gradient of jacobian": lambda m: m.func.grad(
        lambda x, w: m.func.jacrev(lambda z: vector(m, z, w))(x).square().sum()
    )(*tensors(m, (X, W))),
    "three times": lambda m: m.func.jacrev(m.func.jacrev(m.func.jacrev(lambda x: x.sin() * x.sum())))(tensors(m, X)),
}


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    same(CASES[name](lucid), CASES[name](torch))


def test_derivatives_within_compiled_models() -> None:
    x, w = tensors(lucid, (X, W))
    both = lucid.compile(lambda x, w: lucid.func.jacrev(lambda z: vector(lucid, z, w))(x * 2))
    same(both(x, w), torch.func.jacrev(lambda z: vector(torch, z, tensors(torch, W)))(tensors(torch, X) * 2))


def pulled(m: Any, x: Any, w: Any) -> Any:
    result, back = m.func.vjp(lambda x, p: several(m, x, p["w"]), x, {"w": w})
    ones = {"a": m.ones_like(result["a"]), "b": tuple(m.ones_like(one) * 2 for one in result["b"])}
    ones["a"] = ones["a"] * x.sum()
    return result, back(ones)


def test_vjp() -> None:
    wanted = pulled(torch, *tensors(torch, (X, W)))
    same(pulled(lucid, *tensors(lucid, (X, W))), wanted)
    same(lucid.compile(lambda x, w: pulled(lucid, x, w))(*tensors(lucid, (X, W))), wanted)
    found = lucid.func.vjp(lambda x: (x.exp(), x + 1), tensors(lucid, X), has_aux=True)
    theirs = torch.func.vjp(lambda x: (x.exp(), x + 1), tensors(torch, X), has_aux=True)
    same((found[0], found[2]), (theirs[0], theirs[2]))


def second(m: Any) -> Any:
    x = tensors(m, X).requires_grad_()
    _, back = m.func.vjp(lambda x: x**3 * x.sum(), x)
    (first,) = back(tensors(m, X * 2))
    first.sum().backward()
    return first, x.grad


def test_what_vjp_gives_has_gradients() -> None:
    same(second(lucid), second(torch))


def penalised(m: Any, layer: Any) -> Any:
    """Weights get gradients through the derivatives of what they compute."""
    m.func.jacrev(layer)(tensors(m, X)).square().sum().backward()
    return layer.weight.grad


def layers() -> tuple[Any, Any]:
    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 2)
    ).double()
    ours = lucid.nn.Sequential(
        lucid.nn.Linear(3, 4), lucid.nn.BatchNorm1d(4), lucid.nn.Tanh(), lucid.nn.Linear(4, 2)
    ).double()
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    return ours, theirs


def test_derivatives_of_modules_train_them() -> None:
    ours, theirs = (model[0] for model in layers())
    ours, theirs = (
        m.nn.Sequential(layer, m.nn.Tanh()) for m, layer in ((lucid, ours), (torch, theirs))
    )  # fmt: skip
    for model in (ours, theirs):
        model.weight = model[0].weight
    same(penalised(lucid, ours), penalised(torch, theirs))


def replaced(m: Any, call: Any, model: Any, batch: Any) -> Any:
    given = {name: (p.detach() * 2).requires_grad_() for name, p in model.named_parameters() if name != "3.bias"}
    mean = model[1].running_mean.detach().clone()
    call(model, {**given, "1.running_mean": mean}, (batch,)).square().sum().backward()
    return {name: p.grad for name, p in given.items()}, mean, model[1].running_var, model[1].running_mean


@pytest.mark.parametrize("stateless_too", [False, True])
def test_modules_with_other_tensors(stateless_too: bool) -> None:
    ours, theirs = layers()
    batch = RNG.standard_normal((5, 3))
    call, their_call = lucid.func.functional_call, torch.func.functional_call
    if stateless_too:
        call, their_call = stateless.functional_call, their_stateless.functional_call
    wanted = replaced(torch, their_call, theirs, tensors(torch, batch))
    same(replaced(lucid, call, ours, tensors(lucid, batch)), wanted)
    assert all(p.grad is None for name, p in ours.named_parameters() if name != "3.bias")


def by_function(m: Any, model: Any, batch: Any) -> Any:
    given = {name: p.detach() * 3 for name, p in model.named_parameters()}

    def loss(p: Any, x: Any) -> Any:
        return m.func.functional_call(model, p, x).square().mean()

    return m.func.grad(loss)(given, batch), m.func.grad(loss, 1)(given, batch)


def test_gradients_with_respect_to_the_tensors_of_a_module() -> None:
    ours, theirs = (model.eval() for model in layers())
    batch = RNG.standard_normal((5, 3))
    same(by_function(lucid, ours, tensors(lucid, batch)), by_function(torch, theirs, tensors(torch, batch)))


def test_states_of_several_modules() -> None:
    pairs = [layers() for _ in range(3)]
    ours, theirs = (m.func.stack_module_state([pair[i] for pair in pairs]) for i, m in enumerate((lucid, torch)))
    same(ours, theirs)
    assert all(p.requires_grad for p in ours[0].values())
