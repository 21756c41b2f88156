"""Weights that are computed from others: what is kept of them, what is refused, and what a compiled model does once."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DTypeError, OptionError, ShapeError
from lucid.nn.utils import parametrizations, parametrize

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.triu() + x.triu(1).mT


class Counted(nn.Module):
    """Notes how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", lucid.tensor(0))

    def forward(self, x: Any) -> Any:
        self.runs.copy_(self.runs + 1)
        return x * 2


def layer(*modules: nn.Module) -> Any:
    lucid.manual_seed(0)
    made = nn.Linear(3, 3)
    for module in modules:
        parametrize.register_parametrization(made, "weight", module)
    return made


def test_a_compiled_model_in_evaluation_computes_the_weight_once() -> None:
    model = layer(Symmetric()).eval()
    net = lucid.compile(model)
    with lucid.no_grad():
        wanted = model(X).numpy()
        np.testing.assert_allclose(net(X).numpy(), wanted, rtol=1e-6)
        run = net.source.split("def bind")[1]
        assert "where" not in run and "copyto" not in run  # all of that is before, where parameters are prepared
        model.parametrizations.weight.original.mul_(2.0)
        changed = net(X).numpy()
        np.testing.assert_allclose(changed, model(X).numpy(), rtol=1e-6)
    assert (changed != wanted).any()


def test_the_same_class_for_all_and_the_old_one_after() -> None:
    one, other = layer(Symmetric()), layer(Symmetric())
    assert type(one) is type(other) is not nn.Linear
    assert parametrize.type_before_parametrizations(one) is nn.Linear
    assert parametrize.is_parametrized(one, "weight") and not parametrize.is_parametrized(one, "bias")
    net = lucid.compile(one)
    before = net(X).numpy()
    parametrize.remove_parametrizations(one, "weight", leave_parametrized=False)
    assert type(one) is nn.Linear and "parametrizations" not in dir(one)
    np.testing.assert_allclose(net(X).numpy(), one(X).numpy(), rtol=1e-6)
    assert (net(X).numpy() != before).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(copied: Any) -> None:
    norms = nn.utils.spectral_norm(nn.Linear(3, 2)), nn.utils.weight_norm(nn.Conv2d(1, 2, 2))
    model = nn.Sequential(layer(Symmetric()), *norms)
    other = copied(model)
    assert list(other.state_dict()) == list(model.state_dict())
    with lucid.no_grad():
        for p in other.parameters():
            p.mul_(2.0)
    np.testing.assert_allclose(other[0](X).numpy(), 2 * model[0](X).numpy(), rtol=1e-6)
    before = np.array(model[1].weight_u.numpy())
    other[1](X)
    np.testing.assert_array_equal(model[1].weight_u.numpy(), before)


def test_within_cached_it_is_computed_once() -> None:
    model = layer(counted := Counted())
    begun = int(counted.runs)

    def three(x: Any) -> Any:
        return model(x) + model(x) + model.weight.sum()

    wanted = three(X).numpy()
    assert int(counted.runs) == begun + 3
    with parametrize.cached():
        with parametrize.cached():
            np.testing.assert_allclose(three(X).numpy(), wanted, rtol=1e-6)
        assert model.weight is model.weight
        assert int(counted.runs) == begun + 4
        with lucid.no_grad():
            model.parametrizations.weight.original.zero_()
        assert (model.weight != 0).any()
    assert (model.weight == 0).all()


def test_a_trace_begun_within_cached_is_for_other_calls_too() -> None:
    model = layer(counted := Counted())
    net = lucid.compile(lambda x: model(x) + model(x))
    with parametrize.cached():
        net(X)
    runs = int(counted.runs)
    net(X)
    assert int(counted.runs) == runs + 2

    def inside(x: Any) -> Any:
        with parametrize.cached():
            return model(x) + model(x)

    net = lucid.compile(inside)
    net(X)
    runs = int(counted.runs)
    np.testing.assert_allclose(net(X).numpy(), 2 * model(X).numpy(), rtol=1e-6)
    assert int(counted.runs) == runs + 2  # one of the net, one of the model


class Wrong(nn.Module):
    def __init__(self, value: Any, inverse: Any = None) -> None:
        super().__init__()
        self.value = value
        if inverse is not None:
            self.right_inverse = inverse

    def forward(self, x: Any) -> Any:
        return self.value(x)


