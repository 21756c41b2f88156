"""Module: attributes, the tree, state, hooks, copies and printing."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DTypeError, LucidError, OptionError, ShapeError
from lucid.tensor.tensor import Tensor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("seen", Tensor(0.0))
        self.register_buffer("scratch", Tensor(1.0), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.last(self.norm(self.first(x))) * self.scale


X = np.arange(15, dtype=np.float32).reshape(5, 3) / 7


def same_state(a: nn.Module, b: nn.Module) -> bool:
    p, q = a.state_dict(), b.state_dict()
    return list(p) == list(q) and all(np.array_equal(p[name], q[name]) for name in p)


def test_names_run_from_the_root_in_order() -> None:
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "first", "norm", "last", "last.0", "last.1"]
    parameters = ["scale", "first.weight", "first.bias", "norm.weight", "norm.bias", "last.1.weight"]
    assert [name for name, _ in net.named_parameters()] == parameters
    assert len(list(net.parameters())) == 6
    assert [name for name, _ in net.named_children()] == ["first", "norm", "last"]
    statistics = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    assert [name for name, _ in net.named_buffers()] == ["seen", "scratch", *statistics]
    assert net.get_submodule("last.1") is net.last[1]
    with pytest.raises(OptionError, match=r"no module at 'last.7'"):
        net.get_submodule("last.7")


def test_attributes_replace_and_vanish() -> None:
    net = Net()
    net.scale = nn.Parameter(np.zeros(2, np.float32))
    assert float(net.scale.sum()) == 0
    assert [n for n, _ in net.named_parameters()].count("scale") == 1
    del net.last
    assert "last" not in dict(net.named_children())
    with pytest.raises(AttributeError, match="Net has no attribute 'last'"):
        net.last  # noqa: B018
    net.first = None  # type: ignore[assignment]
    assert net.first is None
    with pytest.raises(OptionError, match="'scale' is a Parameter and cannot become a Tensor"):
        net.scale = Tensor([1.0, 2.0])
    with pytest.raises(OptionError, match="'norm' is a Module and cannot become a function"):
        net.norm = lambda x: x  # type: ignore[assignment]
    assert isinstance(net.scale, nn.Parameter)


def test_setting_before_init_is_an_error() -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(LucidError, match=r"Early: call super\(\).__init__\(\) before setting 'layer'"):
        Early()


def test_forward_must_be_defined() -> None:
    with pytest.raises(LucidError, match="Module does not define forward"):
        nn.Module()(1)


def test_train_and_eval_reach_the_whole_tree() -> None:
    net = Net()
    assert all(not m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())
    with pytest.raises(OptionError, match="mode is True or False, got 1"):
        net.train(1)  # type: ignore[arg-type]


def test_requires_grad_and_zero_grad() -> None:
    net = Net().eval()
    net.first.requires_grad_(False)
    net(Tensor(X)).sum().backward()
    assert net.first.weight.grad is None
    assert net.scale.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_to_converts_floats_only() -> None:
    net = Net().double()
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    assert net.norm.num_batches_tracked.dtype.name == "int64"
    assert net(Tensor(X.astype(np.float64))).dtype.name == "float64"
    with pytest.raises(OptionError, match="not int64"):
        net.to("int64")


# ---------------------------------------------------------------- state


def test_state_goes_from_one_to_another() -> None:
    a, b = Net(), Net()
    a(Tensor(X))
    assert not same_state(a, b)
    assert b.load_state_dict(a.state_dict()) == ([], [])
    assert same_state(a, b)
    assert "scratch" not in a.state_dict()
    assert "norm.num_batches_tracked" in a.state_dict()


def test_a_state_dict_has_the_memory_of_the_model() -> None:
    net = Net().eval()
    run, x = lucid.compile(net), Tensor(X)
    run(x)
    state, kept = net.state_dict(), copy.deepcopy(net.state_dict())
    cloned = {name: value.clone() for name, value in state.items()}
    state["scale"][:] = 7
    state["norm.bias"] *= 0.5
    state["norm.bias"] += 0.25
    assert net.scale.tolist() == [7.0, 7.0] and net.norm.bias.tolist() == [0.25] * 4
    np.testing.assert_array_equal(run(x).numpy(), net(x).numpy())
    net.scale.copy_(np.full(2, 3.0))
    assert state["scale"].tolist() == [3.0, 3.0]
    for copied in (kept, cloned):
        assert copied["scale"].tolist() == [1.0, 1.0] and copied["norm.bias"].tolist() == [0.0] * 4
    assert not any(value.requires_grad for value in (*state.values(), *cloned.values()))
    net.load_state_dict(kept)
    assert net.scale.tolist() == [1.0, 1.0]


def test_a_moving_average_of_a_state() -> None:
    net = Net()
    average = copy.deepcopy(net)
    net.scale.copy_(np.full(2, 3.0))
    current = net.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value *= 0.75
            value += 0.25 * current[name].detach()
    assert average.scale.tolist() == [1.5, 1.5]
    shadow = {name: value.clone() for name, value in average.state_dict().items()}
    for name, value in current.items():
        if value.is_floating_point():
            shadow[name].mul_(0.5).add_(value, alpha=0.5)
    assert shadow["scale"].tolist() == [2.25, 2.25] and average.scale.tolist() == [1.5, 1.5]


def test_a_state_goes_to_files_of_others(tmp_path: Path) -> None:
    net, other = Net(), Net()
    np.savez(tmp_path / "state.npz", **net.state_dict())
    with np.load(tmp_path / "state.npz") as arrays:
        other.load_state_dict(dict(arrays))
    assert same_state(net, other)
    again = pickle.loads(pickle.dumps(net.state_dict()))
    assert all(np.array_equal(again[name], value) for name, value in net.state_dict().items())
    array = np.asarray(net.state_dict()["scale"])
    assert array.tobytes() and array.dtype == np.float32  # what safetensors.numpy takes


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("scale"), OptionError, r"missing \['scale'\], unexpected \[\]"),
        (lambda s: s.update(other=np.zeros(1)), OptionError, r"missing \[\], unexpected \['other'\]"),
        (lambda s: s.update({"last.1.weight": np.zeros((2, 3))}), ShapeError, r"last.1.weight has shape \(2, 4\)"),
        (lambda s: s.update({"norm.num_batches_tracked": np.array(1.5)}), DTypeError, "is int64, the array float64"),
    ],
)
def test_a_wrong_state_changes_nothing(change: Any, error: type[LucidError], message: str) -> None:
    net, twin = Net(), Net()
    twin.load_state_dict(net.state_dict())
    state = Net().state_dict()
    change(state)
    with pytest.raises(error, match=message):
        net.load_state_dict(state)
    assert same_state(net, twin)


def test_strictness_may_be_waived() -> None:
    net, other = Net(), Net()
    state = other.state_dict()
    del state["scale"]
    state["more"] = np.zeros(1)
    assert net.load_state_dict(state, strict=False) == (["scale"], ["more"])
    assert np.array_equal(net.first.weight.numpy(), other.first.weight.numpy())


def test_shared_parameters_and_modules() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    layer = nn.Linear(2, 2)
    twice = nn.Sequential(layer, layer)
    assert [name for name, _ in twice.named_parameters()] == ["0.weight", "0.bias"]
    assert list(twice.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    twice(Tensor([[1.0, 2.0]])).sum().backward()
    assert layer.weight.grad is not None
    clone = copy.deepcopy(twice)
    assert clone[0] is clone[1]


def test_a_module_inside_itself() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    net.append(net)
    with pytest.raises(LucidError, match="contains itself"):
        net.state_dict()


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_apart(clone: Any) -> None:
    net = Net()
    net.last[1].weight.requires_grad_(False)
    other = clone(net)
    assert same_state(net, other)
    assert not other.last[1].weight.requires_grad
    assert isinstance(other.scale, nn.Parameter)
    assert np.array_equal(net.eval()(Tensor(X)).numpy(), other.eval()(Tensor(X)).numpy())
    other.scale.copy_(np.zeros(2))
    assert float(net.scale.sum()) == 2


# ---------------------------------------------------------------- hooks


def test_hooks_see_and_replace() -> None:
    layer, calls = nn.Identity(), []

    def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
        calls.append(("before", module, args))
        return args[0] + 1

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        calls.append(("after", module, args))
        return output * 10

    first, second = layer.register_forward_pre_hook(before), layer.register_forward_hook(after)
    assert layer(2) == 30
    assert [(kind, args) for kind, _, args in calls] == [("before", (2,)), ("after", (3,))]
    second.remove()
    assert layer(2) == 3
    first.remove()
    first.remove()
    assert layer(2) == 2


def test_hooks_run_in_order_and_none_changes_nothing() -> None:
    layer = nn.Identity()
    layer.register_forward_hook(lambda m, args, y: y + 1)
    layer.register_forward_hook(lambda m, args, y: None)
    layer.register_forward_hook(lambda m, args, y: y * 2)
    assert layer(1) == 4


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    Net().apply(lambda m: seen.append(type(m).__name__))
    assert seen.index("Net") == len(seen) - 1
    assert seen.index("Sequential") > seen.index("ReLU")


def test_printing() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (norm): BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)\n"
        "  (last): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=4, out_features=2, bias=False)\n"
        "  )\n"
        ")"
    )


def test_a_buffer_that_is_assigned_is_registered() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Buffer(lucid.full((3,), 2.0))
            self.count = nn.Buffer(np.zeros((), np.int64), persistent=False)

        def forward(self, x: Any) -> Any:
            self.count = self.count + 1
            return x * self.scale

    model = Scaled()
    assert [name for name, _ in model.named_buffers()] == ["scale", "count"]
    assert list(model.state_dict()) == ["scale"] and list(model.parameters()) == []
    x = np.ones(3, np.float32)
    net = lucid.compile(model)
    np.testing.assert_array_equal(net(x).numpy(), [2, 2, 2])
    model.load_state_dict({"scale": np.array([3, 4, 5], np.float32)})
    np.testing.assert_array_equal(net(x).numpy(), [3, 4, 5])
    np.testing.assert_array_equal(model(x).numpy(), [3, 4, 5])
    assert model.count.item() == 3
    plain = nn.Module()
    plain.scale = model.scale
    again = pickle.loads(pickle.dumps(plain))
    assert list(again.state_dict()) == ["scale"] and again.scale.tolist() == [3, 4, 5]
    model.scale = nn.Buffer([1.0], persistent=False)
    assert list(model.state_dict()) == [] and model.scale.dtype == lucid.float32
    kept = copy.deepcopy(nn.Buffer([1.0], persistent=False))
    assert isinstance(kept, nn.Buffer) and not kept.persistent and nn.Buffer().shape == (0,)
    model.other = 1
    with pytest.raises(OptionError, match="there is an attribute 'other' already"):
        model.other = nn.Buffer([1.0])
    with pytest.raises(OptionError, match="persistent"):
        nn.Buffer([1.0], persistent=1)  # type: ignore[arg-type]
