"""MaxPool2d against a loop over its definition, bit by bit: result, index and gradient, eagerly and compiled."""

from __future__ import annotations

import inspect
import math
import warnings
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import DTypeError, OptionError, ShapeError
from lucid.graph.ir import Node
from lucid.graph.opdef import apply
from lucid.graph.ops.pool import MAX_POOL, MAX_POOL_GRAD, MaxPoolAttrs, MaxPoolGradAttrs, max_pool2d
from lucid.graph.types import CHANNELS_LAST, spec
from lucid.nn import functional
from lucid.runtime import eager
from lucid.runtime.kernels.pool import max as pool
from lucid.runtime.kernels.pool import max_grad as pool_grads
from lucid.runtime.kernels.pool import max_runs as pool_runs
from lucid.runtime.kernels.pool.max_runs_views import MaxRuns
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import choose, lowerings
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.tensor.tensor import Tensor

from ..machines import MACHINES
from ..op_checks import (
    channels_last,
    garbage_arena,
    run_compiled,
    strided,
    threads_only,
    trace,
    trace_in_arena,
    types_of,
)
from ..runtime.test_conv import force

Array = np.ndarray[Any, Any]


def brute_force(a: MaxPoolAttrs, x: Array, dy: Array | None) -> tuple[Array, Array, Array | None]:
    """Result, index and gradient, one window at a time; None where the windows do not fit."""
    (kh, kw), (sh, sw), (pt, pl, pb, pr), (dh, dw) = a.kernel, a.stride, a.padding, a.dilation
    n, c, height, width = x.shape

    def count(size: int, k: int, s: int, before: int, after: int, d: int) -> int:
        left = size + before + after - (d * (k - 1) + 1)
        if not a.ceil_mode:
            return len(range(0, left + 1, s))
        # the next window may start if the one before did not reach the end
        return sum(1 for start in range(0, size + before, s) if start == 0 or start - s < left)

    rows, cols = count(height, kh, sh, pt, pb, dh), count(width, kw, sw, pl, pr, dw)
    y = np.zeros((n, c, rows, cols), x.dtype)
    index = np.zeros(y.shape, np.int64)
    dx = None if dy is None else np.zeros(x.shape, x.dtype)
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
    pad = least if a.pad_value == -math.inf else a.pad_value
    for at in np.ndindex(y.shape):
        seen: list[tuple[Any, int, tuple[int, int]]] = []
        padding = False
        for i in range(kh):
            for j in range(kw):
                row, col = at[2] * sh - pt + i * dh, at[3] * sw - pl + j * dw
                if 0 <= row < height and 0 <= col < width:
                    seen.append((x[at[0], at[1], row, col], i * kw + j, (row, col)))
                elif row < height + pb and col < width + pr:
                    padding = True
        nans = [s for s in seen if s[0] != s[0]]
        best = nans[0] if nans else next(s for s in seen if all(s[0] >= t[0] for t in seen))
        if padding and pad > best[0]:
            y[at], index[at] = pad, kh * kw
        else:
            y[at], index[at] = best[:2]
            if dx is not None and dy is not None:
                dx[(*at[:2], *best[2])] += dy[at]
    return y, index, dx


def sweep(seed: int) -> tuple[MaxPoolAttrs, Array, Array]:
    """A random pooling, its input (with ties, NaN and infinities) and an upstream gradient whose sums are exact."""
    rng = np.random.default_rng(seed)
    while True:
        kernel, stride, dilation = (tuple(map(int, rng.integers(1, high, 2))) for high in (5, 4, 4))
        pads = tuple(int(p) for p in rng.integers(0, 4, 4))
        padding = (pads[0], pads[1], pads[0], pads[1]) if rng.random() < 0.7 else pads
        pad_value = float(rng.choice([0.0, -math.inf, -1.0, 2.0]))
        attrs = MaxPoolAttrs(kernel, stride, padding, dilation, bool(rng.random() < 0.5), pad_value)  # type: ignore[arg-type]
        shape = (*map(int, rng.integers(1, 4, 2)), *map(int, rng.integers(1, 14, 2)))
        dtype = str(rng.choice(["float32", "float64", "int8", "int32", "int64", "uint8"]))
        if dtype == "uint8" and pad_value == -1.0:
            continue
        try:
            y, _ = MAX_POOL.infer_types(attrs, [spec(*shape, dtype=dtype)])
        except (OptionError, ShapeError):
            continue
        x = rng.integers(0 if dtype == "uint8" else -3, 4, shape).astype(dtype)
        if dtype.startswith("float"):
            special = rng.random(shape)
            x[special < 0.06] = np.nan
            x[(special > 0.06) & (special < 0.12)] = np.inf
            x[(special > 0.12) & (special < 0.25)] = -np.inf
        return attrs, x, rng.integers(-8, 9, y.concrete).astype(x.dtype)


