"""What data decides, and loops: compiled as eagerly, only the branch that is taken runs, and a body is one graph."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DTypeError, ExecutionError, GradientError, LucidError, OptionError, ShapeError, TraceError
from lucid.formats.text import parse_text, to_text
from lucid.graph.region import regions_of, walk
from lucid.graph.types import CHANNELS_LAST

Array = np.ndarray[Any, Any]
X = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)


class Expert(nn.Module):
    """Two layers, of which one is asked."""

    def __init__(self) -> None:
        super().__init__()
        lucid.manual_seed(0)
        self.left, self.right = nn.Linear(4, 5), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x: Any) -> Any:
        return lucid.cond(x.sum() > 0, self.left, self.right, (x,)).tanh()


def both(model: Callable[..., Any], *arrays: Array, **options: Any) -> list[Array]:
    """What eager code and compiled code give, checked to be the same."""
    want = model(*map(lucid.tensor, arrays))
    got = lucid.compile(model, **options)(*arrays)
    want, got = ([y.numpy() for y in (one if isinstance(one, tuple) else (one,))] for one in (want, got))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return got


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"threads": 2}, {"verify": True}])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_branch_is_taken(options: dict[str, Any], sign: int) -> None:
    both(Expert(), sign * X, **options)


def test_any_batch_size() -> None:
    model = Expert()
    net = lucid.compile(model, lucid.spec("N", 4))
    for rows in (1, 3, 0):
        for x in (X[:rows], -X[:rows]):
            np.testing.assert_allclose(net(x).numpy(), model(lucid.tensor(x)).numpy(), rtol=1e-5, atol=1e-6)


def test_gradients_reach_the_branch_that_was_taken() -> None:
    model = Expert()
    net = lucid.compile(model)
    for x in (X, -X):
        found = []
        for run in (model, net):
            for parameter in model.parameters():
                parameter.grad = None
            given = lucid.tensor(x, requires_grad=True)
            run(given).sum().backward()
            found.append([given.grad, *(parameter.grad for parameter in model.parameters())])
        for a, b in zip(*found, strict=True):
            zeros = np.zeros(()) if a is None else a.numpy()  # eager code has not met the other branch
            np.testing.assert_allclose(b.numpy(), zeros, rtol=1e-5, atol=1e-6)
    assert any(node.op.name == "If" for _, node in net.backward_graph.nodes())


def test_second_derivatives() -> None:
    def f(x: Any) -> Any:
        return lucid.cond(x.sum() > 0, lambda: (x**3).sum(), lambda: (x * x).exp().sum())

    second = lucid.grad(lambda x: lucid.grad(f)(x).sum())
    np.testing.assert_allclose(second(lucid.tensor(X)).numpy(), 6 * X, rtol=1e-5)
    y = -X / 3
    np.testing.assert_allclose(second(lucid.tensor(y)).numpy(), (2 + 4 * y**2) * np.exp(y**2), rtol=1e-5)


def test_only_the_branch_that_is_taken_runs() -> None:
    def f(x: Any, n: Any) -> Any:
        return lucid.cond((n != 0).all(), lambda: x // n, lambda: x)

    net = lucid.compile(f)
    np.testing.assert_array_equal(net(np.array([6, 9]), np.array([2, 3])).numpy(), [3, 3])
    np.testing.assert_array_equal(net(np.array([6, 9]), np.array([2, 0])).numpy(), [6, 9])


def test_an_error_names_the_line_in_the_branch() -> None:
    def f(x: Any, n: Any) -> Any:
        return lucid.cond(x.sum() > 0, lambda: x // n, lambda: x)

    with pytest.raises(ExecutionError, match=r"if > then > \w+: FloorDivide.*test_control.py:\d+.*divided by 0"):
        lucid.compile(f)(np.array([6, 9]), np.array([2, 0]))


def test_weights_are_packed_inside_as_outside() -> None:
    model = Expert()
    net = lucid.compile(model)
    net(X)
    assert "prepare" in str(net.source)
    before = net(-X).numpy()
    with lucid.no_grad():
        model.right[0].weight.mul_(2)
    after = net(-X).numpy()
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, model(lucid.tensor(-X)).numpy(), rtol=1e-5)


def test_files_text_and_pictures(tmp_path: Path) -> None:
    net = lucid.compile(Expert(), lucid.spec("N", 4))
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for x in (X, -X):
        np.testing.assert_array_equal(loaded(x).numpy(), net(x).numpy())
    text = to_text(net.graph, origins=True)
    assert to_text(parse_text(text), origins=True) == text == to_text(loaded.graph, origins=True)
    net.draw(tmp_path / "net.dot")
    drawn = (tmp_path / "net.dot").read_text()
    assert "otherwise" in drawn and drawn.count("subgraph") >= 2
    assert "in otherwise:" in net.explain() and "then > " in str(net.plan)


def test_the_passes_go_inside() -> None:
    net = lucid.compile(
        lambda x: lucid.cond(x.sum() > 0, lambda: (x * 2 + 1).relu(), lambda: x.neg().neg()), lucid.spec(3)
    )
    ops = {
        path: [node.op.name for _, node in graph.nodes() if node.op.source is None]
        for path, graph in walk(net.graph) if path
    }  # fmt: skip
    assert [op for op in ops["if", "then"] if op != "Full"] == ["FusedElementwise"]
    assert ops["if", "otherwise"] == []


def test_equal_branches_are_one_node() -> None:
    def f(x: Any) -> Any:
        def times(zero: float) -> Any:
            return lucid.cond(x.sum() > 0, lambda: x * 2, lambda: x * zero)

        return times(0.0), times(0.0), times(-0.0)

    graph = lucid.compile(f, lucid.spec(3)).graph
    ifs = [node for _, node in graph.nodes() if node.op.name == "If"]
    assert len(ifs) == 2  # 0.0 is not -0.0
    assert len({node.attrs for node in ifs}) == 2


def test_what_is_known_is_decided_beforehand() -> None:
    def f(x: Any) -> Any:
        known = lucid.tensor([1.0, 2.0]).sum() > 0
        return lucid.cond(known, lambda: x * 2, lambda: x * 3) + lucid.cond(True, lambda: x, lambda: x / 0)

    graph = lucid.compile(f, lucid.spec(3)).graph
    assert not any(regions_of(node.attrs) for _, node in graph.nodes())
    both(f, X)


def test_what_sizes_decide_is_decided_when_they_are_known() -> None:
    def f(x: Any) -> Any:
        rows = lucid.ones_like(x)[:, 0].sum()
        return lucid.cond(rows > 2, lambda: x * 2, lambda: lucid.cond(rows > 1, lambda: x * 3, lambda: x * 4))

    net = lucid.compile(f, lucid.spec("N", 4))
    assert "If" in str(net.graph)
    for rows, times in ((3, 2), (2, 3), (1, 4)):
        np.testing.assert_array_equal(net(X[:rows]).numpy(), X[:rows] * times)
        assert " If " not in str(net.plan)


def test_the_passes_know_what_a_branch_captures() -> None:
    lucid.manual_seed(2)
    layer = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2))
    model = Choice(layer).eval()
    net = lucid.compile(model, lucid.spec("N", 2, 8, 8))
    x = np.random.default_rng(0).standard_normal((2, 2, 8, 8)).astype(np.float32)
    for _ in range(2):
        for image in (abs(x), -abs(x)):
            want = model(lucid.tensor(image)).numpy()
            np.testing.assert_allclose(net(image).numpy(), want, rtol=1e-4, atol=1e-5)
        with lucid.no_grad():
            layer[0].weight.mul_(-3)
    _, then = (graph for path, graph in walk(net.graph) if path[1:] != ("otherwise",))
    assert "ConvPool2d" in str(then) and "BatchNorm" not in str(then)
    once = [line for line in str(net.plan).splitlines() if "batch_norm" in line]
    assert once and all(line.rstrip().endswith("once") for line in once)


def test_images_lie_in_a_branch_as_they_do_outside() -> None:
    lucid.manual_seed(4)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def f(x: Any) -> Any:
        y = first(x).relu()
        return lucid.cond(x.sum() > 0, lambda: second(y) + y, lambda: y * 2).sum((2, 3))

    net = lucid.compile(f, lucid.spec("N", 3, 8, 8))
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    for image in (abs(x), -abs(x)):
        np.testing.assert_allclose(net(image).numpy(), f(lucid.tensor(image)).numpy(), rtol=1e-4, atol=1e-4)
        last = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(net(last).numpy(), f(lucid.tensor(image)).numpy(), rtol=1e-4, atol=1e-4)
    (then,) = (graph for path, graph in walk(net.graph) if path[1:] == ("then",))
    assert [t.order for t in then.input_types if t.rank == 4 and t.shape[1] == 8 and t.symbols] == [CHANNELS_LAST]


class Choice(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return lucid.cond(x.sum() > 0, lambda: self.layer(x), lambda: self.layer(-x) * 2)


def test_random_numbers_are_drawn_before_a_branch() -> None:
    lucid.manual_seed(3)
    net = lucid.compile(lambda x: lucid.cond(x.sum() > 0, lambda: nn.functional.dropout(x, 0.5, True), lambda: x))
    first, second = net(X).numpy(), net(X).numpy()
    assert (first == 0).any() and (first != second).any()


def test_nesting_and_structures() -> None:
    def f(x: Any) -> Any:
        def inner() -> Any:
            return lucid.cond(x.max() > 2, lambda: {"a": x, "b": [x + 1]}, lambda: {"a": -x, "b": [x - 1]})

        found = lucid.cond(x.sum() > 0, inner, lambda: {"a": x * 0, "b": [x]})
        return found["a"] * 1, found["b"][0] * 1

    for x in (X, X / 3, -X):
        both(f, x)


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: lucid.cond(x.sum(), lambda: x, lambda: x), DTypeError, "must be a bool"),
        (lambda x: lucid.cond(x > 0, lambda: x, lambda: x), ShapeError, "one element"),
        (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: x.sum()), ShapeError, "must give the same types"),
        (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: (x, x)), LucidError, "same types|different things"),
        (lambda x: lucid.cond(x.sum() > 0, lambda: [x], lambda: (x,)), TraceError, "same structure"),
        (lambda x: lucid.cond(x.sum() > 0, lambda: x.abs_(), lambda: x), TraceError, "changes"),
        (lambda x: lucid.cond(x.sum() > 0, x, lambda: x), OptionError, "true_fn is a function"),
        (lambda x: lucid.cond(x.sum() > 0, lambda: x, lambda: x, x), OptionError, "operands must be a tuple"),
    ],
)
def test_what_cannot_be(function: Callable[..., Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lucid.compile(function, lucid.spec(3, 4))


def test_a_value_of_a_branch_stays_there() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        def branch() -> Any:
            kept.append(x * 2)
            return kept[0]

        return lucid.cond(x.sum() > 0, branch, lambda: x) + kept[0]

    with pytest.raises(TraceError, match="outside that trace"):
        lucid.compile(f, lucid.spec(3))


def test_a_buffer_is_not_changed_in_a_branch() -> None:
    norm = nn.BatchNorm1d(4)
    with pytest.raises(TraceError, match="within a branch"):
        lucid.compile(lambda x: lucid.cond(x.sum() > 0, norm, lambda x: x, (x,)), lucid.spec(3, 4))
    norm.eval()
    both(lambda x: lucid.cond(x.sum() > 0, norm, lambda x: x, (x,)), X)


# ---------------------------------------------------------------- loops


def recurrent(xs: Any, h: Any, w: Any, reverse: bool = False) -> Any:
    def turn(carry: Any, x: Any) -> Any:
        h = (carry["h"] @ w + x).tanh()
        return {"h": h, "n": carry["n"] + 1}, [h * 2, h.sum()]

    last, (ys, sums) = lucid.scan(turn, {"h": h, "n": 0}, xs, reverse=reverse)
    return last["h"], last["n"], ys, sums


RNG = np.random.default_rng(0)
XS, H, W = (RNG.standard_normal(shape).astype(np.float32) for shape in ((5, 2, 3), (2, 3), (3, 3)))


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"threads": 2}, {"verify": True}])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_goes_over_slices(options: dict[str, Any], reverse: bool) -> None:
    _, turns, ys, _ = both(lambda xs, h, w: recurrent(xs, h, w, reverse), XS, H, W, **options)
    assert turns == 5
    state = H
    for at in range(5)[:: -1 if reverse else 1]:
        state = np.tanh(state @ W + XS[at])
        np.testing.assert_allclose(ys[at], 2 * state, rtol=1e-5, atol=1e-6)


def test_one_trace_of_a_scan_serves_any_length() -> None:
    net = lucid.compile(recurrent, lucid.spec("T", "N", 3), lucid.spec("N", 3), lucid.spec(3, 3))
    for times, batch in ((5, 2), (1, 1), (0, 2), (3, 0)):
        xs, h = np.resize(XS, (times, batch, 3)), np.resize(H, (batch, 3))
        for a, b in zip(net(xs, h, W), recurrent(*map(lucid.tensor, (xs, h, W))), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_gradients_of_a_scan() -> None:
    def loss(xs: Any, h: Any, w: Any) -> Any:
        h, _, ys, sums = recurrent(xs, h, w)
        return (h * h).sum() + (ys**3).sum() + sums.sum()

    given = [lucid.tensor(x, requires_grad=True, dtype="float64") for x in (XS, H, W)]
    loss(*given).backward()
    for a, b in zip(lucid.grad(loss, (0, 1, 2))(*given), given, strict=True):
        assert b.grad is not None
        np.testing.assert_allclose(a.numpy(), b.grad.numpy(), rtol=1e-9)


def test_second_derivatives_of_a_scan() -> None:
    def power(x: Any) -> Any:
        return lucid.scan(lambda y, _: (y * x, None), x, length=3)[0].sum()  # x to the fourth

    second = lucid.grad(lambda x: lucid.grad(power)(x).sum())
    np.testing.assert_allclose(second(lucid.tensor(X)).numpy(), 12 * X**2, rtol=1e-4)


class Cell(nn.Module):
    """A layer that goes over time, with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        lucid.manual_seed(1)
        self.cell = nn.Linear(6, 3)

    def forward(self, xs: Any) -> Any:
        def turn(h: Any, x: Any) -> Any:
            h = lucid.cond(x.sum() > 0, lambda: self.cell(lucid.cat([h, x], -1)).tanh(), lambda: h)
            return h, h

        return lucid.scan(turn, lucid.zeros(2, 3), xs)


