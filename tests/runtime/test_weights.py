"""What weights are made into before products read them: in parts of any size, by any number of workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.graph.ir import Node
from lucid.graph.opdef import apply
from lucid.graph.ops.conv import CONV, CONV_GRAD_WEIGHT, ConvAttrs
from lucid.graph.ops.shape import transpose
from lucid.graph.ops.slices import flip
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype
from lucid.reference.evaluator import run_reference
from lucid.runtime.kernels.conv import weights_views, winograd_streamed, winograd_views
from lucid.runtime.kernels.conv.filtering import Filter, transforms
from lucid.runtime.kernels.shared.cache_lines import LINE, apart
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import choices, lowerings
from lucid.runtime.program.executable import Executable
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate

from ..machines import USUAL
from ..op_checks import TOLERANCE, assert_close, trace, types_of
from .test_conv import check, force, fresh_cache  # noqa: F401 - a fixture

PARTS = [1, 300, 1 << 20]


def _by_all(make: Any, *arguments: Any, workers: int) -> None:
    for worker in reversed(range(workers)):
        make(*arguments, worker, workers)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("m", [2, 4])
def test_kernels_are_transformed(m: int, workers: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_views, "WRITTEN_PART", part)
    monkeypatch.setattr(weights_views, "READ_PART", 2 * part)
    w = np.random.default_rng(m).standard_normal((12, 5, 3, 3)).astype(np.float32)
    g = transforms(Filter(m, 3, 1)).weights
    expected = np.einsum("ai,bj,ocij->aboc", g, g, w).reshape(-1, 3, 4, 5).transpose(0, 1, 3, 2)
    # double precision is rounded once to single, 6e-8 of values up to about ten; single at each of up to 36 sums, too
    for dtype, tolerance in ((np.float64, 1e-6), (np.float32, 4e-6)):
        out = np.full(((m + 2) ** 2, 3, 5, 4), np.nan, np.float32)
        _by_all(weights_views.transform_weights, np.kron(g, g).astype(dtype), w, out, workers=workers)
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("groups", "width"), [(1, 12), (1, 4), (3, 4), (3, 2), (1, 0)])
@pytest.mark.parametrize("flipped", [False, True])
def test_weights_are_packed(
    flipped: bool, groups: int, width: int, workers: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As panels of so many outputs, or as a matrix where that is 0."""
    monkeypatch.setattr(weights_views, "WRITTEN_PART", part)
    monkeypatch.setattr(weights_views, "OUTPUTS_AT_ONCE", 3)
    rng, each, kernel = np.random.default_rng(part), 12 // groups, (3, 2)
    w = rng.standard_normal((12, each if flipped else 5, *kernel)).astype(np.float32)
    parted = w.reshape(groups, each, *w.shape[1:])
    if flipped:
        parted = parted[..., ::-1, ::-1].swapaxes(1, 2)
    taps = parted.transpose(0, 1, 3, 4, 2).reshape(groups, each, -1)
    expected = taps if width == 0 else taps.reshape(groups, -1, width, taps.shape[-1]).swapaxes(2, 3)
    out = np.full(expected.shape, np.nan, np.float32)
    _by_all(weights_views.pack_weights, groups, w, out, flipped, workers=workers)
    np.testing.assert_array_equal(out, expected)


def test_rows_that_meet_in_the_cache_are_copied_apart() -> None:
    w = np.random.default_rng(0).standard_normal((8, 512, 9)).astype(np.float32)
    turned = w.transpose(2, 1, 0)
    copy = apart(turned)
    assert not np.shares_memory(copy, w)
    np.testing.assert_array_equal(copy, turned)
    assert copy.strides[:2] == turned.strides[:2]  # each row lies as it did
    assert copy.strides[2] // LINE % 2 == 1 and copy.strides[2] % LINE == 0
    for near in (w, w.transpose(1, 0, 2), turned[:, :, :0], np.zeros((3, 4), np.float32).T):
        assert apart(near) is near