def both(attrs: MaxPoolAttrs, floating: bool) -> Any:
    """Result, index and gradient as one function."""

    def function(x: Any, dy: Any) -> Any:
        y, index = apply(MAX_POOL, attrs, x)
        if not floating:
            return y, index
        dx = apply(MAX_POOL_GRAD, MaxPoolGradAttrs(attrs, x.type.shape[2:]), dy, index)
        return y, index, dx

    return function


@pytest.mark.parametrize("seed", range(150))
def test_it_is_the_definition_bit_by_bit(seed: int) -> None:
    attrs, x, dy = sweep(seed)
    floating = x.dtype.kind == "f"
    expected = [e for e in brute_force(attrs, x, dy if floating else None) if e is not None]
    function = both(attrs, floating)
    graph = trace(function, types_of([x, dy]))
    arena = trace_in_arena(function, types_of([x, dy]))
    runs = [eager.evaluate(graph, [x, dy]), eager.evaluate(graph, [strided(x), strided(dy)])]
    for form in (graph, arena, channels_last(arena)):
        runs += run_compiled(form, [x, dy])
    for results in runs:
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, wanted, err_msg=str((attrs, x.shape, x.dtype)))


@pytest.fixture
def fresh_cache() -> Any:
    yield
    eager.op_call.cache_clear()


