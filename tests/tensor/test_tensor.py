"""Eager tensors: data, history, gradients, printing, and no memory kept."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid.errors import DTypeError, GradientError, LucidError, ShapeError


def test_numpy_reads_a_tensor_without_a_list_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*_: object) -> list[str]:
        raise AssertionError("NumPy asks for names that are not there, and these are listed for it")

    monkeypatch.setattr(sys.modules[Tensor.__module__], "dir", listed, raising=False)
    t = Tensor([1.0, 2.0])
    assert np.asarray(t).tolist() == np.atleast_2d(t)[0].tolist() == [1.0, 2.0]
    with pytest.raises(AssertionError, match="listed"):
        t.summ  # noqa: B018, what is spelled alike is looked for


def test_element_types() -> None:
    assert Tensor([1.0, 2.0]).dtype == np.float32 and Tensor([1, 2]).dtype == np.int64
    assert Tensor(np.zeros(2)).dtype == np.float64 and Tensor([True]).dtype == np.bool_
    assert Tensor([1, 2], dtype="float64").dtype == np.float64
    for bad in (["a"], [object()], np.array([1j])):
        with pytest.raises(DTypeError):
            Tensor(bad)
    with pytest.raises(DTypeError, match="complex64"):
        Tensor([1], dtype="complex64")


def test_data_is_copied_in_and_read_only_out() -> None:
    source = np.ones(3, np.float32)
    t = Tensor(source)
    source[0] = 7
    assert t.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        t.numpy()[0] = 2
    writable = np.array(t)
    writable[0] = 2
    assert t.tolist() == [1.0, 1.0, 1.0] and not np.shares_memory(writable, t.numpy())
    assert np.shares_memory(np.asarray(t), t.numpy())
    assert np.asarray(t, np.float64).dtype == np.float64


def test_scalars_and_lengths() -> None:
    t = Tensor([[3.5]])
    assert t.item() == 3.5 and float(t) == 3.5 and int(t) == 3 and bool(t)
    assert [10, 20, 30][Tensor(1)] == 20
    assert len(Tensor([[1, 2], [3, 4]])) == 2 and [r.tolist() for r in Tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    with pytest.raises(ShapeError, match="one element"):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(ShapeError):
        len(Tensor(1.0))
    with pytest.raises(DTypeError, match="index"):
        [1, 2][Tensor(1.0)]


def test_operators_with_arrays_and_numbers_on_either_side() -> None:
    x, a = Tensor([1.0, 2.0]), np.array([3.0, 4.0], np.float32)
    for left, right in ((x, a), (a, x), (x, 2), (2, x), (x, 2.5), (2.5, x), (x, x)):
        for op in ("+", "-", "*", "/", "**"):
            got = eval(f"left {op} right")
            want = eval(f"np.asarray(left) {op} np.asarray(right)")
            assert isinstance(got, Tensor), (left, op, right)
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
    assert (x > 1).tolist() == [False, True] and (x == Tensor([1.0, 5.0])).tolist() == [True, False]
    assert hash(x) == hash(x) and x in {x}


def test_gradients_accumulate_and_can_be_cleared() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [4.0, 8.0] and not x.grad.requires_grad
    x.grad = None
    (x * 3).backward(Tensor([1.0, 10.0]))
    assert x.grad.tolist() == [3.0, 30.0]


def test_shared_values_and_diamonds() -> None:
    x = Tensor([2.0], requires_grad=True)
    y = x * x
    z = y * y + y * x + x
    z.backward()
    assert x.grad.tolist() == [4 * 8 + 3 * 4 + 1.0]
    z.backward()  # the history stays until the result is dropped
    assert x.grad.tolist() == [2 * 45.0]


def test_what_requires_a_gradient() -> None:
    x, c = Tensor([1.0], requires_grad=True), Tensor([1.0])
    assert (x + c).requires_grad and not (c + c).requires_grad and not (x > 0).requires_grad
    assert not x.detach().requires_grad and np.shares_memory(x.detach().numpy(), x.numpy())
    with lucid.no_grad():
        assert not (x * 2).requires_grad and not lucid.is_grad_enabled()
    assert lucid.is_grad_enabled()

    @lucid.no_grad()
    def frozen(t: Tensor) -> Tensor:
        return t * 2

    assert not frozen(x).requires_grad and not frozen(x).requires_grad
    with pytest.raises(GradientError, match="floating-point"):
        Tensor([1], requires_grad=True)


def test_what_backward_refuses() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError, match="scalar"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        (x * 2).backward(Tensor([1.0, 1.0, 1.0]))
    with pytest.raises(GradientError, match="does not depend"):
        Tensor([1.0]).backward()
    assert x.grad is None


def test_a_value_changed_in_place_is_noticed() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.copy_([5.0, 5.0])
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()
    with pytest.raises(ShapeError):
        x.copy_([1.0, 2.0, 3.0])


def test_printing() -> None:
    assert repr(Tensor([[[[4.0]]]], requires_grad=True)) == "Tensor([[[[4.0]]]], grad=None)"
    assert str(Tensor([1, 2])) == "Tensor([1, 2])" and str(Tensor(2.5)) == "Tensor(2.5)"
    assert str(Tensor([[[[0.0, 0.0], [0.0, 1.0]]]])) == "Tensor([[\n    [[0.0, 0.0],\n     [0.0, 1.0]]\n]])"
    x = Tensor([2.0], requires_grad=True)
    (x * x).backward()
    assert repr(x) == "Tensor([2.0], grad=Tensor([4.0]))"
    assert str(Tensor([0.1, float("nan"), float("inf")])) == "Tensor([0.1, nan, inf])"
    assert str(Tensor([True])) == "Tensor([True])" and str(Tensor(np.zeros((0, 3)))) == "Tensor([])"
    long = str(Tensor(np.arange(5000.0)))
    assert "..." in long and len(long) < 200
    assert len(str(Tensor(np.zeros((50, 50, 50, 50))))) < 20000


def test_copies_and_pickles_are_leaves_of_their_own() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == x.tolist() and twin.requires_grad
        twin.copy_([9.0, 9.0])
        assert x.tolist() == [1.0, 2.0]


def test_nothing_is_kept_once_a_result_is_dropped() -> None:
    gc.collect()
    gc.disable()  # reference counts alone must free it: there are no cycles
    try:
        x = Tensor(np.ones((100, 100)), requires_grad=True)
        y = x
        refs = []
        for _ in range(20):
            y = (y * 1.5).tanh()
            refs.append(weakref.ref(y))
        y.sum().backward()
        del y
        assert all(ref() is None for ref in refs)
    finally:
        gc.enable()


def test_memory_does_not_grow_over_training_steps() -> None:
    w = Tensor(np.ones((50, 50), np.float32), requires_grad=True)

    def step() -> None:
        w.grad = None
        ((w @ w).tanh() ** 2).sum().backward()

    def traced(steps: int) -> int:
        for _ in range(steps):
            step()
        gc.collect()  # networkx graphs hold themselves through their views
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = traced(60)  # until the caches are full, or nearly so
        assert traced(400) - first < 400 * 20  # an object that stays takes more than 50 bytes a step
    finally:
        tracemalloc.stop()


def test_a_deep_history_needs_no_recursion() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20 * sys.getrecursionlimit()):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y


def test_an_error_leaves_nothing_behind() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(LucidError):
        x + Tensor([1.0, 2.0, 3.0])
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_minus_one_beside_a_size_of_0_is_refused_as_in_pytorch() -> None:
    empty, some = lucid.zeros(0, 3, 4), lucid.zeros(3, 0)
    for call in (
        lambda: empty.reshape(0, -1),
        lambda: empty.view(empty.size(0), -1),
        lambda: empty.reshape(-1, 0),
        lambda: some.reshape(3, 0, -1),
        lambda: lucid.zeros(0, 4).unflatten(0, (0, -1)),
        lambda: lucid.nn.Unflatten(1, (-1, 0))(some),
    ):
        with pytest.raises(ShapeError, match=r"beside a size of 0 the -1 in .* could be any size"):
            call()
    assert empty.reshape(-1, 12).shape == empty.flatten(1).shape == (0, 12)
    assert some.reshape(3, -1).shape == (3, 0)
    assert empty.reshape(-1).shape == (0,)
    assert lucid.zeros(0, 4).unflatten(1, (2, -1)).shape == (0, 2, 2)
    assert some.unflatten(1, (-1, 3)).shape == (3, 0, 3)
    assert some.unflatten(1, (0, 2)).shape == (3, 0, 2)


def test_minus_one_beside_a_symbolic_size_is_refused_for_a_size_of_0() -> None:
    net = lucid.compile(lambda x: x.reshape(x.shape[0], -1), lucid.spec("N", 3, 4))
    assert net(lucid.zeros(2, 3, 4)).shape == (2, 12)
    with pytest.raises(ShapeError, match="beside a size of 0"):
        net(lucid.zeros(0, 3, 4))
