"""``x += v`` and its like change the tensor, as in PyTorch and NumPy; and arguments that a compiled model changes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import DTypeError, GradientError, LucidError, OptionError, ShapeError, TraceError

X = np.arange(1.0, 7.0).reshape(2, 3)
V = np.array([2.0, 0.5, 4.0])
FLOATS = [
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow,
]  # fmt: skip
WHOLE = [operator.iand, operator.ior, operator.ixor]


def _ways(f: Callable[..., Any]) -> list[Callable[..., Any]]:
    return [f, lucid.compile(f)]


@pytest.mark.parametrize("change", FLOATS)
@pytest.mark.parametrize("value", [3.0, V, Tensor(V)], ids=["number", "array", "tensor"])
def test_an_operator_changes_what_it_stands_at(change: Any, value: Any) -> None:
    wanted = X.copy()
    change(wanted[1], np.asarray(value))

    def f(x: Any) -> Any:
        y = x * 1
        row, flat, same = y[1], y.reshape(-1), y
        row = change(row, value)
        assert same is y
        return y, row, flat

    for run in _ways(f):
        y, row, flat = run(Tensor(X))
        np.testing.assert_allclose(y.numpy(), wanted)
        np.testing.assert_allclose(row.numpy(), wanted[1])
        np.testing.assert_allclose(flat.numpy(), wanted.reshape(-1))
    t = Tensor(X)
    assert change(t, value) is t


@pytest.mark.parametrize("change", WHOLE)
def test_an_operator_on_bits(change: Any) -> None:
    whole = np.array([1, 2, 3, 4])
    for given, value in ((whole, 6), (whole, np.array([7, 0, 1, 2])), (whole > 2, whole % 2 == 1)):
        wanted = given.copy()
        change(wanted, value)

        def f(x: Any, value: Any = value) -> Any:
            y = x | x
            part = y[1:]
            y = change(y, value)
            return y, part

        for run in _ways(f):
            y, part = run(Tensor(given))
            np.testing.assert_array_equal(y.numpy(), wanted)
            np.testing.assert_array_equal(part.numpy(), wanted[1:])


def test_a_matrix_product_makes_a_new_tensor_as_in_pytorch() -> None:
    x = y = Tensor(np.eye(3)[:2])
    x @= Tensor(np.eye(3) * 2)
    assert x is not y and y.tolist() == np.eye(3)[:2].tolist()


@pytest.mark.parametrize(
    ("given", "change", "error"),
    [
        (lambda: Tensor([1, 2]), lambda t: operator.iadd(t, 1.5), DTypeError),
        (lambda: Tensor([1, 2]), lambda t: operator.itruediv(t, 2), DTypeError),
        (lambda: Tensor([True]), lambda t: operator.iadd(t, 1), DTypeError),
        (lambda: Tensor(V), lambda t: operator.iadd(t, X), ShapeError),
        (lambda: Tensor(V).expand(2, 3), lambda t: operator.iadd(t, 1), OptionError),
        (lambda: Tensor(V).expand(2, 3).t(), lambda t: operator.imul(t, 2), OptionError),
    ],
)
def test_what_pytorch_refuses_is_refused(given: Any, change: Any, error: type[LucidError]) -> None:
    with pytest.raises(error):
        change(given())

    compiled = lucid.compile(change)
    if error is not OptionError:
        with pytest.raises(error):
            compiled(given())
    with pytest.raises(TypeError):
        operator.iadd(Tensor(V), object())


def test_what_was_expanded_is_not_written_to_in_a_trace_either() -> None:
    for see in (lambda y: y.expand(2, 3), lambda y: y.expand(2, 3).t(), lambda y: y.expand(2, 3)[:, 1:]):
        with pytest.raises(OptionError, match="clone"):
            lucid.compile(lambda x, see=see: see(x * 1).add_(1))(Tensor(V))


def test_a_leaf_is_changed_within_no_grad_alone() -> None:
    p = nn.Parameter(X)
    for change in FLOATS:
        with pytest.raises(GradientError, match="no_grad"):
            change(p, 1.0)
        with pytest.raises(GradientError, match="no_grad"):
            change(p[0], 1.0)
    with lucid.no_grad():
        q, row = p, p[0]
        p += 1.0
        row *= 2.0
    assert p is q and p.is_leaf and p.requires_grad
    np.testing.assert_array_equal(p.detach().numpy(), (X + 1) * [[2], [1]])


def test_gradients_of_operators_in_place() -> None:
    def f(x: Any, v: Any) -> Any:
        y = x * 2
        y += v
        y[0] *= v
        row = y[1]
        row -= 1
        y /= 2
        return (y * row).sum()

    def plain(x: Any, v: Any) -> Any:
        y = x * 2 + v
        y = lucid.stack([y[0] * v, y[1] - 1]) / 2
        return (y * y[1]).sum()

    wanted = [Tensor(X, requires_grad=True), Tensor(V, requires_grad=True)]
    plain(*wanted).backward()
    for run in _ways(f):
        got = [Tensor(X, requires_grad=True), Tensor(V, requires_grad=True)]
        run(*got).backward()
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy())  # type: ignore[union-attr]


# ---------------------------------------------------------------- arguments of a compiled model


def _grown(x: Any) -> Any:
    x += 1
    return x * 2


def _row_cleared(x: Any) -> Any:
    row = x[0]
    row.zero_()
    return x, x.sum()


def _past_the_history(x: Any) -> Any:
    with lucid.no_grad():
        x.detach()[1] *= 3
    return x * x


@pytest.mark.parametrize("specs", [(), (lucid.spec("N", 3, dtype="float64"),)])
@pytest.mark.parametrize("f", [_grown, _row_cleared, _past_the_history])
def test_the_callers_tensor_is_changed(f: Any, specs: Any) -> None:
    eager, compiled, array = Tensor(X), Tensor(X), X.copy()
    view, net = compiled[1:], lucid.compile(f, *specs)
    for _ in range(2):
        wanted, got = f(eager), net(compiled)
        net(array)
        for a, b in zip(*((y if isinstance(y, tuple) else (y,)) for y in (wanted, got)), strict=True):
            np.testing.assert_array_equal(b.numpy(), a.numpy())
        np.testing.assert_array_equal(compiled.numpy(), eager.numpy())
        np.testing.assert_array_equal(array, eager.numpy())
        np.testing.assert_array_equal(view.numpy(), eager.numpy()[1:])
    if isinstance(wanted, tuple):
        assert got[0] is compiled


@pytest.mark.parametrize("f", [_grown, _row_cleared, _past_the_history, lambda x: x.mul_(x.exp())])
@pytest.mark.parametrize("part", [lambda h: h, lambda h: h[1:], lambda h: h.t().t()])
def test_and_goes_on_with_the_history_of_the_change(f: Any, part: Any) -> None:
    slopes = []
    for run in _ways(f):
        x = Tensor(np.concatenate([X, X]) / 3, requires_grad=True)
        h = x * 2
        result = run(part(h))
        result = result if isinstance(result, tuple) else (result,)
        (h.sum() * 3 + sum(((y * y).sum() for y in result), start=Tensor(0.0))).backward()
        assert x.grad is not None
        slopes.append(x.grad.numpy())
    np.testing.assert_allclose(slopes[1], slopes[0])


def test_a_leaf_that_is_an_argument_is_refused_as_in_eager_code() -> None:
    for run in _ways(_grown):
        leaf = Tensor(X, requires_grad=True)
        with pytest.raises(GradientError, match="no_grad"):
            run(leaf)
        np.testing.assert_array_equal(leaf.detach().numpy(), X)
        with lucid.no_grad():
            run(leaf)
        np.testing.assert_array_equal(leaf.detach().numpy(), X + 1)
    for run in _ways(_past_the_history):
        leaf = Tensor(X, requires_grad=True)
        run(leaf).sum().backward()
        np.testing.assert_array_equal(leaf.grad.numpy(), 2 * X * [[1], [3]])  # type: ignore[union-attr]


def test_arguments_with_memory_in_common_are_noticed() -> None:
    def f(x: Any, y: Any) -> Any:
        x += 1
        return x * y

    net, whole = lucid.compile(f), Tensor(X)
    for x, y in ((whole, whole), (whole[0], whole), (whole, whole[:1]), (whole[0], whole[0, 1:2])):
        with pytest.raises(OptionError, match="in common"):
            net(x, y)
    np.testing.assert_array_equal(whole.numpy(), X)
    got = net(whole[0], whole[1])
    np.testing.assert_array_equal(got.numpy(), (X[0] + 1) * X[1])
    np.testing.assert_array_equal(whole.numpy(), X + np.array([[1], [0]]))


def test_an_argument_that_the_model_holds_is_noticed() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", Tensor(X))

        def forward(self, x: Any) -> Any:
            x += 1
            return x * self.b

    model = Model()
    net = lucid.compile(model)
    with pytest.raises(OptionError, match="in common"):
        net(model.b[0])
    np.testing.assert_array_equal(net(Tensor(X)).numpy(), (X + 1) * X)


def test_read_only_arguments_are_refused() -> None:
    fixed = X.copy()
    fixed.flags.writeable = False
    net = lucid.compile(_grown)
    for given in (fixed, Tensor(V).expand(2, 3)):
        with pytest.raises(OptionError, match="read-only"):
            net(given)
    half = X.astype(np.float16)
    with pytest.raises(OptionError, match="read-only"):
        net(half)


def test_a_module_computes_with_copies_of_arrays() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> Any:
            x += 1
            return x * 2

    for run in (Model(), lucid.compile(Model())):
        array, tensor = X.copy(), Tensor(X)
        np.testing.assert_array_equal(run(array).numpy(), run(tensor).numpy())
        np.testing.assert_array_equal(array, X)
        np.testing.assert_array_equal(tensor.numpy(), X + 1)


def test_what_lies_otherwise_than_a_view_was_taken_for_is_refused() -> None:
    def f(x: Any) -> Any:
        turned = x.t()
        flat = turned.reshape(-1)
        flat += 1
        return turned * 1

    x = Tensor(X)
    net = lucid.compile(f)
    np.testing.assert_array_equal(net(x).numpy(), X.T)  # a copy, which changes nothing
    np.testing.assert_array_equal(f(Tensor(X)).numpy(), X.T)
    with pytest.raises(OptionError, match="contiguous"):
        net(Tensor(X.T.copy()).t())  # of which it is a view


def test_a_training_step_and_a_file_refuse_it() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            x += 1
            return self.layer(x)

    model, x = Model(), Tensor(X.astype(np.float32))
    step = lucid.compile_step(model, nn.MSELoss(), lucid.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TraceError, match=r"x = x \+ 1"):
        step(x, lucid.zeros(2, 2))
    net = lucid.compile(model, lucid.spec("N", 3))
    with pytest.raises(TraceError, match=r"x = x \+ 1"):
        net.save("nowhere.lucid")
    pytest.importorskip("onnx")
    with pytest.raises(LucidError, match=r"x = x \+ 1"):
        net.export_onnx("nowhere.onnx")