@pytest.mark.usefixtures("fresh_cache")
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", [low.name for low in lowerings(MAX_POOL)])
def test_each_lowering_is_the_definition(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of a few rows, on two threads; with the index and the gradient, and without what nobody reads."""
    attrs, x, dy = sweep(1000 + seed)
    floating = x.dtype.kind == "f"
    force(monkeypatch, MAX_POOL, next(low for low in lowerings(MAX_POOL) if low.name == name))
    monkeypatch.setattr(pool, "BLOCK_BYTES", 200 + 40 * seed)
    monkeypatch.setattr(pool_runs, "block_bytes", lambda reached: 200 + 40 * seed)
    monkeypatch.setattr(pool_grads, "BLOCK_BYTES", 20 * seed)
    monkeypatch.setattr(pool_grads, "CORNERS", 100 * (seed % 5))
    for module in (pool_runs, pool_grads):
        monkeypatch.setattr(module, "LEAST_BYTES", 50)
    expected = brute_force(attrs, x, dy if floating else None)
    for outputs in range(1, 3 + floating):
        arena = trace_in_arena(lambda x, dy, n=outputs: both(attrs, floating)(x, dy)[:n], types_of([x, dy]))
        for graph in (arena, channels_last(arena)):
            plan = make_plan(graph, threads=2)
            prepare, bind = generate(plan).load("program")([])
            prepare()
            run = threads_only(plan.threads).bind(bind, garbage_arena(plan.arena_bytes, None))
            with np.errstate(all="ignore"):
                results = run(x, dy)
            for result, wanted in zip(results, expected[:outputs], strict=True):
                np.testing.assert_array_equal(result, wanted, err_msg=str((attrs, x.shape, x.dtype)))


def runs(kernel: int, stride: int, padding: int, order: tuple[int, ...] | None, shape: Any, coded: bool) -> MaxRuns:
    x = spec(*shape).with_order(order)
    attrs = MaxPoolAttrs((kernel, kernel), (stride, stride), (padding,) * 4, pad_value=-math.inf)
    outputs = [y.with_order(order) for y in MAX_POOL.infer_types(attrs, [spec(*shape)])]
    return pool_runs.max_runs_of(Node(MAX_POOL, attrs, tuple(outputs if coded else outputs[:1])), x)


def test_columns_at_which_no_window_begins_go_before_rows_are_joined_where_that_pays() -> None:
    small, odd = (8, 64, 28, 28), (8, 64, 28, 27)
    assert runs(2, 2, 0, None, small, True).fewer == 2
    assert runs(2, 2, 0, None, small, False).fewer == 1  # one maximum of two rows is as quick
    assert runs(3, 2, 1, None, small, False).fewer == 2
    assert runs(3, 2, 1, None, odd, True).fewer == 2  # it is copied to even rows
    assert runs(2, 2, 0, None, odd, True).fewer == 1  # that is not copied
    assert runs(3, 1, 1, None, small, True).fewer == 1
    assert runs(2, 2, 0, CHANNELS_LAST, small, True).fewer == 2
    assert runs(2, 2, 0, CHANNELS_LAST, (8, 6, 28, 28), True).fewer == 1  # to begin with a pixel takes longer


def test_blocks_are_larger_where_threads_share_them() -> None:
    attrs, counts = MaxPoolAttrs((2, 2), (2, 2)), []
    x, dy = spec(8, 64, 56, 56), spec(8, 64, 28, 28)
    with described(MACHINES["8core2m"]):
        for make in (trace, trace_in_arena):
            plan = make_plan(make(lambda x, dy: both(attrs, True)(x, dy), [x, dy]), threads=2)
            (blocks,) = (work for name, work in plan.names.namespace.items() if name.startswith("max_pool2d_blocks"))
            counts.append(sum(map(len, blocks)))
    assert counts[0] < counts[1]


@pytest.mark.parametrize("width", [7, 1000, 70000])
@pytest.mark.parametrize("kernel", [(3, 1), (3, 9), (2, 300)])
def test_winners_are_found_however_far_they_are_from_the_first_tap(kernel: tuple[int, int], width: int) -> None:
    """In rows that numbers of 16 bits do not span, and windows wider than an image."""
    rng = np.random.default_rng(width)
    pads = (0, kernel[1] // 2, 0, kernel[1] // 2)
    attrs = MaxPoolAttrs(kernel, (1, kernel[1]), pads, pad_value=-math.inf)
    x = rng.permutation(3 * width).reshape(1, 1, 3, width).astype(np.float32)
    y, _ = MAX_POOL.infer_types(attrs, [spec(*x.shape)])
    dy = rng.integers(1, 9, y.concrete).astype(np.float32)
    pooled, _, dx = eager.evaluate(trace(both(attrs, True), types_of([x, dy])), [x, dy])
    expected = np.zeros(3 * width, np.float32)
    np.add.at(expected, np.argsort(x.ravel())[pooled.astype(int)], dy)
    np.testing.assert_array_equal(dx, expected.reshape(x.shape))


@pytest.mark.parametrize("order", [None, CHANNELS_LAST])
@pytest.mark.usefixtures("each_machine")
def test_the_usual_poolings_run_over_long_runs(order: tuple[int, ...] | None) -> None:
    for attrs in (MaxPoolAttrs((2, 2), (2, 2)), MaxPoolAttrs((3, 3), (2, 2), (1, 1, 1, 1), pad_value=-math.inf)):
        x = spec(8, 64, 56, 56).with_order(order)
        outputs = tuple(y.with_order(order) for y in MAX_POOL.infer_types(attrs, [x]))
        assert choose(Node(MAX_POOL, attrs, outputs), (x,)).lowering.name == "runs"
        if order is None:  # rows of pixels are long runs too
            assert choose(Node(MAX_POOL, attrs, outputs[:1]), (x,)).lowering.name == "runs"


@pytest.mark.parametrize("seed", range(8))
def test_threads_and_many_blocks_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attrs = MaxPoolAttrs((3, 2), (2, 1), (1, 1, 1, 1), ceil_mode=bool(seed % 2), pad_value=(0.0, -math.inf)[seed // 4])
    shape = ((9, 40, 33, 29), (1, 64, 70, 61))[seed // 2 % 2]
    x = rng.integers(-50, 50, shape).astype(np.float32)
    x[rng.random(shape) < 1e-4] = np.nan
    (y, _) = MAX_POOL.infer_types(attrs, types_of([x]))
    dy = rng.integers(-8, 9, y.concrete).astype(np.float32)
    function = both(attrs, True)
    wanted = eager.evaluate(trace(function, types_of([x, dy])), [x, dy])
    arena = trace_in_arena(function, types_of([x, dy]))
    for graph in (arena, channels_last(arena)):
        plan = make_plan(graph, threads=2)
        prepare, bind = generate(plan).load("program")([])
        prepare()
        run = threads_only(plan.threads).bind(bind, garbage_arena(plan.arena_bytes, None))
        for result, expected in zip(run(x, dy), wanted, strict=True):
            np.testing.assert_array_equal(result, expected)
    rows = slice(0, 1), slice(0, 2)
    part = brute_force(attrs, x[rows], None)
    np.testing.assert_array_equal(wanted[0][rows], part[0])
    np.testing.assert_array_equal(wanted[1][rows], part[1])


def test_padding_takes_no_gradient_and_infinite_gradients_stay_where_they_belong() -> None:
    x = Tensor([[[[-1.0, -2.0], [-3.0, 5.0]]]], requires_grad=True)
    y = max_pool2d(x, 2, 1, 1)
    y.backward(np.full((1, 1, 3, 3), np.inf, np.float32))
    assert y.tolist() == [[[[0, 0, 0], [0, 5, 5], [0, 5, 5]]]]
    assert x.grad is not None and x.grad.tolist() == [[[[0.0, 0.0], [0.0, math.inf]]]]


def test_positions_are_those_of_the_winners_and_minus_one_for_padding() -> None:
    x = Tensor([[[[-1.0, -2.0], [-3.0, 5.0]]]])
    _, positions = max_pool2d(x, 2, 1, 1, return_indices=True)
    assert positions.dtype == np.int64
    assert positions.tolist() == [[[[-1, -1, -1], [-1, 3, 3], [-1, 3, 3]]]]


def test_an_unbatched_image_keeps_its_rank() -> None:
    x = np.arange(12.0).reshape(1, 3, 4)
    y, positions = max_pool2d(Tensor(x), 2, 1, return_indices=True)
    assert y.shape == positions.shape == (1, 2, 3)
    np.testing.assert_array_equal(y.numpy(), max_pool2d(Tensor(x[None]), 2, 1).numpy()[0])


def test_an_omitted_stride_is_one_and_none_is_the_kernel() -> None:
    x = Tensor(np.zeros((1, 1, 6, 6)))
    with pytest.warns(UserWarning, match=r"max_pool2d: the stride is left out.*stride=1.*stride=2"):
        assert max_pool2d(x, 2).shape == (1, 1, 5, 5)
    assert max_pool2d(x, 2, None).shape == (1, 1, 3, 3)
    assert max_pool2d(x, (2, 3), stride=None).shape == (1, 1, 3, 2)


def test_a_symbolic_size_is_pooled_to_a_symbolic_size() -> None:
    (y, index) = MAX_POOL.infer_types(MaxPoolAttrs((2, 2), (2, 2)), [spec("N", 3, "H", "W")])
    for size in (4, 5, 9):
        concrete = MAX_POOL.infer_types(MaxPoolAttrs((2, 2), (2, 2)), [spec(7, 3, size, size + 1)])
        sizes = {"N": 7, "H": size, "W": size + 1}
        assert (y.bind(sizes), index.bind(sizes)) == concrete


@pytest.mark.parametrize("empty", [(0, 2, 4, 4), (2, 0, 4, 4)])
def test_empty_batches(empty: tuple[int, ...]) -> None:
    x = Tensor(np.zeros(empty), requires_grad=True)
    y = max_pool2d(x, 2, 2, 1)
    assert y.shape == (*empty[:2], 3, 3)
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == empty


def test_the_index_type_grows_with_the_window() -> None:
    def index(kernel: tuple[int, int]) -> str:
        return MAX_POOL.infer_types(MaxPoolAttrs(kernel, (1, 1)), [spec(1, 1, 300, 300)])[1].dtype.name

    assert (index((15, 17)), index((16, 16)), index((255, 257)), index((256, 256))) == (
        "uint8", "uint16", "uint16", "uint32",
    )  # fmt: skip


BAD_ARGUMENTS = [
    ({"kernel_size": 0}, "kernel_size", "0"),
    ({"kernel_size": True}, "kernel_size", "True"),
    ({"kernel_size": 2.0}, "kernel_size", "2.0"),
    ({"kernel_size": (2, 2, 2)}, "kernel_size", "3"),
    ({"kernel_size": ()}, "kernel_size", "0"),
    ({"kernel_size": "2"}, "kernel_size", "'2'"),
    ({"stride": 0}, "stride", "0"),
    ({"stride": -1}, "stride", "-1"),
    ({"stride": (1, False)}, "stride", "False"),
    ({"dilation": 0}, "dilation", "0"),
    ({"dilation": 1.5}, "dilation", "1.5"),
    ({"padding": -1}, "padding", "-1"),
    ({"padding": (1, 2, 3)}, "padding", "3"),
    ({"padding": None}, "padding", "None"),
    ({"kernel_size": 2, "padding": 2}, "padding", "only padding"),
    ({"kernel_size": 1, "padding": 1}, "padding", "only padding"),
    ({"pad_value": math.nan}, "pad_value", "nan"),
    ({"pad_value": "0"}, "pad_value", "'0'"),
]


@pytest.mark.parametrize(("options", "name", "value"), BAD_ARGUMENTS, ids=str)
def test_bad_arguments_are_named(options: dict[str, Any], name: str, value: str) -> None:
    with pytest.raises(OptionError) as caught:
        max_pool2d(Tensor(np.zeros((1, 1, 6, 6))), **options)
    assert all(part in str(caught.value) for part in ("max_pool2d", name, value))


def test_a_window_that_hops_over_the_input_is_refused() -> None:
    """Its taps lie in the padding before and after a single column."""
    with pytest.raises(OptionError, match="only padding"):
        max_pool2d(Tensor(np.zeros((1, 1, 5, 1))), (1, 2), 1, (0, 1), (1, 2))


def test_unfit_inputs_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"max_pool2d.*larger than the height 3"):
        max_pool2d(Tensor(np.zeros((1, 1, 3, 9))), 6, padding=1)
    with pytest.raises(ShapeError, match=r"max_pool2d.*\(N, C, H, W\).*float64\[5, 5\]"):
        max_pool2d(Tensor(np.zeros((5, 5))), 2)
    with pytest.raises(ShapeError, match="max_pool2d"):
        max_pool2d(Tensor(np.zeros((1, 1, 0, 4))), 1)
    with pytest.raises(DTypeError, match=r"max_pool2d.*bool"):
        max_pool2d(Tensor(np.zeros((1, 1, 4, 4), bool)), 2)
    with pytest.raises(OptionError, match=r"pad_value -1\.0 is not a value of uint8"):
        max_pool2d(Tensor(np.zeros((1, 1, 4, 4), np.uint8)), 2, pad_value=-1.0)


def test_a_gradient_of_the_wrong_shape_is_refused() -> None:
    """The page's second example gives ones of 3x3; the formula makes the output 4x4."""
    y = max_pool2d(Tensor(np.ones((1, 1, 3, 3)), requires_grad=True), 2, 1, 1)
    with pytest.raises(ShapeError, match=r"\(1, 1, 3, 3\).*\(1, 1, 4, 4\)"):
        y.backward(np.ones((1, 1, 3, 3)))


def test_an_omitted_stride_warns_once_with_both_ways_to_say_it() -> None:
    x = Tensor(np.ones((1, 1, 4, 4), np.float32))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pool = nn.MaxPool2d(2)
        first = len(seen)
        lucid.compile(pool)(x)
        pool(x)
        nn.MaxPool2d(1), nn.MaxPool2d((1, 1)), nn.MaxPool2d(2, 1), nn.MaxPool2d(2, None), nn.MaxPool2d(2, stride=2)
        functional.max_pool2d(x, 1), functional.max_pool2d(x, 2, 2), functional.adaptive_max_pool2d(x, 2)
    assert (first, len(seen)) == (1, 1)
    assert "stride=1" in str(seen[0].message)
    assert "stride=2" in str(seen[0].message)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match=r"max_pool2d: the stride is left out.*stride=\(1, 3\)") as found:
        functional.max_pool2d(x, (1, 3))
    assert found[0].filename == __file__


