"""Compiled models: graphs, plans, files, threads, memory, gradients of functions."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, models, nn
from lucid.errors import FileError, GradientError, OptionError, PassError
from lucid.nn import functional as F
from lucid.passes.pipeline import Pass
from lucid.runtime.planning.machine import Machine

from ..machines import untold


def lenet() -> nn.Module:
    lucid.manual_seed(0)
    return models.lenet5().eval()


def images(n: int, *shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


SPEC = lucid.spec("N", 1, 28, 28)


def test_the_graphs_of_lenet() -> None:
    net = lucid.compile(lenet(), SPEC)
    traced, fused = net.traced, net.graph
    ops = [node.op.name for _, node in traced.nodes()]
    assert ops.count("Conv2d") == 2 and ops.count("MaxPool2d") == 2 and traced.symbols == ("N",)
    fused_ops = [node.op.name for _, node in fused.nodes()]
    assert fused_ops.count("ConvPool2d") == 2 and "MaxPool2d" not in fused_ops and "Relu" not in fused_ops[:8]
    backward = {node.op.name for _, node in net.backward_graph.nodes()}
    assert {"MaxPool2dGrad", "Conv2dGradWeight", "Conv2dGradInput"} <= backward


def test_one_graph_many_plans() -> None:
    model = lenet()
    net = lucid.compile(model, SPEC)
    for n in (1, 3, 64, 0, 3):
        x = images(n, 1, 28, 28)
        np.testing.assert_allclose(net(x).numpy(), model(Tensor(x)).numpy(), atol=1e-5)
    assert len(net._traces) == 1 and "ConvPool2d" in str(net.plan) and "def run(x)" in net.source


def test_plans_are_bounded() -> None:
    net = lucid.compile(nn.Linear(3, 2), lucid.spec("N", 3))
    for n in range(1, 100):
        net(np.ones((n, 3), np.float32))
    assert len(net._current().programs.made) <= 64 and len(net._latest.calls._known) <= 16
    free = lucid.compile(nn.Linear(3, 2))
    for n in range(1, 80):
        free(np.ones((n, 3), np.float32))
    assert len(free._traces) <= 64


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lenet, (1, 28, 28)), (lambda: models.resnet18(num_classes=10).eval(), (3, 64, 64))],
    ids=["lenet", "resnet18"],
)
@pytest.mark.usefixtures("usual_machine", "without_workers")
def test_steady_state_allocates_only_the_outputs(make: Any, shape: tuple[int, ...]) -> None:
    model = make()
    net = lucid.compile(model, threads=2)
    x = images(32, *shape)
    with lucid.no_grad():
        for _ in range(3):
            net(x)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            y = net(x)
            after, peak = (used - before for used in tracemalloc.get_traced_memory())
        finally:
            tracemalloc.stop()
    # the outputs, and some Python objects
    objects = 4096 + 64 * len(net.plan.steps)
    assert after < y.numel() * 4 + objects, after
    # NumPy's own iterators buffer up to getbufsize() elements of every operand for as long as a ufunc runs, of four
    # where it is clip (seen: 216 kB at most, two threads; the buffers of four operands are 262 kB)
    buffers = 4 * np.getbufsize() * 4 * net.plan.threads
    assert peak < y.numel() * 4 + objects + buffers < net.plan.arena_bytes / 4, peak


def test_the_plan_knows_the_arena_before_the_first_run() -> None:
    net = lucid.compile(lenet(), SPEC)
    plan = net.plan
    assert plan.arena_bytes > 0 and plan.arena_bytes >= plan.layout.lower_bound


def test_save_and_load(tmp_path: Path, usual_machine: Machine) -> None:
    """Another process on the same machine gives the same bits."""
    net = lucid.compile(lenet(), SPEC, threads=2)
    path = tmp_path / "net.lucid"
    net.save(path)
    again = tmp_path / "again.lucid"
    net.save(again)
    assert path.read_bytes() == again.read_bytes()
    loaded = lucid.load(path, threads=2)
    x = images(5, 1, 28, 28)
    np.testing.assert_array_equal(net(x).numpy(), loaded(x).numpy())
    loaded.save(again)
    assert path.read_bytes() == again.read_bytes()
    y = loaded(Tensor(x, requires_grad=True))
    assert y.requires_grad
    loaded(x).sum().backward()
    np.save(tmp_path / "x.npy", x)
    code = (
        "import lucid, numpy as np; from lucid.runtime.planning.machine import Machine, describe;"
        f"describe({usual_machine});"
        f"x = np.load({str(tmp_path / 'x.npy')!r});"
        f"np.save({str(tmp_path / 'y.npy')!r}, lucid.load({str(path)!r}, threads=2)(x).numpy())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), net(x).numpy())


def test_structures_survive_a_file(tmp_path: Path) -> None:
    net = lucid.compile(lambda xs, scale: {"sum": xs["a"] + xs["b"], "pair": (xs["a"] * scale, 3)})
    a, b = images(2, 3), images(2, 3, seed=1)
    want = net({"a": a, "b": b}, 2.5)
    net.save(tmp_path / "f.lucid")
    have = lucid.load(tmp_path / "f.lucid")({"a": a, "b": b}, 2.5)
    np.testing.assert_array_equal(have["sum"].numpy(), want["sum"].numpy())
    np.testing.assert_array_equal(have["pair"][0].numpy(), want["pair"][0].numpy())
    assert have["pair"][1] == 3
    with pytest.raises(OptionError):
        lucid.load(tmp_path / "f.lucid")({"a": a, "b": b}, 3.5)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    with pytest.raises(FileError):
        lucid.load(path)
    path.write_bytes(b"not a model at all")
    with pytest.raises(FileError, match=r"net\.lucid"):
        lucid.load(path)
    with pytest.raises(FileError):
        lucid.compile(lenet(), SPEC).save(tmp_path / "no" / "such" / "folder.lucid")


def test_many_threads_call_one_model() -> None:
    model = lenet()
    net = lucid.compile(model, SPEC)
    inputs = [images(1 + i % 3, 1, 28, 28, seed=i) for i in range(24)]
    want = [model(Tensor(x)).numpy() for x in inputs]
    start = threading.Barrier(6)

    def work(k: int) -> list[Any]:
        start.wait()
        return [net(x).numpy() for x in inputs[k::6]]

    with ThreadPoolExecutor(6) as pool:
        for k, results in enumerate(pool.map(work, range(6))):
            for have, expected in zip(results, want[k::6], strict=True):
                np.testing.assert_allclose(have, expected, atol=1e-5)


def test_training_a_compiled_model_equals_training_the_eager_one() -> None:
    x, t = images(16, 1, 28, 28), np.arange(16) % 10
    losses = []
    for compiled in (False, True):
        lucid.manual_seed(3)
        model = models.lenet5()
        run = lucid.compile(model) if compiled else model
        optimizer = lucid.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        history = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = F.cross_entropy(run(Tensor(x)), Tensor(t))
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        losses.append(history)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_explain_names_passes_and_places() -> None:
    text = lucid.compile(lenet(), SPEC).explain()
    assert "ConvPool2d" in text and "test_compile.py:" in text and "fuse_conv_pool" in text


def test_profile_times_every_step() -> None:
    net = lucid.compile(lenet(), SPEC)
    profile = net.profile(images(4, 1, 28, 28))
    assert len(profile.steps) == len(net.plan.steps) and profile.total > 0
    assert "ConvPool2d" in str(profile)


def test_drawing(tmp_path: Path) -> None:
    net = lucid.compile(lenet(), SPEC)
    net.draw(tmp_path / "net.svg")
    net.backward_graph.draw(tmp_path / "back.svg")
    assert "ConvPool2d" in (tmp_path / "net.svg").read_text()
    assert "MaxPool2dGrad" in (tmp_path / "back.svg").read_text()


def test_verify_finds_a_wrong_pass_and_names_the_node() -> None:
    from lucid.graph.ops import elementwise as ew
    from lucid.passes.rewrite import rebuild

    def swap(graph: Any) -> Any:
        return rebuild(graph, lambda site: ew.tanh(site.inputs[0]) if site.op is ew.RELU else None, "swap")

    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    good = lucid.compile(model, lucid.spec("N", 3), verify=True)
    assert good(np.ones((2, 3), np.float32)).shape == (2, 3)
    with pytest.raises(PassError, match=r"swap.*1\.relu"):
        lucid.compile(model, lucid.spec("N", 3), verify=True, passes=[Pass("swap", swap)])


def test_compile_as_a_decorator_and_inside_a_trace() -> None:
    @lucid.compile
    def double(x: Any) -> Any:
        return x * 2

    @lucid.compile(exact=True)
    def twice(x: Any) -> Any:
        return double(double(x))

    np.testing.assert_array_equal(twice(np.ones(3, np.float32)).numpy(), np.full(3, 4.0))


def test_gradients_of_functions() -> None:
    def f(x: Any, y: Any) -> Any:
        return (x**3 * y).sum()

    x, y = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    np.testing.assert_allclose(lucid.grad(f)(x, y).numpy(), [9.0, 48.0])
    value, (_, dy) = lucid.value_and_grad(f, (0, 1))(x, y)
    assert float(value) == 35.0
    np.testing.assert_allclose(dy.numpy(), [1.0, 8.0])
    second = lucid.grad(lambda a: lucid.grad(f)(a, y).sum())
    np.testing.assert_allclose(second(x).numpy(), [18.0, 48.0])
    third = lucid.grad(lambda a: second(a).sum())
    np.testing.assert_allclose(third(x).numpy(), [18.0, 24.0])
    nested = lucid.grad(lambda d: (d["w"] * d["x"][0]).sum())({"w": x, "x": [y]})
    np.testing.assert_allclose(nested["x"][0].numpy(), x.numpy())
    for bad in (lambda t: t, lambda t: 3.0):
        with pytest.raises(GradientError, match="one element"):
            lucid.grad(bad)(x)
    with pytest.raises(GradientError, match="floating-point"):
        lucid.grad(lambda t: (t * 1.5).sum())(Tensor([1, 2]))
    with pytest.raises(OptionError):
        lucid.grad(f, 5)(x, y)


def test_second_order_through_convolution_and_pooling() -> None:
    lucid.manual_seed(0)
    w = Tensor(images(2, 1, 3, 3).astype("f8"))
    v = images(1, 1, 6, 6, seed=3).astype("f8")

    def f(x: Any) -> Any:
        return (F.max_pool2d(F.conv2d(x, w, padding=1).tanh(), 2, 2) ** 2).sum()

    slope = lucid.grad(f)
    curvature = lucid.grad(lambda x: (slope(x) * Tensor(v)).sum())
    x, eps = images(1, 1, 6, 6, seed=4).astype("f8"), 1e-5
    numeric = (slope(Tensor(x + eps * v)).numpy() - slope(Tensor(x - eps * v)).numpy()) / (2 * eps)
    np.testing.assert_allclose(curvature(Tensor(x)).numpy(), numeric, rtol=1e-5, atol=1e-7)


def test_import_is_light() -> None:
    code = (
        "import sys, lucid; heavy = {'networkx', 'graphviz', 'pygraphviz', 'safetensors', 'tqdm', 'threadpoolctl',"
        "'lucid.passes.pipeline', 'lucid.runtime.program.emitter', 'lucid.runtime.program.plan',"
        "'lucid.runtime.kernels'};"
        "loaded = {m for m in heavy if type(sys.modules.get(m)).__name__ == 'module'}; print(sorted(loaded));"
        "sys.exit(bool(loaded))"
    )
    # to be told how many threads to use, on a described machine, takes threadpoolctl
    assert subprocess.run([sys.executable, "-c", code], env=untold(), timeout=600).returncode == 0
