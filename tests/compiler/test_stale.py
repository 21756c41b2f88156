"""A compiled model never answers from a stale trace: each of these programs gives the eager answer."""

from __future__ import annotations

import codecs
import contextlib
import gc
import importlib
import operator
import subprocess
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import ShapeError, TraceError
from lucid.nn import functional as F

ROOT = Path(__file__).parents[2]


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def same(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


def test_a_scalar_argument_changes() -> None:
    f = lucid.compile(lambda x, k: x * k)
    x = Tensor(array(3))
    for k in (2, 3, 2.5, True, 2.0, -0.0, 0.0):
        same(f(x, k), x * k)
    assert np.signbit(f(Tensor([1.0]), -0.0).numpy()[0])
    assert f(Tensor([3]), 2).dtype == np.int64 and f(Tensor([3]), 2.0).dtype == np.float32


def test_a_list_and_a_dict_of_inputs() -> None:
    f = lucid.compile(lambda xs, named: xs[0] - xs[1] + named["w"])
    a, b, w = Tensor(array(3)), Tensor(array(3, seed=1)), Tensor(array(3, seed=2))
    same(f([a, b], {"w": w}), a - b + w)
    same(f([b, a], {"w": a}), b - a + a)
    same(lucid.compile(lambda xs: lucid.concat(xs))([a, b, w]), lucid.concat([a, b, w]))


def test_keyword_arguments_in_another_order() -> None:
    f = lucid.compile(lambda *, a, b: a - 2 * b)
    a, b = Tensor(array(3)), Tensor(array(3, seed=1))
    same(f(a=a, b=b), a - 2 * b)
    same(f(b=b, a=a), a - 2 * b)
    same(f(b=a, a=b), b - 2 * a)


def test_one_tensor_twice_then_two() -> None:
    f = lucid.compile(lambda x, y: x * 2 + y * 3)
    a, b = Tensor(array(3)), Tensor(array(3, seed=1))
    same(f(a, a), a * 5)
    same(f(a, b), a * 2 + b * 3)
    leaf = Tensor(array(3), requires_grad=True)
    f(leaf, leaf).sum().backward()
    assert leaf.grad is not None
    same(leaf.grad, np.full(3, 5.0))


def test_an_index_is_not_baked_in() -> None:
    f = lucid.compile(lambda x, i: x[i])
    x = Tensor(array(4, 5))
    for i in (0, 1, -1, slice(1, 3), slice(None, None, 2), (slice(None), 2), None, Ellipsis):
        same(f(x, i), x[i])
    pick = lucid.compile(lambda x, rows: x[rows])
    for rows in ([0, 1], [3, 3], [1, 0]):
        same(pick(x, Tensor(np.array(rows))), x.numpy()[rows])


def test_random_numbers_are_drawn_anew_and_as_eager_draws_them() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    x = Tensor(np.ones((64, 8), np.float32))
    compiled = lucid.compile(net)
    lucid.manual_seed(7)
    first, second = compiled(x).numpy(), compiled(x).numpy()
    assert (first == 0).any() and not np.array_equal(first == 0, second == 0)
    lucid.manual_seed(7)
    same(net(x), first)
    same(net(x), second)


def test_dropout_keeps_its_mask_for_the_gradient() -> None:
    drop = lucid.compile(nn.Dropout(0.5))
    x = Tensor(np.ones((4, 50), np.float32), requires_grad=True)
    y = drop(x)
    y.sum().backward()
    assert x.grad is not None
    same(x.grad, y)


def test_functional_dropout_in_evaluation_keeps_its_mask_too() -> None:
    f = lucid.compile(lambda x: F.dropout(x * 1.0, 0.5, training=True))
    x = Tensor(np.ones((4, 50), np.float32), requires_grad=True)
    y = f(x)
    y.sum().backward()
    same(x.grad, y)


def test_batch_norm_statistics_are_updated_once_a_call() -> None:
    def make() -> nn.Module:
        lucid.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))

    eager, traced = make(), make()
    compiled = lucid.compile(traced)
    for step in range(3):
        x = Tensor(array(4, 2, 6, 6, seed=step))
        same(compiled(x), eager(x))
        for (name, a), (_, b) in zip(eager.named_buffers(), traced.named_buffers(), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, err_msg=f"{name} after call {step}")