def test_a_module_in_a_branch_in_a_loop(tmp_path: Path) -> None:
    model = Cell()
    net = lucid.compile(model, lucid.spec("T", 2, 3))
    net.save(tmp_path / "net.lucid")
    loaded = lucid.load(tmp_path / "net.lucid")
    for want, *got in zip(model(lucid.tensor(XS)), net(XS), loaded(XS), strict=True):
        for one in got:
            np.testing.assert_allclose(one.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    text = to_text(net.graph, origins=True)
    assert to_text(parse_text(text), origins=True) == text
    net.draw(tmp_path / "net.dot")
    gradients = []
    for run in (model, net):
        run(XS)[1].sum().backward()
        assert model.cell.weight.grad is not None
        gradients.append(model.cell.weight.grad.numpy().copy())
        model.cell.weight.grad = None
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def doubled(x: Any) -> Any:
    return lucid.while_loop(lambda x, n: x.sum() < 100, lambda x, n: (x * 2, n + 1), (x, 0))


def test_a_loop_goes_on_while_data_says_so() -> None:
    for start in (1.0, 40.0, 200.0):
        x, turns = both(doubled, np.full(3, start, np.float32))
        assert turns == np.ceil(np.log2(100 / (3 * start)).clip(0)) and x[0] == start * 2**turns


def test_a_loop_over_data_has_no_gradient() -> None:
    with pytest.raises(GradientError, match=r"lucid\.scan"):
        lucid.grad(lambda x: doubled(x)[0].sum())(lucid.tensor(X))


def test_an_error_names_the_line_in_the_turn() -> None:
    net = lucid.compile(lambda x: lucid.scan(lambda c, x: (c // x, None), 12, x)[0])
    assert int(net(np.array([2, 3]))) == 2
    with pytest.raises(ExecutionError, match=r"scan > body > \w+: FloorDivide.*test_control.py:\d+.*divided by 0"):
        net(np.array([2, 0]))


def test_a_loop_is_interrupted_and_goes_on() -> None:
    net = lucid.compile(lambda n: lucid.while_loop(lambda i: i < n, lambda i: (i + 1,), (0,))[0])
    net(np.array(3))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            net(np.array(10**12))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert int(net(np.array(5))) == 5


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (lambda x: lucid.scan(lambda c, x: (c.sum(), x), x, x), LucidError, "keeps its type|do not"),
        (lambda x: lucid.scan(lambda c, x: c, x, x), TraceError, "a tuple of two"),
        (lambda x: lucid.scan(lambda c, x: ((c, c), x), x[0], x), TraceError, "structure of the one"),
        (lambda x: lucid.scan(lambda c, _: (c, None), x), OptionError, "give xs, or length"),
        (lambda x: lucid.scan(lambda c, x: (c, None), x, x, length=2), ShapeError, "the same length"),
        (lambda x: lucid.scan(lambda c, x: (c, None), x, x.sum()), ShapeError, "first axis"),
        (lambda x: lucid.scan(lambda c, _: (nn.functional.dropout(c), None), x, length=2), TraceError, "random"),
        (lambda x: lucid.while_loop(lambda x: x, lambda x: (x,), (x,)), DTypeError, "must be a bool"),
        (lambda x: lucid.while_loop(lambda x: x.sum() > 0, lambda x: x, (x,)), TraceError, "structure of the operands"),
    ],
)
def test_loops_that_cannot_be(function: Callable[..., Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lucid.compile(function, lucid.spec(3, 4))
