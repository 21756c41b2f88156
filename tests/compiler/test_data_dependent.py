"""Sizes that data decides, compiled: a program for each stage, made for what the stages before it have found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import GradientError, GraphError, LucidError, OptionError, ShapeError, TraceError
from lucid.graph.builder import Builder
from lucid.graph.dims import symbol
from lucid.graph.ir import Value
from lucid.graph.opdef import apply
from lucid.graph.ops.data_dependent import FOUND, FoundAttrs
from lucid.graph.ops.source import FULL, FullAttrs
from lucid.graph.trace import Tracer
from lucid.graph.types import int64
from lucid.graph.verify import verify

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


class Chosen(nn.Module):
    """Rows with a positive sum through a layer, twice; and what else data decides the size of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        rows = y[y.sum(1) > 0]
        z = self.second(rows.relu())
        better = z[z[:, 0] > z[:, 1]]
        values, inverse, counts = lucid.unique(z.round(), return_inverse=True, return_counts=True)
        return {
            "rows": rows, "better": better * 2, "sum": better.sum(), "places": lucid.nonzero(y > 0),
            "picked": y.masked_select(y > 0.5) + x[:, :3].masked_select(y > 0.5), "values": values,
            "which": inverse, "counts": counts, "ones": lucid.ones(rows.shape[0], 2),
        }  # fmt: skip


def alike(found: Any, wanted: Any) -> None:
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        assert found[name].shape == want.shape and found[name].dtype == want.dtype
        np.testing.assert_allclose(found[name].numpy(), want.numpy(), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def pair() -> tuple[Chosen, Any]:
    lucid.manual_seed(0)
    model = Chosen().eval()
    return model, lucid.compile(model, lucid.spec("N", 4))


def inputs() -> list[Array]:
    """Of several sizes, none and all of which are chosen."""
    rng = np.random.default_rng(0)
    some = [rng.standard_normal((n, 4)).astype(np.float32) for n in (5, 7, 1, 0, 7)]
    return [*some, np.zeros((3, 4), np.float32), np.repeat(some[0], 3, 0)]


def test_it_is_what_the_eager_model_gives(pair: tuple[Chosen, Any], tmp_path: Path) -> None:
    model, net = pair
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for x in inputs():
        with lucid.no_grad():
            alike(net(x), model(x))
            for name, y in loaded(x).items():
                np.testing.assert_array_equal(y.numpy(), net(x)[name].numpy())


def test_its_gradients_are_those_of_the_eager_model(pair: tuple[Chosen, Any]) -> None:
    model, net = pair
    for array in inputs()[:3]:
        found = []
        for function in (model, net):
            x = lucid.tensor(array, requires_grad=True)
            y = function(x)
            (y["sum"] + (y["rows"] ** 2).sum() + y["picked"].sum()).backward()
            found.append([x.grad, *(p.grad for p in model.parameters())])
            model.zero_grad()
        for want, have in zip(*found, strict=True):
            np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)


def test_it_says_what_it_is(pair: tuple[Chosen, Any], tmp_path: Path) -> None:
    _, net = pair
    assert "float32[found_1, 3] = Index" in str(net.graph) and "Found" in net.explain()
    net.draw(tmp_path / "net.dot")
    for told in (lambda: net.plan, lambda: net.source, lambda: net.profile(inputs()[0])):
        with pytest.raises(OptionError, match=r"data decides sizes of this model \(found_1, .*several programs"):
            told()


def test_what_is_computed_alike_has_one_size() -> None:
    x, y = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    found = lucid.compile(lambda x, y: x[x > 0] * y[x > 0])(x, y)
    np.testing.assert_array_equal(found.numpy(), x[x > 0] * y[x > 0])
    with pytest.raises(ShapeError, match=r"found_1.*found_2"):
        lucid.compile(lambda x, y: x[x > 0] * y[y > 0])(x, y)


@pytest.mark.parametrize(
    "body",
    [
        lambda x: lucid.cond(x.sum() > 0, lambda: x[x > 0].sum(), lambda: x.sum()),
        lambda x: lucid.while_loop(lambda y: y.sum() > 1, lambda y: (y[y > 0].sum().expand(3),), (x,)),
    ],
)
def test_nothing_is_found_within_a_branch_or_a_loop(body: Callable[[Any], Any]) -> None:
    with pytest.raises(TraceError, match="within a branch"):
        lucid.compile(body)(np.ones(3, np.float32))


def test_random_numbers_are_not_drawn_again_for_a_gradient() -> None:
    @lucid.compile
    def noisy(x: Any) -> Any:
        return (x * lucid.rand(3))[x > 0]

    x = lucid.tensor([1.0, -1.0, 2.0], requires_grad=True)
    y = noisy(x)
    assert y.shape == (2,)
    with pytest.raises(GradientError, match="other random numbers"):
        y.sum().backward()


