"""Programs as users write them: compiled, each gives what it gives eagerly, or one error that says what to do."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, models, nn
from lucid.errors import GradientError, OptionError, ShapeError, TraceError
from lucid.nn import functional as F
from lucid.passes.pipeline import Pass

Array = np.ndarray[Any, Any]


def array(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(have: Any, want: Any, tolerance: float = 1e-5) -> None:
    have, want = np.asarray(have), np.asarray(want)
    assert have.dtype == want.dtype
    np.testing.assert_allclose(have, want, rtol=0, atol=tolerance * max(1.0, float(np.abs(want).max(initial=0))))


def trains_alike(model: nn.Module, x: Array, *specs: Any, **options: Any) -> None:
    """Output, gradients and buffers after one step are those of the eager model, drawn with the same seed."""
    compiled = copy.deepcopy(model)
    outputs = []
    for run in (model, lucid.compile(compiled, *specs, **options)):
        lucid.manual_seed(5)
        y = run(Tensor(x))
        y.backward(array(*y.shape, seed=9, dtype=y.dtype))
        outputs.append(y)
    same(outputs[1], outputs[0])
    for (name, p), (_, q) in zip(model.named_parameters(), compiled.named_parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            same(q.grad, p.grad)
    for p, q in zip(model.buffers(), compiled.buffers(), strict=True):
        same(q, p)


class Skips(nn.Module):
    """One module called twice, and values used again later."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Any) -> Any:
        first = self.norm(self.conv(x))
        return F.relu(self.norm(self.conv(F.relu(first))) + first) + x