def _best(size: int, **how: bool) -> str:
    image, weight = (TensorType(shape, as_dtype("float32")) for shape in ((8, 512, size, size), (512, 512, 3, 3)))
    types = image.with_order(CHANNELS_LAST), weight
    with described(USUAL):
        return choices(Node(CONV, ConvAttrs(padding=(1, 1, 1, 1)), types[:1]), types, **how)[0].lowering.name


def test_weights_of_few_pixels_that_change_are_read_as_they_lie() -> None:
    assert _best(4, lasting=False, stored=True) == "im2col_by_channel"
    assert _best(4, lasting=False, stored=False) != "im2col_by_channel"
    assert _best(4, lasting=True) != "im2col_by_channel"
    assert _best(32, lasting=False, stored=True) != "im2col_by_channel"


def test_a_step_reads_a_parameter_as_it_lies_and_no_turned_one() -> None:
    """A gradient's convolution has the weight turned round, which has to be copied."""
    lucid.manual_seed(0)
    convolutions = [nn.Conv2d(512, 512, 3, padding=1) for _ in range(2)]
    model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512 * 16, 2))
    x, y = (np.zeros(shape, dtype) for shape, dtype in (((8, 512, 4, 4), np.float32), ((8,), np.int64)))
    with described(USUAL):
        step = lucid.compile_step(
            model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), threads=1, exact=True
        )
        step(x, y)
        chosen = {one.name: str(one.choice) for one in step.plan.steps if one.node.op in (CONV, CONV_GRAD_WEIGHT)}
    by_channel = {name for name, choice in chosen.items() if "channel" in choice}
    assert by_channel == {*chosen} - {"1.conv2d_grad_input"} and len(by_channel) == 4, chosen


@pytest.mark.parametrize("part", [1, 1 << 20])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("m", [2, 4])
def test_weights_are_transformed_range_by_range(
    m: int, threads: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five images and four ranges, some workers share a range, and some have several."""
    monkeypatch.setattr(winograd_streamed, "PAIRS_AT_ONCE", part)
    monkeypatch.setattr(winograd_views, "READ_PART", 100 * part)
    monkeypatch.setattr(winograd_streamed, "WIDTHS", (4,))
    (low,) = (low for low in lowerings(CONV) if low.name == f"winograd{m}_streamed")
    rng = np.random.default_rng(m)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((5, 6, 7, 9), (16, 6, 3, 3))]
    force(monkeypatch, CONV, low)
    with described(MACHINE):
        check(CONV, ConvAttrs(padding=(1, 0, 1, 1)), arrays, threads=threads)
        graph = trace(lambda *xs: apply(CONV, ConvAttrs(), *xs), types_of(arrays), ())
        plan = make_plan(graph, threads=threads, lasting=False)
    (step,) = (step for step in plan.steps if step.node.op is CONV)
    assert str(step.choice) == f"winograd{m}_streamed (outputs in 4)"
    (made, *_) = (y.shape for y in step.memory if y.name.endswith("transformed"))
    assert made == ((m + 2) ** 2 * 6 * 4,)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [2, 4])
def test_turned_weights_are_transformed_as_they_lie(m: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a gradient of the input: of them a channel's lie side by side, in reverse order."""
    monkeypatch.setattr(winograd_streamed, "PAIRS_AT_ONCE", 30)
    (low,) = (low for low in lowerings(CONV) if low.name == f"winograd{m}_streamed")
    rng, attrs = np.random.default_rng(m), ConvAttrs(padding=(1, 1, 1, 1))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((3, 10, 5, 7), (10, 12, 3, 3))]

    def function(x: Any, w: Any) -> Any:
        return apply(CONV, attrs, x, flip(transpose(w, 0, 1), 2, 3))

    turned = np.ascontiguousarray(arrays[1].transpose(1, 0, 2, 3)[..., ::-1, ::-1])
    (expected,) = run_reference(CONV, attrs, [arrays[0], turned])
    force(monkeypatch, CONV, low)
    with described(MACHINE):
        program = Executable(trace(function, types_of(arrays), ()), lasting=False)
        program.load([], 0)
        (choice,) = (str(step.choice) for step in program.plan.steps if step.node.op is CONV)
        assert choice == f"{low.name} (outputs in 1)"
        for _ in range(2):
            (result,) = program(*arrays)
            assert_close(result, expected, f"turned by {low.name}", TOLERANCE)