@pytest.mark.parametrize(
    ("module", "error", "words"),
    [
        (Wrong(lambda x: x[0]), ShapeError, "forward gives .*unsafe"),
        (Wrong(lambda x: x.double()), DTypeError, "forward gives"),
        (Wrong(lambda x: 3), OptionError, "forward gives a tensor"),
        (Wrong(lambda x: x, lambda x: 3), OptionError, "right_inverse gives a tensor"),
        (Wrong(lambda x: x, lambda x: x.double()), DTypeError, "right_inverse gives"),
        (Wrong(lambda x: x, lambda x: []), OptionError, "right_inverse gives a tensor"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(module: Any, error: Any, words: str) -> None:
    for model in (layer(), layer(Symmetric())):
        names, before = list(model.state_dict()), model.weight.numpy().copy()
        if not (parametrize.is_parametrized(model) and "right_inverse" in vars(module)):
            with pytest.raises(error, match=words):
                parametrize.register_parametrization(model, "weight", module)
        assert list(model.state_dict()) == names
        np.testing.assert_array_equal(model.weight.numpy(), before)


def normed() -> nn.Module:
    return parametrizations.weight_norm(layer())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: parametrize.register_parametrization(layer(), "wight", Symmetric()), "no parameter or buffer 'wight'"),
        (lambda: parametrize.register_parametrization(nn.LazyLinear(3), "weight", Symmetric()), "not known yet"),
        (lambda: parametrize.remove_parametrizations(layer(), "weight"), "not parametrised"),
        (lambda: parametrize.remove_parametrizations(normed(), "weight", False), "several"),
        (lambda: setattr(layer(Symmetric()), "weight", 3), "set it to a tensor|assign a tensor"),
        (lambda: setattr(nn.utils.weight_norm(layer()), "weight", lucid.zeros(3, 3)), "is computed"),
        (lambda: nn.utils.weight_norm(layer(), "wight"), "no parameter 'wight'"),
        (lambda: nn.utils.weight_norm(layer(), dim=2), "dim"),
        (lambda: nn.utils.remove_weight_norm(layer()), "no such norm"),
        (lambda: nn.utils.remove_spectral_norm(nn.utils.weight_norm(layer())), "no such norm"),
        (lambda: nn.utils.spectral_norm(layer(), n_power_iterations=0), "n_power_iterations"),
        (lambda: parametrizations.spectral_norm(3), "takes a module"),  # type: ignore[type-var]
        (lambda: parametrizations.orthogonal(layer(), "bias"), "at least 2 axes"),
        (lambda: parametrizations.orthogonal(layer(), orthogonal_map="qr"), "householder"),
        (lambda: layer(Symmetric()).register_parameter("weight", None), "attribute 'weight' already"),
    ],
)  # fmt: skip
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises((OptionError, ShapeError), match=words):
        make()


@pytest.mark.parametrize(
    ("add", "remove"),
    [(nn.utils.weight_norm, nn.utils.remove_weight_norm), (nn.utils.spectral_norm, nn.utils.remove_spectral_norm)],
)
def test_the_older_functions_are_taken_back(add: Any, remove: Any) -> None:
    model = add(layer()).eval()
    wanted = model(X).numpy()
    assert remove(model) is model and type(model) is nn.Linear
    assert sorted(model.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(model.train()(X).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "norm", "shape"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=1), lambda: nn.BatchNorm2d(4), (2, 3, 6, 6)),
        (lambda: nn.Conv1d(4, 6, 2, groups=2, bias=False), lambda: nn.BatchNorm1d(6, affine=False), (2, 4, 7)),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), lambda: nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (lambda: nn.Linear(3, 5), lambda: nn.BatchNorm1d(5), (2, 3)),
    ],
)
def test_batch_normalisation_is_put_into_weights(make: Any, norm: Any, shape: tuple[int, ...]) -> None:
    lucid.manual_seed(0)
    conv, bn, x = make(), norm(), lucid.randn(*shape)
    for tensor in (*bn.parameters(), bn.running_mean, bn.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    fuse = nn.utils.fuse_linear_bn_eval if isinstance(conv, nn.Linear) else nn.utils.fuse_conv_bn_eval
    with pytest.raises(OptionError, match="training mode"):
        fuse(conv, bn)
    fused = fuse(conv.eval(), bn.eval())
    np.testing.assert_allclose(fused(x).detach(), bn(conv(x)).detach(), rtol=0, atol=2e-6)  # 4e-7 was seen
    with pytest.raises(OptionError, match="needs a BatchNorm"):
        fuse(conv, conv)


def test_states_of_the_older_weight_norm_load_into_the_newer() -> None:
    older = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.utils.weight_norm(nn.Conv1d(2, 2, 2), dim=1))
    for prefix in ("", "body."):
        newer = nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
            nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 2), dim=1),
        )
        whole = nn.ModuleDict({"body": newer}) if prefix else newer
        state = older.state_dict(prefix)
        assert f"{prefix}0.weight_g" in state
        assert whole.load_state_dict(state) == ([], [])
        for one, other in zip(older, newer, strict=True):
            np.testing.assert_array_equal(one.weight.detach().numpy(), other.weight.detach().numpy())
    both = {**older.state_dict(), **newer.state_dict()}
    with pytest.raises(OptionError, match=r"unexpected \['0\.weight_g'"):
        newer.load_state_dict(both)
    with pytest.raises(OptionError, match=r"missing \['0\.parametrizations\.weight\.original1'"):
        newer.load_state_dict({name: t for name, t in older.state_dict().items() if name != "0.weight_v"})