class Tied(nn.Module):
    """An embedding whose weight is that of the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.out.weight = self.table.weight

    def forward(self, i: Any) -> Any:
        return self.out(self.table(i))


def mixed() -> nn.Module:
    head = (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Dropout(0.3))
    tail = (nn.Conv2d(4, 4, 3, groups=2), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 3))
    return nn.Sequential(*head, *tail)


ZOO = [
    (Skips, array(2, 3, 5, 7), ("N", 3, 5, 7)),
    (Tied, np.array([[1, 2, 3], [0, 9, 9]]), ("N", "T")),
    (mixed, array(2, 3, 8, 8), ("N", 3, 8, 8)),
]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("checked", [False, True], ids=["", "verify-exact-one-thread"])
@pytest.mark.parametrize(("make", "x", "dims"), ZOO, ids=["skips", "tied", "mixed"])
def test_the_zoo(make: Any, x: Array, dims: Any, checked: bool, training: bool) -> None:
    lucid.manual_seed(0)
    options = {"verify": True, "exact": True, "threads": 1} if checked else {}
    for specs in ((), (lucid.spec(*dims, dtype=x.dtype),)):
        trains_alike(make().train(training), x, *specs, **options)


def test_verification_draws_no_random_numbers_of_the_program() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 3), nn.Dropout(0.5))
    results = []
    for verify in (False, True):
        lucid.manual_seed(1)
        results.append(lucid.compile(net, verify=verify)(array(4, 3)))
    same(results[1], results[0])


@pytest.mark.parametrize("size", [(1, 3, 16, 16), (2, 3, 17, 23), (3, 3, 32, 12)])
def test_symbolic_height_and_width(size: tuple[int, ...]) -> None:
    lucid.manual_seed(0)
    tail = (nn.AvgPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d((2, 1)), nn.Flatten(), nn.Linear(8, 3))
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2), *tail)
    net = lucid.compile(model.eval(), lucid.spec("N", 3, "H", "W"))
    same(net(array(*size)), model(Tensor(array(*size))))
    net(array(*size)).sum().backward()
    with pytest.raises(ShapeError, match="window"):
        net(array(1, 3, 4, 4))


@pytest.mark.parametrize("count", [0, 1])
def test_statistics_of_too_few_values_are_an_error_or_nothing_and_not_kept(count: int) -> None:
    """Of one value there is no variance; of none there is nothing to normalise, which PyTorch gives back."""
    for specs in ((), (lucid.spec("N", 3),)):
        norm = nn.BatchNorm1d(3)
        for run in (norm, lucid.compile(norm, *specs)):
            if count:
                with pytest.raises(ShapeError, match="more than one value per channel"):
                    run(Tensor(array(count, 3)))
            else:
                assert run(Tensor(array(0, 3))).shape == (0, 3)
        assert (norm.running_var.numpy() == 1).all() and (norm.running_mean.numpy() == 0).all()


def test_a_buffer_written_to_has_no_history() -> None:
    class Average(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", Tensor(np.zeros(3, np.float32)))

        def forward(self, x: Any) -> Any:
            self.mean.copy_(self.mean * 0.9 + x.mean(0) * 0.1)
            return x * x - self.mean

    eager, traced = Average(), Average()
    compiled = lucid.compile(traced)
    for seed in range(3):
        a, b = (Tensor(array(4, 3, seed=seed), requires_grad=True) for _ in range(2))
        for run, x in ((eager, a), (compiled, b)):
            run(x).sum().backward()
        same(b.grad, a.grad)
        same(traced.mean, eager.mean)


# ---------------------------------------------------------------- arrays that change


@pytest.mark.parametrize("training", [True, False])
def test_an_array_filled_anew_before_backward(training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).train(training)
    net = lucid.compile(model)
    x = array(4, 3)
    net(x.copy()).sum().backward()
    want = np.array(model[0].weight.grad)
    model.zero_grad()
    y = net(x)
    x[:] = 100
    y.sum().backward()
    same(model[0].weight.grad, want)


def test_a_tensor_changed_before_backward_is_an_error() -> None:
    net = lucid.compile(nn.Linear(3, 3))
    x = Tensor(array(2, 3))
    y = net(x)
    x.copy_(np.zeros((2, 3), np.float32))
    with pytest.raises(GradientError, match="in place"):
        y.sum().backward()


def test_results_belong_to_the_caller() -> None:
    weight = lucid.Parameter(Tensor(np.ones(3, np.float32)))
    net = lucid.compile(lambda x: (x.T, x[0], x, (x + 1).reshape(-1)[::2], weight, lucid.ones(2)))
    x = array(3, 4)
    with lucid.no_grad():
        want = [np.array(y.numpy()) for y in net(x)]
        for y in net(x):
            assert not np.shares_memory(y.numpy(), x)
            y.copy_(np.full(y.shape, 7, np.float32))
        for y, expected in zip(net(x), want, strict=True):
            same(y, expected)
    assert (weight.numpy() == 1).all()


def test_arrays_of_any_layout() -> None:
    net = lucid.compile(models.lenet5().eval(), lucid.spec("N", 1, 28, 28))
    x = array(2, 1, 28, 28)
    want = net(x).numpy()
    strided = np.zeros((4, 2, 56, 56), np.float32)
    strided[::2, ::2, ::2, ::2] = x
    backwards = np.array(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for given in (np.asfortranarray(x), strided[::2, ::2, ::2, ::2], backwards, unaligned):
        same(net(given), want)
        net(given).sum().backward()
    broadcast = np.broadcast_to(x[:1], (3, 1, 28, 28))
    same(net(broadcast), np.repeat(want[:1], 3, 0))


# ---------------------------------------------------------------- copies, files, nesting


def test_a_compiled_model_is_copied_with_its_model() -> None:
    net = lucid.compile(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval(), lucid.spec("N", 3), exact=True)
    x = array(4, 3)
    want = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        same(other(x), want)
        assert other.options == net.options and other.model is not net.model
        other.model[0].weight.copy_(np.zeros((2, 3), np.float32))
        assert not np.allclose(other(x).numpy(), want.numpy())
    same(net(x), want)


def test_a_model_from_a_file_inside_another(tmp_path: Path) -> None:
    lucid.compile(nn.Linear(3, 2), lucid.spec("N", 3)).save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    with pytest.raises(TraceError, match=r"loaded from a file.*test_user_programs\.py"):
        lucid.compile(lambda x: loaded(x) * 2)(array(2, 3))
    assert loaded(array(2, 3)).shape == (2, 2)
    for duplicate in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        np.testing.assert_array_equal(duplicate(array(2, 3)).numpy(), loaded(array(2, 3)).numpy())


def test_a_compiled_model_inside_another_follows_its_model() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    inner = lucid.compile(model)
    inner(array(2, 3))
    outer = lucid.compile(lambda x: inner(x) * 2)
    outer(array(4, 3)).sum().backward()
    assert model[0].weight.grad is not None
    for _ in range(2):
        model.eval()
        same(outer(array(4, 3)), 2 * model(Tensor(array(4, 3))).numpy())
        model[0].weight.copy_(array(3, 3, seed=4))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"threads": 1.5}, {"threads": True}, {"passes": [3]}, {"passes": "simplify"}]
)
def test_options_that_make_no_sense(options: Any) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        lucid.compile(nn.Linear(2, 2), **options)


def test_no_passes_at_all_and_one_of_ones_own() -> None:
    model = nn.Linear(3, 2)
    for passes in ((), [Pass("mine", lambda graph: graph)]):
        same(lucid.compile(model, passes=passes)(array(2, 3)), model(Tensor(array(2, 3))))


@pytest.mark.parametrize("given", [3.0, [1.0, 2.0], np.float32(3)])
def test_numbers_where_a_tensor_is_meant(given: Any) -> None:
    with pytest.raises(TraceError, match="pass tensors or NumPy arrays"):
        lucid.compile(lambda x: x)(given)


def test_a_tensor_of_another_library() -> None:
    class Tensor:
        """Not ours."""

    with pytest.raises(TraceError, match=r"test_user_programs\..*Tensor"):
        lucid.compile(lambda x: x)(Tensor())


# ---------------------------------------------------------------- threads


def test_training_and_inference_at_once() -> None:
    lucid.manual_seed(0)
    model = models.lenet5().eval()
    net = lucid.compile(model, lucid.spec("N", 1, 28, 28))
    x = array(4, 1, 28, 28)
    want, failures, done = np.array(net(x)), [], threading.Event()

    def infer() -> None:
        with lucid.no_grad():
            while not done.is_set():
                try:
                    same(net(x), want)
                except Exception as error:  # noqa: BLE001 - handed to the main thread
                    failures.append(error)
                    return

    threads = [threading.Thread(target=infer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            net(x).sum().backward()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
    trained = np.array(model[0].weight.grad)
    model.zero_grad()
    net(x).sum().backward()
    same(trained, 10 * model[0].weight.grad.numpy(), 1e-4)
