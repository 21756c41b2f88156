"""``verify=True`` checks the program that runs: a lowering that computes something else is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.compiler.options import has_kernel
from lucid.errors import LoweringError, PassError
from lucid.formats import serialize
from lucid.graph.opdef import OpDef
from lucid.graph.ops import conv, elementwise, norm, pool, reduce
from lucid.graph.ops.conv_pool import CONV_POOL
from lucid.nn import functional as F
from lucid.passes.pipeline import inference_pipeline
from lucid.proof import sampling
from lucid.runtime.eager import evaluate
from lucid.runtime.planning import registry
from lucid.runtime.planning.phase import Phase
from lucid.runtime.planning.registry import Lowering, Way
from lucid.runtime.program.emitter import Emitter
from lucid.runtime.program.statement import Statement, marked

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)


def only(monkeypatch: pytest.MonkeyPatch, op: OpDef, name: str, emit: Callable[[Emitter, Lowering], None]) -> None:
    """Replace the lowerings of an op by one that calls ``emit``."""
    (low,) = (low for low in registry.lowerings(op) if low.name == name)

    def ways(*given: Any) -> list[Way]:
        return list(low.ways(*given))[:1]

    wrong = replace(low, name="wrong", emit=lambda k: emit(k, low), ways=ways)
    monkeypatch.setitem(registry._KERNELS, op, [wrong])


def off_by_one(k: Emitter, low: Lowering) -> None:
    low.emit(k)
    k.line(f"np.add({k.outs[0]}, 1, out={k.outs[0]})")


def bound_copy(k: Emitter, low: Lowering) -> None:
    """Reads what its input held when the program was bound."""
    (x,) = k.ins
    if x.phase is Phase.ARENA:
        k.code.bind.append(Statement.assignment(marked(f"{k.name}_copy"), f"{x}.copy()", Phase.ARENA))
        x = replace(x, name=f"{k.name}_copy")
        k.ins = (x,)
    low.emit(k)


def network() -> nn.Module:
    lucid.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.MaxPool2d(2, 2), nn.Conv2d(4, 2, 1), nn.Sigmoid())


@pytest.mark.parametrize("exact", [False, True])
def test_sound_programs_pass(exact: bool) -> None:
    for model in (network().eval(), network()):
        net = lucid.compile(model, lucid.spec("N", 3, 8, 8), verify=True, exact=exact)
        for n in (1, 3):
            x = lucid.tensor(np.repeat(X, n, 0), requires_grad=True)
            net(x).sum().backward()
        with lucid.no_grad():
            net(np.asfortranarray(X))


def test_batches_of_nothing_and_sizes_that_windows_ask_for() -> None:
    """What nobody reads is not looked at, and sizes to try are those that the model takes."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, (1, 5)), nn.ReLU()).eval()
    net = lucid.compile(model, verify=True)
    with lucid.no_grad():
        for n in (0, 2, 0):
            np.testing.assert_allclose(net(X[:n]).numpy(), model(lucid.tensor(X[:n])).numpy(), atol=1e-5)
        wide = lucid.compile(model, lucid.spec("N", 3, 8, "W"), verify=True)
        np.testing.assert_allclose(wide(X).numpy(), net(X).numpy(), atol=1e-5)
    assert sampling.sizes_of(wide.traced) == {"N": sampling.SYMBOL_SIZE, "W": 7}


@pytest.mark.parametrize("emit", [off_by_one, bound_copy])
def test_a_wrong_lowering_is_named(monkeypatch: pytest.MonkeyPatch, emit: Callable[[Emitter, Lowering], None]) -> None:
    def sums(x: Any) -> Any:
        return F.softmax(x, 1).cumsum(2)

    lucid.compile(sums, verify=True)(X)
    only(monkeypatch, reduce.CUMSUM, "numpy", emit)
    with pytest.raises(LoweringError, match=r"cum_sum: CumSum by wrong differs .*test_verif"):
        lucid.compile(sums, verify=True)(X)
    lucid.compile(sums)(X)  # nobody asked


def test_a_wrong_convolution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for op in (conv.CONV, CONV_POOL):
        only(monkeypatch, op, "im2col", off_by_one)
    with lucid.no_grad(), pytest.raises(LoweringError, match="by wrong"):
        lucid.compile(network().eval(), verify=True)(X)


def test_a_wrong_gradient_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, pool.MAX_POOL_GRAD, "numpy", off_by_one)
    y = lucid.compile(network(), verify=True)(X)
    with pytest.raises(LoweringError, match="MaxPool2dGrad by wrong"):
        y.sum().backward()