def test_what_data_decides_otherwise_is_traced_for_that_too(tmp_path: Path) -> None:
    """After the first trace once for each kind of sizes, however often they come."""
    net = lucid.compile(lambda x: x[x > 0][3:] * 2, lucid.spec("N"))
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for count in (4, 2, 9, 1, 0, 3):
        x = np.concatenate([np.ones(count), -np.ones(2)]).astype(np.float32)
        np.testing.assert_array_equal(net(x).numpy(), x[x > 0][3:] * 2)
        if count >= 3:
            np.testing.assert_array_equal(loaded(x).numpy(), net(x).numpy())
        else:
            with pytest.raises(
                ShapeError, match=f"the data decides that found_1 is {count}, but .* found_1 >= 3"
            ) as told:
                loaded(x)
            assert "what was saved is one trace" in told.value.__notes__[0]
    assert "3 traces" in repr(net)


def test_a_slice_ends_where_there_is_no_more() -> None:
    """So that a file holds it for however much is found."""
    net = lucid.compile(lambda x: (x[x > 0][:3], x[x.sum(1) > 0, 1:][:2]), lucid.spec("N", 4))
    for count in (4, 0, 1, 9):
        x = RNG.standard_normal((count, 4)).astype(np.float32)
        for found, want in zip(net(x), (x[x > 0][:3], x[x.sum(1) > 0, 1:][:2]), strict=True):
            np.testing.assert_array_equal(found.numpy(), want)
    assert "1 traces" in repr(net)


def test_a_size_that_only_a_cotangent_or_a_number_has_is_found_too() -> None:
    """Whatever passes drop, something names it: what is read of a branch may be how much there is, and no more."""
    x = lucid.tensor([[1.0, -1.0, 2.0], [3.0, -2.0, 4.0]], requires_grad=True)
    first = lucid.compile(lambda x: x[x > 0][:3], lucid.spec("N", 3))
    first(x).backward(lucid.tensor([5.0, 6.0, 7.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [[5, 0, 6], [7, 0, 0]])
    signs = lucid.compile(lambda x: x[x > 0].sign(), lucid.spec("N", 3))
    signs(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[5, 0, 6], [7, 0, 0]])
    count = lucid.compile(lambda x: lucid.zeros(()) * 3 - x[x > 0].shape[0], lucid.spec("N", 3))
    assert count(x).item() == -4


def test_a_mask_that_is_an_array_leaves_one_program() -> None:
    mask = np.array([True, False, True])
    for known in (mask, mask.tolist()):
        net = lucid.compile(lambda x, known=known: x[:, known], lucid.spec(3, 3))
        assert str(net.graph.output_types[0]) == "float32[3, 2]" and net.plan
        np.testing.assert_array_equal(net(np.eye(3, dtype=np.float32)).numpy(), np.eye(3)[:, mask])


def test_a_model_of_such_sizes_is_proven(pair: tuple[Chosen, Any]) -> None:
    model, _ = pair
    x = inputs()[0]
    net = lucid.compile(model, lucid.spec("N", 4), verify=True)
    y = net(x)
    alike(y, model(x))
    y["sum"].backward()
    graph, values = net.values(x, reference=True)
    np.testing.assert_allclose(values[graph.outputs[0]], y["rows"].numpy(), rtol=1e-5)
    graph, values = net.values(x)
    np.testing.assert_array_equal(values[graph.outputs[0]], y["rows"].numpy())
    assert all(
        values[Value(name)].shape == node.outputs[0].shape for name, node in graph.nodes() if Value(name) in values
    )
    assert lucid.compare(model, net, x)


def test_what_random_numbers_do_not_find_is_proven_when_it_runs() -> None:
    """Twelve rows, of which the two that a proof tries are no example."""
    net = lucid.compile(lambda x: x[x > 0][10:], lucid.spec("N"), verify=True)
    x = lucid.tensor(np.ones(12, np.float32), requires_grad=True)
    net(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0] * 10 + [1, 1])


def test_a_step_is_one_program() -> None:
    model = nn.Linear(4, 2)
    step = lucid.compile_step(model, lambda y: y[y > 0].sum(), lucid.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(OptionError, match=r"decides sizes of this model \(found_1\), so it is not one program"):
        step(np.ones((3, 4), np.float32))


def test_what_is_captured_and_updated_may_have_such_a_size() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", lucid.zeros(()))
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Any) -> Any:
            rows = x[x.sum(1) > -10]
            self.seen.copy_(self.seen + lucid.ones(rows.shape[0]).sum())
            sums = lucid.scan(lambda total, row: (total + row, total * 2), lucid.zeros(4), rows)[1]
            return self.norm(lucid.cond(x.sum() > 0, lambda: rows * 2, lambda: rows * 3)) + sums

    model = Counting()
    twin = copy.deepcopy(model)
    net = lucid.compile(model)
    for count in (4, 5):
        x = np.random.default_rng(count).standard_normal((count, 4)).astype(np.float32)
        for y in (net(x), twin(lucid.tensor(x))):
            (y**3).sum().backward()
    for (name, have), want in zip(model.named_parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(have.grad.numpy(), want.grad.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)
    for have, want in zip(model.buffers(), twin.buffers(), strict=True):
        np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-5)