def test_a_specification_alone_does_not_update_statistics() -> None:
    net = nn.BatchNorm2d(3)
    lucid.compile(net, lucid.spec("N", 3, 4, 4))
    assert (net.running_mean.numpy() == 0).all() and int(net.num_batches_tracked) == 0


def test_a_forward_pre_hook_changes_the_input() -> None:
    net = nn.Linear(3, 2)
    compiled = lucid.compile(net)
    x = Tensor(array(4, 3))
    same(compiled(x), net(x))
    handle = net.register_forward_pre_hook(lambda module, args: (args[0] * 10,))
    same(compiled(x), net(x))
    handle.remove()
    same(compiled(x), net(x))


def test_a_replaced_and_an_updated_parameter() -> None:
    net = nn.Linear(3, 2)
    compiled = lucid.compile(net)
    x = Tensor(array(4, 3))
    same(compiled(x), net(x))
    net.weight = nn.Parameter(array(2, 3, seed=5))
    same(compiled(x), net(x))
    net.weight.data = array(2, 3, seed=6)
    same(compiled(x), net(x))
    net.load_state_dict({"weight": array(2, 3, seed=7), "bias": array(2, seed=8)})
    same(compiled(x), net(x))
    with pytest.raises(ValueError, match="read-only"):
        net.weight.numpy()[0, 0] = 3.0
    net.double()
    same(compiled(Tensor(array(4, 3), dtype="float64")), net(Tensor(array(4, 3), dtype="float64")))


def test_mode_attributes_and_replaced_children() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.scale = 2.0
            self.steps = [1.0, 2.0]
            self.table = np.ones(3, np.float32)

        def forward(self, x: Any) -> Any:
            y = self.inner(x) * self.scale + self.table
            for step in self.steps:
                y = y + step
            return y if self.training else -y

    net = Net()
    compiled = lucid.compile(net)
    x = Tensor(array(2, 3))
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: net.eval(),
        lambda: net.train(),
        lambda: setattr(net, "scale", 3.0),
        lambda: net.steps.append(5.0),
        lambda: net.steps.__setitem__(0, -7.0),
        lambda: net.table.__setitem__(1, 9.0),
        lambda: setattr(net, "inner", nn.Linear(3, 3)),
    ]
    for change in changes:
        change()
        same(compiled(x), net(x))


def test_closures_defaults_and_models_inside_functions() -> None:
    net, factor = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9)), [2.0]
    f = lucid.compile(lambda x: net(x) * factor[0])
    x = Tensor(array(2, 3))
    net.eval()
    same(f(x), net(x) * 2.0)
    factor[0] = 3.0
    same(f(x), net(x) * 3.0)
    net[0].weight.data = array(3, 3, seed=4)
    same(f(x), net(x) * 3.0)
    net[0].weight = nn.Parameter(array(3, 3, seed=5))
    same(f(x), net(x) * 3.0)
    net.train()
    assert (f(x).numpy() == 0).any()


def test_outputs_can_be_differentiated() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = array(5, 3)
    for mode in (True, False):
        net.train(mode)
        results = []
        for run in (net, lucid.compile(net)):
            net.zero_grad()
            leaf = Tensor(x, requires_grad=True)
            (run(leaf) ** 2).sum().backward()
            results.append([leaf.grad, *(p.grad for p in net.parameters())])
        for eager, compiled in zip(*results, strict=True):
            same(eager, compiled)


def test_skip_connections_have_the_right_gradient() -> None:
    w = nn.Parameter(array(3))

    def f(x1: Any, x2: Any) -> Any:
        return (x2 * w + x1) + x1

    a, b = Tensor(array(3), requires_grad=True), Tensor(array(3, seed=1), requires_grad=True)
    lucid.compile(f)(a, b).sum().backward()
    same(a.grad, np.full(3, 2.0))
    same(b.grad, w)
    same(w.grad, b)


def test_no_intermediate_of_the_trace_stays_alive() -> None:
    seen: list[weakref.ref[Any]] = []

    def f(x: Any) -> Any:
        for _ in range(10):
            x = x.tanh() + 1
            seen.append(weakref.ref(x))
        return x

    compiled = lucid.compile(f)
    compiled(Tensor(array(3)))
    gc.collect()
    assert len(seen) == 10 and all(ref() is None for ref in seen)


def test_a_python_counter_in_forward_counts() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x * self.calls

    net = Counting()
    compiled = lucid.compile(net)
    x = Tensor([1.0])
    assert [float(compiled(x)) for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]


