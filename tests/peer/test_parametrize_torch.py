"""Computed weights beside PyTorch's: paths of the state, values, gradients, training steps, eagerly and compiled."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn as tn

import lucid
from lucid import nn

Array = np.ndarray[Any, Any]

CASES = {
    "weight_norm": "u.parametrizations.weight_norm(n.Linear(4, 3))",
    "weight_norm whole": "u.parametrizations.weight_norm(n.Linear(4, 3), dim=None)",
    "weight_norm of a bias": "u.parametrizations.weight_norm(n.Linear(4, 3), 'bias')",
    "weight_norm conv": "u.parametrizations.weight_norm(n.Conv1d(3, 4, 2), dim=1)",
    "weight_norm transposed": "u.parametrizations.weight_norm(n.ConvTranspose1d(3, 4, 2))",
    "spectral_norm": "u.parametrizations.spectral_norm(n.Linear(4, 3), n_power_iterations=2)",
    "spectral_norm of a bias": "u.parametrizations.spectral_norm(n.Linear(4, 3), 'bias')",
    "spectral_norm transposed": "u.parametrizations.spectral_norm(n.ConvTranspose1d(3, 4, 2))",
    "orthogonal square": "u.parametrizations.orthogonal(n.Linear(4, 4))",
    "orthogonal tall": "u.parametrizations.orthogonal(n.Linear(3, 5))",
    "orthogonal wide": "u.parametrizations.orthogonal(n.Linear(5, 3))",
    **{
        f"{how} {rows} {columns} {based}": f"u.parametrizations.orthogonal(n.Linear({rows}, {columns}), "
        f"orthogonal_map='{how}', use_trivialization={based})"
        for how in ("matrix_exp", "cayley", "householder")
        for rows, columns in ((4, 4), (3, 5), (5, 3))
        for based in (True, False)
    },
    "two": "u.parametrizations.spectral_norm(u.parametrizations.weight_norm(n.Linear(4, 3)))",
    "old weight_norm": "u.weight_norm(n.Linear(4, 3))",
    "old weight_norm whole": "u.weight_norm(n.Conv1d(3, 4, 2), dim=None)",
    "old spectral_norm": "u.spectral_norm(n.Linear(4, 3))",
    "old spectral_norm transposed": "u.spectral_norm(n.ConvTranspose1d(3, 4, 2), n_power_iterations=3)",
}


def pair(case: str) -> tuple[Any, Any, Array]:
    """The same layer in both worlds, in float64, with an input."""
    lucid.manual_seed(0)
    torch.manual_seed(0)
    theirs = eval(CASES[case], {"n": tn, "u": tn.utils}).double()
    ours = eval(CASES[case], {"n": nn, "u": nn.utils}).double()
    state = {name: tensor.detach().numpy() for name, tensor in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    shape = (2, theirs.in_features) if "Linear" in CASES[case] else (2, 3, 7)
    return ours, theirs, np.random.default_rng(0).standard_normal(shape)


def state_of(module: Any) -> dict[str, Array]:
    return {name: np.array(tensor.detach().numpy()) for name, tensor in module.state_dict().items()}


def assert_same(ours: dict[str, Array], theirs: dict[str, Array]) -> None:
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_values_and_gradients(case: str, way: str) -> None:
    ours, theirs, x = pair(case)
    run = lucid.compile(ours) if way == "compiled" else ours
    for _ in range(2):
        y, z = run(x), theirs(torch.from_numpy(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-9, atol=1e-11)
        (y * y).sum().backward()
        (z * z).sum().backward()
    assert_same(state_of(ours), state_of(theirs))
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    assert_same({name: ours.get_parameter(name).grad.numpy() for name in gradients}, gradients)
    for module in (ours, theirs, run):
        module.eval()
    np.testing.assert_allclose(
        run(x).detach().numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-9, atol=1e-11
    )
    assert_same(state_of(ours), state_of(theirs))


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("case", [case for case in CASES if "bias" not in case])
def test_compiled_steps_train_what_they_are_computed_from(case: str) -> None:
    ours, theirs, x = pair(case)
    step = lucid.compile_step(ours, lambda y, _: (y * y).mean(), lucid.optim.SGD(ours.parameters(), lr=0.1))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(3):
        loss = (theirs(torch.from_numpy(x)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(step(x, x)) == pytest.approx(float(loss.detach()), rel=1e-9)
    assert_same(state_of(ours), state_of(theirs))


@pytest.mark.parametrize("case", [case for case in CASES if "householder" in case or case in ("two", "weight_norm")])
def test_a_weight_that_is_set(case: str) -> None:
    ours, theirs, x = pair(case)
    ours.eval()
    theirs.eval()
    value = np.random.default_rng(1).standard_normal(theirs.weight.shape)
    value = np.linalg.qr(value)[0] if value.shape[0] >= value.shape[1] else np.linalg.qr(value.T)[0].T
    ours.weight = lucid.tensor(value)
    theirs.weight = torch.from_numpy(value)
    if "True" not in case or "4 4" in case:  # the rest of a base is random
        assert_same(state_of(ours), state_of(theirs))
    if "False" not in case:
        np.testing.assert_allclose(
            ours(x).detach(), theirs(torch.from_numpy(x)).detach(), rtol=1e-9, atol=1e-11  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.mark.parametrize("leave", [True, False])
def test_what_is_taken_back(leave: bool) -> None:
    made = []
    for n, u in ((nn, nn.utils.parametrize), (tn, tn.utils.parametrize)):

        class Twice(n.Module):  # type: ignore[name-defined]
            def forward(self, x: Any) -> Any:
                return x * 2

        layer: Any = n.Linear(3, 2)
        first = layer.weight
        u.register_parametrization(layer, "weight", Twice())
        u.register_parametrization(layer, "weight", Twice())
        value = np.arange(6, dtype=np.float32).reshape(2, 3)
        with lucid.no_grad() if n is nn else torch.no_grad():
            layer.parametrizations.weight.original.copy_(value if n is nn else torch.from_numpy(value))
        assert repr(layer).startswith("ParametrizedLinear(")
        before = np.array(layer.weight.detach().numpy())
        u.remove_parametrizations(layer, "weight", leave_parametrized=leave)
        assert layer.weight is first
        assert type(layer) is n.Linear and not u.is_parametrized(layer)
        made.append((list(layer.state_dict()), before.tolist(), layer.weight.detach().numpy().tolist(), repr(layer)))
    assert made[0] == made[1]


def test_copies_and_pickles_compute_their_own() -> None:
    ours, _, x = pair("two")
    other = copy.deepcopy(ours.eval())
    before = ours(x).detach().numpy()
    with lucid.no_grad():
        other.parametrizations.weight.original0.mul_(0.0).add_(1.0)
    np.testing.assert_array_equal(ours(x).detach().numpy(), before)
    assert (other(x).detach().numpy() != before).any()


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_older_states_of_pytorch_load() -> None:
    theirs = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(4, 3)), torch.nn.Linear(3, 2))
    ours = lucid.nn.Sequential(
        lucid.nn.utils.parametrizations.weight_norm(lucid.nn.Linear(4, 3)), lucid.nn.Linear(3, 2)
    )
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    np.testing.assert_allclose(ours(x).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6)
