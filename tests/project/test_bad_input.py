"""What cannot be compiled, or called, is one clear error that names the place and the way out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import DTypeError, ExecutionError, LucidError, OptionError, ShapeError, TraceError
from lucid.graph.trace import active_trace
from lucid.nn import functional as F

X = np.ones((2, 3), np.float32)


def branch(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def to_float(x: Any) -> Any:
    return x * float(x.mean())


def to_array(x: Any) -> Any:
    return x + np.asarray(x)


def to_item(x: Any) -> Any:
    return x * x.max().item()


def calls_backward(x: Any) -> Any:
    (x * x).sum().backward()
    return x


@pytest.mark.parametrize("function", [branch, to_float, to_array, to_item, calls_backward])
def test_a_value_cannot_leave_the_trace(function: Any) -> None:
    with pytest.raises(TraceError, match=r"test_bad_input\.py:\d+"):
        lucid.compile(function)(X)
    assert active_trace.get() is None  # the next call is not recorded by accident
    assert isinstance(Tensor(X) + 1, Tensor)


def test_reading_a_parameter_value_while_traced() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.fc(x) * float(self.fc.bias.sum())

    with pytest.raises(TraceError, match="value"):
        lucid.compile(Net())(X)


def test_symbolic_sizes_cannot_be_decided_on() -> None:
    def loop(x: Any) -> Any:
        return sum(x[i] for i in range(x.size(0)))

    for function in (loop, lambda x: x if x.size(0) > 1 else -x, lambda x: next(iter(x))):
        with pytest.raises(TraceError, match=r"symbolic.*test_bad_input\.py"):
            lucid.compile(function, lucid.spec("N", 3))
    np.testing.assert_allclose(lucid.compile(loop)(X).numpy(), X.sum(0))  # with a fixed size it is a plain loop


def test_a_traced_value_cannot_be_stored_on_a_module() -> None:
    class Keeps(nn.Module):
        def forward(self, x: Any) -> Any:
            self.last = x
            return x + 1

    with pytest.raises(TraceError, match=r"Keeps\.last"):
        lucid.compile(Keeps())(X)


def test_a_function_without_tensors_as_result() -> None:
    with pytest.raises(TraceError, match="no tensor"):
        lucid.compile(lambda x: 3)(X)


def test_calls_that_do_not_fit_the_spec() -> None:
    net = lucid.compile(nn.Linear(3, 2), lucid.spec("N", 3))
    for bad, error in (
        (np.ones((2, 4), np.float32), ShapeError),
        (np.ones(3, np.float32), ShapeError),
        (np.ones((2, 3, 1), np.float32), ShapeError),
        (X.astype(np.float64), DTypeError),
        (X.astype(np.int64), DTypeError),
    ):
        with pytest.raises(error, match=r"compiled for float32\[N, 3\]"):
            net(bad)
    with pytest.raises(OptionError, match="positional inputs"):
        net(X, X)
    assert net(X).shape == (2, 2)
    two = lucid.compile(lambda a, b: a + b, lucid.spec("N", 3), lucid.spec("N", 3))
    with pytest.raises(ShapeError, match="N=2"):
        two(X, np.ones((5, 3), np.float32))


def test_a_model_that_cannot_take_its_input() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(x)

    with pytest.raises(ShapeError, match="in_features") as caught:
        lucid.compile(Net())(X)
    assert any("fc" in note and "test_bad_input.py" in note for note in caught.value.__notes__)


def test_arguments_that_could_change_unnoticed() -> None:
    class Config:
        scale = 2.0

    with pytest.raises(TraceError, match="Config"):
        lucid.compile(lambda x, c: x * c.scale)(X, Config())


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match=r"lucid\.spec"):
        lucid.compile(nn.Linear(3, 2), (2, 3))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="int"):
        lucid.compile(3)  # type: ignore[arg-type]
    with pytest.raises(LucidError, match=r"got 'net.onnx' \(str\); lucid.load opens a .lucid file"):
        lucid.compile("net.onnx")  # type: ignore[arg-type]
    with pytest.raises(LucidError, match="spec"):
        _ = lucid.compile(nn.Linear(3, 2)).graph


def test_a_failing_step_is_named() -> None:
    table = nn.Embedding(5, 2)
    net = lucid.compile(nn.Sequential(table))
    with pytest.raises(ExecutionError, match=r"0\.embedding.*Embedding"):
        net(np.array([1, 7]))
    assert net(np.array([1, 2])).shape == (2, 2)


def test_interrupts_and_errors_leave_a_compiled_model_usable() -> None:
    class Stop(BaseException):
        pass

    net = nn.Linear(3, 2)
    compiled = lucid.compile(net)

    def stop(module: Any, args: Any) -> None:
        raise Stop

    handle = net.register_forward_pre_hook(stop)
    with pytest.raises(Stop):
        compiled(X)
    handle.remove()
    assert active_trace.get() is None
    np.testing.assert_allclose(compiled(X).numpy(), net(Tensor(X)).numpy(), rtol=1e-6)


def test_a_trace_in_one_thread_does_not_record_another() -> None:
    inside, go = threading.Event(), threading.Event()

    def slow(x: Any) -> Any:
        inside.set()
        go.wait(10)
        return x * 2

    thread = threading.Thread(target=lambda: lucid.compile(slow)(X))
    thread.start()
    inside.wait(10)
    outside = Tensor(X) * 3
    go.set()
    thread.join()
    np.testing.assert_array_equal(outside.numpy(), X * 3)


class Odd:
    """An object of somebody's, whose ``repr`` fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    "call",
    [
        lambda odd: Tensor(X).chunk(odd),
        lambda odd: lucid.set_cache_limit(odd),
        lambda odd: lucid.manual_seed(odd),
        lambda odd: nn.ReLU().train(odd),
        lambda odd: nn.Sequential(nn.ReLU())[odd],
        lambda odd: nn.Conv2d(1, 1, 3, padding=odd),
        lambda odd: nn.AdaptiveAvgPool2d(odd),
        lambda odd: lucid.div(Tensor(X), 2, rounding_mode=odd),
        lambda odd: F.pad(Tensor(X), (1, 1), mode=odd),
        lambda odd: F.dropout(Tensor(X), odd),
        lambda odd: F.mse_loss(Tensor(X), Tensor(X), reduction=odd),
        lambda odd: lucid.spec(odd),
    ],
)
def test_an_object_that_cannot_be_shown_is_refused_like_others(call: Callable[[Any], Any]) -> None:
    with pytest.raises(LucidError):
        call(Odd())


def test_numbers_and_rows_that_no_tensor_holds() -> None:
    with pytest.raises(DTypeError, match="larger than any number"):
        F.pad(Tensor(X), (1, 1), value=10**400)
    y = Tensor(X, requires_grad=True) * 2
    with pytest.raises(ShapeError, match="backward: rows of different lengths"):
        y.backward([[1.0], [1.0, 2.0]])
    with pytest.raises(LucidError):
        Tensor(X)[[[1], [1, 2]]]