def test_many_threads_find_sizes_of_their_own(pair: tuple[Chosen, Any]) -> None:
    model, net = pair
    given = inputs()

    def work(number: int) -> None:
        with lucid.no_grad():
            for x in given[number:] + given[:number]:
                alike(net(x), model(x))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))


@pytest.mark.parametrize(
    ("count", "words"),
    [(-2, "at least 0, got -2"), (9, "there are no 9 rows"), (2**62, r"cannot be \(4611686018427387904,\)")],
)
def test_a_graph_cannot_ask_for_more_than_there_is(count: int, words: str) -> None:
    tracer = Tracer(Builder())
    x, number = tracer.input(lucid.spec(5), "x"), tracer.input(lucid.spec(dtype="int64"), "n")
    y = apply(FOUND, FoundAttrs(symbol("k")), x, number)
    net = lucid.compile(tracer.builder.finish([y.value]))
    assert net(np.ones(5, np.float32), np.asarray(3)).shape == (3,)
    with pytest.raises(LucidError, match=words):
        net(np.ones(5, np.float32), np.asarray(count))


def test_a_size_has_one_number_which_does_not_depend_on_it() -> None:
    size = FoundAttrs(symbol("k"))
    tracer = Tracer(Builder())
    x, one, other = (tracer.input(type_, "x") for type_ in (lucid.spec(5), *[lucid.spec(dtype="int64")] * 2))
    ys = [apply(FOUND, size, x, number) for number in (one, other)]
    with pytest.raises(GraphError, match="the size 'k' is found by x_1 already"):
        verify(tracer.builder.finish([y.value for y in ys]))
    tracer = Tracer(Builder())
    x = tracer.input(lucid.spec(5), "x")
    y = apply(FOUND, size, x, apply(FULL, FullAttrs((), int64, symbol("k")), like=x))
    with pytest.raises(GraphError, match="the sizes k, which data decides, depend on each other"):
        verify(tracer.builder.finish([y.value]))


def _grown(x: Any, v: Any, at: Any) -> None:
    x[x > 0] += 1


def _squared(x: Any, v: Any, at: Any) -> None:
    x[x > 0] = x[x > 0] ** 2
    x[(x > 1) & (x < 2)] *= v[:1]


def _of_rows(x: Any, v: Any, at: Any) -> None:
    rows = x[:, 0] > 0
    x[rows] = v
    x[:, x[1] > 0] -= 1


def _at_numbers(x: Any, v: Any, at: Any) -> None:
    x[at, 1] = v[:3]
    x[at] = x[at] + 1


def _nothing(x: Any, v: Any, at: Any) -> None:
    x[x > 99] += 1


@pytest.mark.parametrize("change", [_grown, _squared, _of_rows, _at_numbers, _nothing])
@pytest.mark.parametrize("rows", [6, "N"])
def test_what_data_chooses_is_assigned_to(change: Callable[..., None], rows: Any) -> None:
    def changed(x: Any, v: Any, at: Any) -> Any:
        y = x * 1.0
        change(y, v, at)
        return y

    net = lucid.compile(changed, lucid.spec(rows, 5), lucid.spec(5), lucid.spec(3, dtype="int64"))
    for _ in range(2):
        x, v = RNG.standard_normal((6, 5)).astype("f"), RNG.standard_normal(5).astype("f")
        results, gradients = [], []
        for function in (changed, net):
            given = [lucid.tensor(one, requires_grad=True) for one in (x, v)]
            y = function(*given, lucid.tensor([-1, 2, 0]))
            (y * y).sum().backward()
            results.append(y.numpy())
            gradients.append([one.grad.numpy() for one in given if one.grad is not None])
        np.testing.assert_array_equal(*results)
        assert len(gradients[0]) == len(gradients[1])
        for mine, wanted in zip(*gradients, strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=1e-5)


def test_what_is_assigned_to_a_choice_is_as_much_as_that() -> None:
    def put(x: Any, v: Any) -> Any:
        y = x * 1.0
        y[y > 0] = v
        return y

    with pytest.raises(ShapeError, match=r"float32\[3\] does not fit \(found_1,\)"):
        lucid.compile(put)(lucid.ones(4), lucid.ones(3))


def test_nothing_is_decided_on_such_a_size() -> None:
    with pytest.raises(TraceError, match=r"the size found_1 depends on data.*Keep to arithmetic"):
        lucid.compile(lambda x: x if x[x > 0].shape[0] > 1 else -x)(np.ones(3, np.float32))