def test_what_is_wrong_only_for_some_values_passes_until_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """It proves by example: the first inputs are those that count."""

    def loses_negatives(k: Emitter, low: Lowering) -> None:
        low.emit(k)
        k.line(f"np.copyto({k.outs[0]}, 0, where=np.less({k.ins[0]}, -100))")

    only(monkeypatch, elementwise.TANH, "numpy", loses_negatives)
    lucid.compile(lambda x: x.tanh(), verify=True)(X)
    with pytest.raises(LoweringError, match="Tanh by wrong"):
        lucid.compile(lambda x: x.tanh(), verify=True)(X * 1000)


def test_what_a_pass_has_made_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def noting(graph: Any, *rest: Any) -> Any:
        seen.append(graph)
        return reference_values(graph, *rest)

    reference_values = sampling.reference_values
    monkeypatch.setattr(sampling, "reference_values", noting)
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2)).eval()
    lucid.compile(model, lucid.spec(1, 4, 8, 8), verify=True)
    assert 1 < len(seen) <= 1 + len(inference_pipeline(evaluate, has_kernel))  # what comes in, and what each makes


@pytest.mark.parametrize("value", [0.1, 0.5, 255.0])
@pytest.mark.parametrize("first", [nn.Identity(), nn.Conv2d(3, 3, 3, padding=1)], ids=["alone", "after-conv"])
def test_an_image_of_one_colour_is_no_false_alarm(value: float, first: nn.Module) -> None:
    model = nn.Sequential(first, nn.BatchNorm2d(3), nn.ReLU())
    lucid.compile(model, verify=True)(np.full((4, 3, 64, 64), value, np.float32))


@pytest.mark.parametrize("x", [X, np.full((2, 3, 8, 8), 0.5, np.float32)], ids=["noise", "one-colour"])
def test_a_wrong_normalisation_is_found_in_any_image(monkeypatch: pytest.MonkeyPatch, x: Any) -> None:
    only(monkeypatch, norm.STANDARDIZE, "numpy", off_by_one)
    with pytest.raises(LoweringError, match="Standardize by wrong"):
        lucid.compile(nn.BatchNorm2d(3), verify=True)(x)


def off_by(factor: float) -> Callable[[Emitter, Lowering], None]:
    """What emits a lowering whose result is multiplied by that."""

    def emit(k: Emitter, low: Lowering) -> None:
        low.emit(k)
        k.line(f"np.multiply({k.outs[0]}, {factor}, out={k.outs[0]})")

    return emit


def test_a_small_error_is_found_where_the_op_makes_it_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, norm.STANDARDIZE, "numpy", off_by(1.001))
    with pytest.raises(LoweringError, match="Standardize by wrong"):
        lucid.compile(nn.BatchNorm2d(3), verify=True)(X)


def test_an_error_that_an_op_makes_larger_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of exp(10), one of 5e-4; its input would have to be off by 5e-5 of itself for that."""
    only(monkeypatch, elementwise.EXP, "numpy", off_by(1.0005))
    with pytest.raises(LoweringError, match="Exp by wrong"):
        lucid.compile(lambda x: x.exp(), verify=True)(np.full((2, 3), 10, np.float32))


# ---------------------------------------------------------------- graphs and files


def test_the_passes_of_a_graph_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = lucid.compile(lambda x: x.tanh() + 1, lucid.spec("N", 3)).traced

    def wrong(given: Any) -> Any:
        return lucid.compile(lambda x: x.tanh() + 2, lucid.spec("N", 3)).traced

    with pytest.raises(PassError, match="wrong changed result 0"):
        _ = lucid.compile(graph, passes=[wrong], verify=True).graph


def test_a_file_whose_graphs_differ(tmp_path: Path) -> None:
    one, two = (lucid.compile(lambda x, c=c: x.tanh() + c, lucid.spec("N", 3)) for c in (1, 2))
    one.save(tmp_path / "right.lucid")
    archive = serialize.load(tmp_path / "right.lucid")
    graphs = {**archive.graphs, "optimised": two.graph}
    serialize.save(tmp_path / "wrong.lucid", graphs, archive.arrays, archive.extra)
    lucid.load(tmp_path / "right.lucid", verify=True)(X[0, :, :, 0].T.copy())
    loaded = lucid.load(tmp_path / "wrong.lucid", verify=True)
    with pytest.raises(PassError, match="of the file changed result 0"):
        loaded(X[0, :, :, 0].T.copy())
