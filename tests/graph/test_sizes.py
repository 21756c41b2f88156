"""Sizes of 0 and 1, and others that a trace was not made for: compiled with a symbolic axis as the eager model says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.errors import FileError, LucidError, ShapeError
from lucid.formats import serialize
from lucid.graph.assume import Assumption, assuming, example_sizes, is_at_least, is_equal, parse_assumption
from lucid.graph.dims import parse_dim, symbol
from lucid.nn import functional as F

N, M = symbol("N"), symbol("M")

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "squeeze": lambda x: x.squeeze(),
    "squeeze(0)": lambda x: x.squeeze(0),
    "squeeze and product": lambda x: x.squeeze(0) @ lucid.eye(3),
    "roll(3, 0)": lambda x: x.roll(3, 0),
    "roll(-4, 0)": lambda x: x.roll(-4, 0),
    "roll both": lambda x: x.roll((1, 2), (0, 1)),
    "roll flat": lambda x: x.roll(5),
    "roll by half": lambda x: x.roll(x.shape[0] // 2, 0),
    "head": lambda x: x[:3],
    "tail": lambda x: x[-3:],
    "middle": lambda x: x[1:-1],
    "backwards": lambda x: x[3:0:-1],
    "every other": lambda x: x[::2],
    "first": lambda x: x[0],
    "last but one": lambda x: x[x.shape[0] - 2],
    "narrow": lambda x: x.narrow(0, x.shape[0] - 2, 1),
    "view": lambda x: x.view(x.size(0), -1),
    "view, -1 first": lambda x: x.reshape(-1, x.size(0)),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, -1)),
    "split": lambda x: x.repeat(2, 1, 1).split(x.shape[0]),
    "chunk": lambda x: x.repeat(2, 1, 1).chunk(2),
    "argmax": lambda x: x.argmax(0),
    "max": lambda x: x.max(0),
    "amax": lambda x: x.amax((0, 1)),
    "mean": lambda x: x.mean(0),
    "var": lambda x: x.var(0),
    "std": lambda x: x.std((0, 1)),
    "softmax": lambda x: x.softmax(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "pad": lambda x: F.pad(x, (0, 0, 0, 0, -2, 0)),
    "reflect": lambda x: F.pad(x.permute(1, 2, 0), (2, 1), mode="reflect"),
    "pool": lambda x: F.max_pool2d(x.unsqueeze(0), 2, 2),
    "adaptive": lambda x: F.adaptive_max_pool2d(x.unsqueeze(1), (3, 2)),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "arange": lambda x: lucid.arange(2, x.shape[0]),
    "expand": lambda x: x[:, :1].expand(x.shape[0], 5, 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_size_of_a_symbolic_axis_gives_what_the_eager_model_gives(name: str) -> None:
    function = FUNCTIONS[name]
    net = lucid.compile(function, lucid.spec("N", 4, 3))
    rng = np.random.default_rng(0)
    for size in (2, 1, 0, 5, 3, 1, 7, 0, 4):
        x = rng.standard_normal((size, 4, 3)).astype(np.float32)
        have, want = (outcome(f, x) for f in (net, function))
        assert type(have) is type(want), f"size {size}: {have!r}, not {want!r}"
        if not isinstance(want, str):
            for a, b in zip(have, want, strict=True):
                assert a.shape == b.shape, f"size {size}"
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"size {size}")


def outcome(function: Callable[..., Any], x: np.ndarray[Any, Any]) -> Any:
    """The results, and the gradient of the first of them, or what kind of error there was."""
    leaf = Tensor(x, requires_grad=True)
    try:
        results = function(leaf)
    except LucidError:
        return "refused"
    results = list(results) if isinstance(results, tuple | list) else [results]
    if results[0].requires_grad:
        results[0].backward(np.ones(results[0].shape, np.float32))
    gradient = np.zeros(0) if leaf.grad is None else leaf.grad.numpy()
    return [*(y.numpy() for y in results), gradient]


class Scaled(nn.Module):
    """A weight that is used beside an input of any size."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(lucid.tensor([1.0, -2.0, 0.5]))
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x, self.weight)


OF_NO_SIZE: dict[str, Callable[[Any, Any], Any]] = {
    "one row": lambda x, w: x[-1] * w,
    "some rows": lambda x, w: x[:1].expand(3, 3) * w,
    "size as a number": lambda x, w: w.sum() * x.shape[0] + x[0],
    "repeated": lambda x, w: w.repeat(x.shape[0]).sum() + x[:1],
    "spread": lambda x, w: w.expand(x.shape[0], 3).mean() * x.shape[0] + x[0],
    "joined": lambda x, w: lucid.cat([x, w[None]])[-1],
    "gathered": lambda x, w: lucid.gather(x, 0, lucid.tensor([[0, 0, 0]])) * w,
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", OF_NO_SIZE)
def test_gradients_of_results_that_the_size_does_not_show_in(name: str, training: bool) -> None:
    eager, model = (Scaled(OF_NO_SIZE[name]).train(training) for _ in range(2))
    net = lucid.compile(model, lucid.spec("N", 3))
    for size in (3, 1, 4):
        found = []
        for run in (eager, net):
            x = Tensor(np.arange(size * 3.0, dtype=np.float32).reshape(size, 3), requires_grad=True)
            y = run(x)
            y.backward(np.ones(y.shape, np.float32))
            found.append((y, x.grad))
        for have, want in zip(found[1], found[0], strict=True):
            np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-6)
        np.testing.assert_allclose(model.weight.grad.numpy(), eager.weight.grad.numpy(), rtol=1e-6)