def test_large_weights_that_change_are_transformed_on_the_way() -> None:
    """All at once they would be 38 MB; those that stay are, and once."""
    types = [TensorType(shape, as_dtype("float32")) for shape in ((32, 512, 4, 4), (512, 512, 3, 3))]
    graphs = [
        trace(lambda *xs: apply(CONV, ConvAttrs(padding=(1, 1, 1, 1)), *xs), types, fixed) for fixed in ((), (1,))
    ]
    with described(USUAL):
        plans = [make_plan(graph, lasting=lasting) for graph, lasting in zip(graphs, (False, True), strict=True)]
    each, once = (plan.steps[-1].choice.lowering.name for plan in plans)
    assert each == f"{once}_streamed" == "winograd4_streamed"
    made, whole = (max(y.type.nbytes for y in plan.steps[-1].memory if "transformed" in y.name) for plan in plans)
    assert (made, whole) == (36 * 512 * 32 * 4, 36 * 512 * 512 * 4)
    sizes = {y.name.rpartition("_")[2]: y.type.nbytes for y in plans[0].steps[-1].memory}
    assert sizes["taps"] == 9 * 2048 * 4 and sizes["near"] <= 4 * weights_views.READ_PART + 32 * 2 * LINE


MACHINE = replace(USUAL, fork=0.0)


@pytest.mark.parametrize("name", ["im2col", "split_channels", "winograd2", "winograd4"])
def test_what_changes_is_made_at_each_run_by_all_workers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_views, "WRITTEN_PART", 64)
    (low,) = (low for low in lowerings(CONV) if low.name == name)
    rng, attrs = np.random.default_rng(0), ConvAttrs(padding=(1, 1, 1, 1))
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 6, 5, 7), (8, 6, 3, 3))]
    with described(MACHINE):
        force(monkeypatch, CONV, low)
        check(CONV, attrs, arrays, threads=3)
        graphs = [trace(lambda *xs: apply(CONV, attrs, *xs), types_of(arrays), fixed) for fixed in ((), (1,))]
        shared = ["worker, 3)" in generate(make_plan(graph, threads=3)).text for graph in graphs]
    assert shared == [True, False]


def test_it_is_counted() -> None:
    """A kernel of 3x3 that is transformed at each run pays where there are enough pixels to each."""
    attrs = ConvAttrs(padding=(1, 1, 1, 1))
    best = []
    for size in (4, 8):
        image, weight = (TensorType(shape, as_dtype("float32")) for shape in ((8, 256, size, size), (256, 256, 3, 3)))
        types = image.with_order(CHANNELS_LAST), weight
        with described(MACHINE):
            once, each = (
                {(c.lowering.name, c.way.block): c.way for c in choices(Node(CONV, attrs, types[:1]), types, **given)}
                for given in ({"lasting": True}, {"lasting": False})
            )  # fmt: skip
        others = {
            (low.name, each_way)
            for low in lowerings(CONV)
            if low.transforms_weights
            for name, each_way in each
            if name == low.name
        }
        assert once.keys() == each.keys() - others and others
        for key, way in once.items():
            assert each[key].seconds == way.seconds + way.before
            assert (each[key].block, each[key].flops, each[key].before) == (way.block, way.flops, 0)
        best += [min(ways, key=lambda key: ways[key].seconds)[0] for ways in (once, each)]
    assert best == ["winograd2", "im2col", "winograd4", "winograd4_streamed"]