def test_a_new_shape_dtype_or_rank() -> None:
    f = lucid.compile(lambda x: (x - x.mean()).sum(0))
    for x in (array(3, 4), array(5, 4), array(3, 4).astype(np.float64), array(2, 3, 4), array(0, 4)):
        y = f(x)
        assert y.dtype == x.dtype
        with np.errstate(all="ignore"):
            same(y, (x - (x.mean() if x.size else np.nan)).sum(0))


def test_symbolic_sizes_in_arithmetic() -> None:
    f = lucid.compile(lambda x: x.view(x.size(0), -1).sum(1) / x.size(0), lucid.spec("N", 2, 3))
    for n in (1, 2, 7):
        x = array(n, 2, 3)
        same(f(x), x.reshape(n, 6).sum(1) / n)
    with pytest.raises(ShapeError, match="beside a size of 0"):
        f(array(0, 2, 3))


def _counter() -> tuple[Callable[[float], float], Callable[[float], None]]:
    """A function, and what changes the variable that it closes over."""
    scale = 2.0

    def times(x: float) -> float:
        return x * scale

    def change(value: float) -> None:
        nonlocal scale
        scale = value

    return times, change


class _Given(float):
    def to(self, function: Callable[[float], float]) -> float:
        return function(self)


@contextlib.contextmanager
def _frozen(frozen: bool) -> Iterator[None]:
    """What there is now is out of the collector's sight, or is not."""
    if frozen:
        gc.freeze()
    yield
    gc.unfreeze()


def out_of_sight(hide: str, frozen: bool) -> None:
    """In what compiled code holds, where a function of the same code is in plain sight; or in a library's module."""
    (hidden, change), (seen, _) = _counter(), _counter()
    ufunc, caller = np.frompyfunc(hidden, 1, 1), operator.methodcaller("to", hidden)
    name = ".".join(("numpy", "is_not_this"))
    module = sys.modules[name] = types.ModuleType(name)
    module.times = hidden  # type: ignore[attr-defined]
    ways: dict[str, Callable[[Any], Any]] = {
        "ufunc": lambda x: x * seen(1.0) * float(ufunc(3.0)),
        "methodcaller": lambda x: x * seen(1.0) * caller(_Given(3.0)),
        "module": lambda x: x * vars(importlib.import_module(name))["times"](3.0),
    }
    f = ways[hide]
    with _frozen(frozen):
        compiled, x = lucid.compile(f), Tensor([1.0])
        same(compiled(x), f(x))
        change(5.0)
        same(compiled(x), f(x))
    del sys.modules[name]


def does_not_say(frozen: bool) -> None:
    """What has no class that it would tell of, as a C library's global variables, which modules of others hold."""

    class Silent:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise AttributeError("unknown C global variable '__class__'")

    held = {"silent": Silent(), "factor": 2.0}
    with _frozen(frozen):
        compiled, x = lucid.compile(lambda x: x * held["factor"] * (held["silent"] is not None)), Tensor([1.0])
        assert compiled(x).item() == 2.0
        held["factor"] = 3.0
        assert compiled(x).item() == 3.0


def nobody_can_see() -> None:
    hidden, change = _counter()
    codecs.register_error("times", lambda error: (str(hidden(3.0)), 1))
    compiled = lucid.compile(lambda x: x * float("\N{DEGREE SIGN}".encode("ascii", "times")))
    with _frozen(True), pytest.raises(TraceError, match=r"test_stale.py:\d+\) cannot be found after gc.freeze\(\)"):
        compiled(Tensor([1.0]))
    assert compiled(Tensor([1.0])).item() == 6.0
    change(5.0)
    assert compiled(Tensor([1.0])).item() == 15.0


HIDDEN = [f"out_of_sight({hide!r}, {{}})" for hide in ("ufunc", "methodcaller", "module")] + ["does_not_say({})"]


@pytest.mark.parametrize("program", HIDDEN)
def test_a_closure_that_is_out_of_sight(program: str) -> None:
    exec(program.format(False))


def test_what_is_frozen_is_looked_for() -> None:
    """Among all that there is, of which there is little in an interpreter of its own."""
    programs = [*(one.format(True) for one in HIDDEN), "nobody_can_see()"]
    script = "; ".join(["from tests.compiler import test_stale as t", *(f"t.{program}" for program in programs)])
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