def test_one_more_trace_serves_a_size_that_is_special() -> None:
    net = lucid.compile(lambda x: x.squeeze(0), lucid.spec("N", "M"))
    for n, m in ((2, 3), (5, 1), (0, 2), (9, 9)):
        assert net(np.zeros((n, m), np.float32)).shape == (n, m)
    assert len(net._traces) == 1
    for m in (4, 1, 0):
        assert net(np.zeros((1, m), np.float32)).shape == (m,)
    assert len(net._traces) == 2  # of N = 1 and any M


def test_running_statistics_stay_where_there_is_nothing_to_learn() -> None:
    model = nn.BatchNorm1d(3)
    net = lucid.compile(model, lucid.spec("N", 3))
    net(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    before = model.running_mean.numpy().copy()
    assert net(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert np.array_equal(model.running_mean.numpy(), before) and np.isfinite(model.running_var.numpy()).all()
    with pytest.raises(ShapeError, match="more than one value"):
        net(np.zeros((1, 3), np.float32))


def test_a_plan_before_any_call_is_for_a_size_it_is_made_for() -> None:
    net = lucid.compile(lambda x: x.squeeze(0)[..., :3], lucid.spec("N", "N"))
    assert net.plan is not None
    assert dict(net._current().example_sizes()) == {"N": 3}


def test_verification_samples_a_size_it_is_made_for() -> None:
    net = lucid.compile(lambda x: x[:5].relu() + x[-5:], lucid.spec("N"), verify=True)
    assert net(np.ones(7, np.float32)).shape == (5,)
    with pytest.raises(ShapeError):
        lucid.compile(lambda x: x[:5] + x[-4:], lucid.spec("N"))


def test_a_file_refuses_sizes_that_it_is_not_for(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    lucid.compile(lambda x: x.squeeze(0) * 2, lucid.spec("N", 3)).save(path)
    loaded = lucid.load(path)
    assert loaded(np.ones((2, 3), np.float32)).shape == (2, 3)
    with pytest.raises(ShapeError, match=r"where N != 1, got N=1.*lucid\.spec"):
        loaded(np.ones((1, 3), np.float32))
    with pytest.raises(ShapeError, match="N != 1"):
        loaded.profile(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("found", [["N <> 1"], ["K != 1"], "N != 1", [1], ["N != " + "9" * 99], ["2 != 1"], [None], 3])
def test_nonsense_that_a_file_assumes_is_refused(found: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    lucid.compile(lambda x: x.squeeze(0), lucid.spec("N", 3)).save(path)
    archive = serialize.load(path)
    serialize.save(path, archive.graphs, archive.arrays, {**archive.extra, "assumptions": found})
    with pytest.raises(FileError, match="assum"):
        lucid.load(path)


# ---------------------------------------------------------------- what is asked of sizes


def test_what_follows_for_every_size_is_not_noted() -> None:
    noted: dict[Assumption, None] = {}
    with assuming(noted):
        assert is_at_least(N, 0) and is_at_least(2 * N + 3, 3) and not is_at_least(-1 - N * M, 0)
        assert not is_equal(N + 1, 0) and is_equal(N * M, M * N) and is_at_least(parse_dim("N // 2 + 1"), 1)
        assert is_at_least(5, 4) and not is_equal(3, 4)
    assert not noted


def test_what_holds_for_large_sizes_is_noted_as_a_relation_to_a_number() -> None:
    noted: dict[Assumption, None] = {}
    with assuming(noted):
        assert not is_equal(N, 1) and is_at_least(N, 3) and not is_at_least(4, N)
        assert is_at_least(4, M, likely=True)
    assert [str(one) for one in noted] == ["N != 1", "N >= 3", "-1*N < -4", "-1*M >= -4"]
    for one in noted:
        assert parse_assumption(str(one)) == one
    assert [one.holds({"N": 3, "M": 3}) for one in noted] == [True, True, False, True]


@pytest.mark.parametrize("likely", [True, False])
def test_what_is_taken_for_granted_does_not_contradict_itself(likely: bool) -> None:
    """Once a size is at most 50 it is not at least 50 too, which would leave no other; and so the other way round."""
    noted: dict[Assumption, None] = {}
    with assuming(noted):
        assert is_at_least(50, N, likely=True) and is_at_least(60, N) and not is_at_least(N, 51, likely=likely)
        assert not is_at_least(N, 50, likely=likely) and is_at_least(N, 40)
        assert is_at_least(M, 7) and is_at_least(M, 6) and not is_at_least(6, M, likely=likely)
        assert not is_at_least(7, M, likely=likely)
    sizes = [size for size in range(100) if all(one.holds({"N": size, "M": size + 20}) for one in noted)]
    assert sizes == [*range(40, 50)]


def test_without_a_trace_nothing_is_taken_for_granted() -> None:
    assert is_at_least(N, 0)
    with pytest.raises(ShapeError, match="not known of symbolic sizes"):
        is_equal(N, 1)


def test_examples_make_assumptions_true() -> None:
    noted: dict[Assumption, None] = {}
    with assuming(noted):
        is_equal(N, M), is_at_least(N, 7), is_equal(M % 2 if isinstance(M, int) else M, 8)
    sizes = example_sizes(["N", "M"], list(noted))
    assert all(one.holds(sizes) for one in noted)