def test_the_arguments_stand_in_pytorchs_order() -> None:
    x = Tensor(np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5))
    module = nn.MaxPool2d(2, 2, 0, 1, True, True)
    values, positions = module(x)
    assert (module.dilation, module.return_indices, module.ceil_mode) == ((1, 1), True, True)
    assert values.shape == positions.shape == (1, 1, 3, 3)
    again, _ = functional.max_pool2d(x, 2, 2, 0, 1, True, True)
    np.testing.assert_array_equal(again.numpy(), values.numpy())
    assert inspect.signature(nn.MaxPool2d).parameters["stride"].default == 1
    assert nn.AvgPool2d(2, 2, 0, True, False, 3).divisor_override == 3


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 64, 4, 4)])
def test_a_column_of_taps_has_gradients_however_far_the_next_column_would_be(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape[:1] + shape[2:] + shape[1:2])
    pool, found = nn.MaxPool2d((2, 1), stride=1, dilation=(1, 65536)), []
    for call in (nn.MaxPool2d((2, 1), stride=1), pool, lucid.compile(pool)):
        image = lucid.tensor(x.transpose(0, 3, 1, 2)).requires_grad_()
        (call(image) ** 2).sum().backward()
        assert image.grad is not None
        found.append(image.grad.numpy())
    assert found[1].tolist() == found[2].tolist() == found[0].tolist()
