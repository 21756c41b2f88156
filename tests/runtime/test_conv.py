"""Every lowering of the convolutions against the reference, over a seeded sweep; and what bad input gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from lucid.errors import DTypeError, GraphError, OptionError, ShapeError
from lucid.graph.ir import Node
from lucid.graph.opdef import Attrs, NoAttrs, OpDef, apply
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.conv import (
    CONV,
    CONV_GRAD_INPUT,
    CONV_GRAD_WEIGHT,
    ConvAttrs,
    ConvInputAttrs,
    ConvWeightAttrs,
    conv2d,
    conv_transpose2d,
)
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.elementwise import AlphaAttrs, GeluAttrs
from lucid.graph.ops.pool import MaxPoolAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, spec
from lucid.reference.evaluator import run_reference
from lucid.runtime import eager
from lucid.runtime.kernels.conv import depthwise, im2col
from lucid.runtime.planning import choosing
from lucid.runtime.planning.registry import Choice, Lowering, choices, lowerings
from lucid.runtime.program.plan import make_plan
from lucid.runtime.program.printer import generate
from lucid.tensor.tensor import Tensor

from ..op_checks import (
    TOLERANCE,
    assert_close,
    blas_alone,
    channels_last,
    garbage_arena,
    threads_only,
    trace,
    trace_in_arena,
    types_of,
)

Array = np.ndarray[Any, Any]


def sweep(seed: int, *, kind: str = "") -> tuple[ConvAttrs, Array, Array, Array | None]:
    """A random convolution: attributes, input, weight, bias. ``kind`` may ask for one that a lowering accepts."""
    rng = np.random.default_rng(seed)
    while True:
        kernel, stride, dilation = (tuple(map(int, rng.integers(1, high, 2))) for high in (5, 4, 3))
        padding = tuple(map(int, rng.integers(0, 4, 4)))
        groups, wide, out = (int(g) for g in rng.integers(1, 4, 3))
        if kind.startswith("pointwise"):
            kernel, padding = (1, 1), (0, 0, 0, 0)
        if kind.startswith("depthwise"):
            groups, wide, out = groups + 1, 1, 1 + int(rng.random() < 0.3)
        if kind.startswith("winograd"):
            size = int(rng.integers(2, 6))
            step = int(rng.integers(1, min(size, 3)))
            kernel, stride, dilation, groups = (size, size), (step, step), (1, 1), 1
        if kind == "space_to_depth":
            stride = tuple(map(int, rng.integers(1, 4, 2)))
            kernel, dilation, groups = tuple(step + int(rng.integers(1, 5)) for step in stride), (1, 1), 1
        if kind == "turned":
            stride, padding = (1, 1), tuple(p % k for p, k in zip(padding, 2 * kernel, strict=True))
        if kind == "side_by_side":
            stride, dilation, padding, groups = kernel, (1, 1), (0, 0, 0, 0), 1
        images = int(rng.choice([0, 1, 2, 3], p=[0.1, 0.3, 0.3, 0.3]))
        size = map(int, rng.integers(1, 12, 2))
        if kind == "side_by_side":
            size = (n * k for n, k in zip(size, kernel, strict=True))
        shape = (images, groups * wide, *size)
        attrs = ConvAttrs(stride, padding, dilation, groups)  # type: ignore[arg-type]
        dtype = ("float32", "float64")[seed % 2]
        x = rng.standard_normal(shape).astype(dtype)
        w = rng.standard_normal((groups * out, wide, *kernel)).astype(dtype)
        try:
            CONV.infer_types(attrs, types_of([x, w]))
        except ShapeError:
            continue
        return attrs, x, w, rng.standard_normal(groups * out).astype(dtype) if rng.random() < 0.6 else None


def force(monkeypatch: pytest.MonkeyPatch, op: OpDef, lowering: Lowering) -> None:
    """Let plans and eager calls use this lowering for ``op``, and one after another of its ways to cut the work."""
    before, turn = choosing.choose, count()

    def choose(node: Any, inputs: Any, *, threads: int = 1, **how: bool) -> Choice:
        if node.op is not op or not lowering.accepts(node, inputs):
            return before(node, inputs, threads=threads, **how)
        ways = lowering.ways(node, inputs, threads)
        return Choice(lowering, ways[next(turn) % len(ways)])

    eager.op_call.cache_clear()
    monkeypatch.setattr(choosing, "choose", choose)
    monkeypatch.setattr(eager, "choose", choose)


def check(
    op: OpDef, attrs: Attrs, arrays: list[Array], *, parameters: tuple[int, ...] = (), threads: int = 1,
    tolerance: Mapping[str, float] = TOLERANCE,
) -> None:  # fmt: skip
    """Eager, compiled, and compiled channels last, against the reference."""
    (expected,) = run_reference(op, attrs, arrays)

    def function(*xs: Any) -> Any:
        return apply(op, attrs, *xs)

    (result,) = eager.evaluate(trace(function, types_of(arrays)), arrays)
    assert_close(result, expected, f"eager {op.name} {attrs}", tolerance)
    arena = trace_in_arena(function, types_of(arrays))
    bound = trace(function, types_of(arrays), parameters)
    inputs = [a for i, a in enumerate(arrays) if i not in parameters]
    for graph, given in ((arena, arrays), (channels_last(arena), arrays), (bound, inputs)):
        made = make_plan(graph, threads=threads)
        order = [int(name[1:]) for name in made.parameters]
        prepare, bind = generate(made).load("program")([arrays[i] for i in order])
        with blas_alone():
            prepare()
            run = threads_only(threads).bind(bind, garbage_arena(made.arena_bytes, None))
            for _ in range(2):
                (result,) = run(*given)
                assert_close(result, expected, f"compiled {op.name} {attrs}", tolerance)


@pytest.fixture(autouse=True)
def fresh_cache() -> Any:
    yield
    eager.op_call.cache_clear()


def _channels_last(node: Node, types: Sequence[TensorType]) -> tuple[Node, tuple[TensorType, ...]]:
    """The node and the types of its inputs, all images with channels innermost."""

    def last(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
        return tuple(t.with_order(CHANNELS_LAST) if t.rank == 4 else t for t in types)

    return replace(node, outputs=last(node.outputs)), last(types)


SEEDS = 12
LOWERINGS = [(op, low.name) for op in (CONV, CONV_GRAD_INPUT, CONV_GRAD_WEIGHT) for low in lowerings(op)]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("op", "name"), LOWERINGS, ids=lambda v: getattr(v, "name", v))
def test_each_lowering_is_the_reference(op: OpDef, name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lowering does not accept a node, the next seeds are tried."""
    lowering = next(low for low in lowerings(op) if low.name == name)
    for attempt in range(seed, seed + 40 * SEEDS, SEEDS):
        conv, x, w, b = sweep(attempt, kind=name)
        (y,) = CONV.infer_types(conv, types_of([x, w]))
        dy = np.random.default_rng(attempt).standard_normal(y.concrete).astype(x.dtype)
        attrs, arrays = {
            CONV: (conv, [x, w, *([] if b is None else [b])]),
            CONV_GRAD_INPUT: (ConvInputAttrs(conv, x.shape[2:]), [dy, w]),
            CONV_GRAD_WEIGHT: (ConvWeightAttrs(conv, w.shape[2:]), [x, dy]),
        }[op]
        types = tuple(types_of(arrays))
        node = Node(op, attrs, op.infer_types(attrs, types))
        if lowering.accepts(node, types) or lowering.accepts(*_channels_last(node, types)):
            break
    else:
        pytest.fail(f"{name} accepted none of the sweep")
    force(monkeypatch, op, lowering)
    check(op, attrs, arrays, parameters=() if op is CONV_GRAD_WEIGHT else (1,))


@pytest.mark.parametrize("lowering", lowerings(CONV_POOL), ids=lambda lowering: lowering.name)
def test_sums_of_no_channels_are_nothing(lowering: Lowering[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lowering gives the bias, or does not accept it."""
    force(monkeypatch, CONV_POOL, lowering)
    for kernel, stride, padding in (((3, 3), 1, 1), ((4, 4), 3, 1), ((1, 1), 1, 0), ((3, 2), 2, 0)):
        attrs = ConvPoolAttrs(ConvAttrs((stride,) * 2, (padding,) * 4), "Relu")
        arrays = [np.zeros(shape, np.float32) for shape in ((2, 0, 9, 8), (5, 0, *kernel))]
        arrays.append(np.arange(-2, 3, dtype=np.float32))
        check(CONV_POOL, attrs, arrays, parameters=(1, 2), threads=2)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two or three rows."""
    monkeypatch.setattr(im2col, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(im2col, "LEAST_ROWS", 30)
    monkeypatch.setattr(depthwise, "BLOCK_BYTES", 1 << 9)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("groups", [1, 4, 8])
def test_many_blocks_and_threads(groups: int, threads: int) -> None:
    rng = np.random.default_rng(groups)
    x = rng.standard_normal((2, 8, 13, 11)).astype(np.float32)
    w = rng.standard_normal((8, 8 // groups, 3, 3)).astype(np.float32)
    b = rng.standard_normal(8).astype(np.float32)
    conv = ConvAttrs((1, 1), (1, 1, 1, 1), (1, 1), groups)
    check(CONV, conv, [x, w, b], parameters=(1, 2), threads=threads)
    check(CONV_GRAD_INPUT, ConvInputAttrs(conv, (13, 11)), [x, w], threads=threads)
    check(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, (3, 3)), [x, x], threads=threads)


ACTIVATIONS: list[tuple[str | None, Attrs]] = [
    (None, NoAttrs()), ("Relu", NoAttrs()), ("LeakyRelu", AlphaAttrs(0.2)), ("Gelu", GeluAttrs()),
    ("Clip", ClipAttrs(-0.5, 0.5)), ("Silu", NoAttrs()), ("Abs", NoAttrs()), ("Tanh", NoAttrs()),
    ("HardSwish", NoAttrs()),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(48))
def test_fused_convolution_and_pooling_is_its_decomposition(seed: int) -> None:
    rng = np.random.default_rng(seed + 1000)
    while True:
        conv, x, w, b = sweep(int(rng.integers(1 << 30)) * 2 + seed % 2)
        kernel, stride = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(2))
        pads = tuple(map(int, rng.integers(0, 2, 2)))
        pad_value = float(rng.choice([0.0, 0.7, -np.inf]))
        pool = MaxPoolAttrs(kernel, stride, (*pads, *pads), (1, 1), bool(rng.random() < 0.5), pad_value)  # type: ignore[arg-type]
        name, options = ACTIVATIONS[seed % len(ACTIVATIONS)]
        attrs = ConvPoolAttrs(conv, name, options, pool if rng.random() < 0.8 else None)
        arrays = [x, w, *([] if b is None else [b])]
        try:
            CONV_POOL.infer_types(attrs, types_of(arrays))
        except (ShapeError, OptionError):
            continue
        break
    check(CONV_POOL, attrs, arrays, parameters=(1,))


@pytest.mark.parametrize("low", lowerings(CONV), ids=lambda low: low.name)
@pytest.mark.parametrize(("channels", "kernel", "length"), [(6, 3, 9), (16, 3, 40), (3, 9, 50), (8, 1, 20)])
def test_a_signal_is_an_image_of_one_row(
    low: Lowering, channels: int, kernel: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, attrs = np.random.default_rng(length), ConvAttrs(padding=(0, kernel // 2, 0, kernel // 2))
    shapes = (2, channels, 1, length), (8, channels, 1, kernel)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    force(monkeypatch, CONV, low)
    for threads in (1, 2):
        check(CONV, attrs, arrays, threads=threads)


RESIDUAL = [low.name for low in lowerings(CONV_POOL) if not low.name.startswith(("depthwise", "toeplitz", "space"))]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", RESIDUAL)
def test_each_lowering_adds_the_residual(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lowering = next(low for low in lowerings(CONV_POOL) if low.name == name)
    for attempt in range(seed, seed + 40 * SEEDS, SEEDS):
        conv, x, w, b = sweep(attempt, kind=name)
        (y,) = CONV.infer_types(conv, types_of([x, w]))
        residual = np.random.default_rng(attempt).standard_normal(y.concrete).astype(x.dtype)
        # inexact lowerings are right to some 1e-5, which a steep activation would enlarge
        activation, options = ACTIVATIONS[(seed + attempt // SEEDS) % (len(ACTIVATIONS) if lowering.exact else 3)]
        attrs = ConvPoolAttrs(conv, activation, options, residual=True)
        arrays = [x, w, *([] if b is None else [b]), residual]
        types = tuple(types_of(arrays))
        node = Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types))
        if lowering.accepts(node, types) or lowering.accepts(*_channels_last(node, types)):
            break
    else:
        pytest.fail(f"{name} accepted none of the sweep")
    force(monkeypatch, CONV_POOL, lowering)
    # each element type, which goes by the seed too, with one and with two threads
    check(CONV_POOL, attrs, arrays, parameters=(1,), threads=1 + seed // 2 % 2)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", [low.name for low in lowerings(CONV_POOL)])
def test_each_lowering_has_a_floor(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of a bias, before and after a pooling."""
    lowering = next(low for low in lowerings(CONV_POOL) if low.name == name)
    for attempt in range(seed, seed + 400 * SEEDS, SEEDS):
        conv, x, w, b = sweep(attempt, kind=name)
        pool = MaxPoolAttrs((2, 2), (2, 2)) if attempt // SEEDS % 2 else None
        attrs, arrays = ConvPoolAttrs(conv, pool=pool, floor=True), [x, w, *([] if b is None else [b])]
        try:
            node = Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types_of(arrays)))
        except (ShapeError, OptionError, GraphError):
            continue
        types = tuple(types_of(arrays))
        if lowering.accepts(node, types) or lowering.accepts(*_channels_last(node, types)):
            break
    else:
        pytest.fail(f"{name} accepted none of the sweep")
    force(monkeypatch, CONV_POOL, lowering)
    check(CONV_POOL, attrs, arrays, parameters=(1, 2), threads=1 + seed % 2)


def test_a_floor_takes_the_place_of_a_bias() -> None:
    x, w, b = _zeros(1, 3, 8, 8), _zeros(4, 3, 3, 3), _zeros(4)
    with pytest.raises(GraphError, match="ConvPool2d: a floor stands in the place of a bias"):
        apply(CONV_POOL, ConvPoolAttrs(floor=True), x, w)
    with pytest.raises(GraphError, match="neither activation nor residual"):
        apply(CONV_POOL, ConvPoolAttrs(activation="Relu", floor=True), x, w, b)
    with pytest.raises(GraphError, match="neither activation nor residual"):
        apply(CONV_POOL, ConvPoolAttrs(residual=True, floor=True), x, w, b, _zeros(1, 4, 6, 6))


def test_a_residual_that_does_not_fit_is_named() -> None:
    x, w = _zeros(1, 3, 8, 8), _zeros(4, 3, 3, 3)
    attrs = ConvPoolAttrs(residual=True)
    with pytest.raises(ShapeError, match=r"residual must be float32\[1, 4, 6, 6\], got float32\[1, 4, 6, 5\]"):
        apply(CONV_POOL, attrs, x, w, _zeros(1, 4, 6, 5))
    with pytest.raises(ShapeError, match=r"residual must be .* got None"):
        apply(CONV_POOL, attrs, x, w)
    with pytest.raises(GraphError, match="without pooling"):
        apply(CONV_POOL, replace(attrs, pool=MaxPoolAttrs((2, 2), (2, 2))), x, w, _zeros(1, 4, 6, 6))
    with pytest.raises(GraphError, match="got 4 inputs"):
        apply(CONV_POOL, ConvPoolAttrs(), x, w, _zeros(4), _zeros(1, 4, 6, 6))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ["Relu", "Gelu"])
@pytest.mark.parametrize("groups", [1, 2])
def test_fused_many_blocks_and_threads(groups: int, activation: str, threads: int) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 4, 13, 15)).astype(np.float32)
    w = rng.standard_normal((6, 4 // groups, 3, 3)).astype(np.float32)
    b = rng.standard_normal(6).astype(np.float32)
    conv = ConvAttrs((1, 1), (1, 1, 1, 1), (1, 1), groups)
    options = GeluAttrs() if activation == "Gelu" else NoAttrs()
    for pool in (MaxPoolAttrs((3, 3), (2, 2), (1, 1, 1, 1)), MaxPoolAttrs((2, 2), (2, 2)), None):
        check(CONV_POOL, ConvPoolAttrs(conv, activation, options, pool), [x, w, b], threads=threads)


@pytest.mark.parametrize(
    "pool", [None, MaxPoolAttrs((2, 2), (2, 2)), MaxPoolAttrs((3, 3), (2, 2), (1, 1, 1, 1))], ids=str
)
def test_windows_with_short_rows_are_gathered_along_rows_of_pixels(
    pool: MaxPoolAttrs | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one or two channels, whatever the stride and the pooling; others by rows of windows."""
    force(monkeypatch, CONV_POOL, next(low for low in lowerings(CONV_POOL) if low.name == "im2col"))
    gathered, rng = list[bool](), np.random.default_rng(0)
    gather = im2col.gather

    def noted(*operands: Any, turned: bool) -> Any:
        gathered.append(turned)
        return gather(*operands, turned=turned)

    monkeypatch.setattr(im2col, "gather", noted)
    for channels, groups, kernel, stride in ((1, 1, 3, 1), (1, 1, 5, 2), (4, 2, 3, 1), (1, 1, 9, 1), (3, 1, 3, 1)):
        conv = ConvAttrs((stride, stride), (2, 1, 0, 2), (1, 1), groups)
        shapes = (2, channels, 14, 40), (6, channels // groups, 3, kernel), (6,)
        arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
        gathered.clear()
        check(CONV_POOL, ConvPoolAttrs(conv, "Relu", NoAttrs(), pool), arrays, parameters=(1, 2))
        assert any(gathered) == (kernel * channels // groups < im2col.SHORT_RUN)


@pytest.mark.parametrize("name", ["winograd2", "winograd4"])
def test_halving_tiles_takes_a_pooling_by_what_its_windows_see(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``ceil_mode`` and padding after the image matter where a window hangs over the end, and there only."""
    lowering = next(low for low in lowerings(CONV_POOL) if low.name == name)
    force(monkeypatch, CONV_POOL, lowering)
    rng = np.random.default_rng(0)
    w, b = (rng.standard_normal(s).astype(np.float32) for s in ((6, 4, 3, 3), (6,)))
    for options in ({"ceil_mode": True}, {"padding": (0, 0, 1, 1)}):
        pool = MaxPoolAttrs((2, 2), (2, 2), **options)  # type: ignore[arg-type]
        attrs = ConvPoolAttrs(ConvAttrs(padding=(1, 1, 1, 1)), "Relu", NoAttrs(), pool)
        for size, fits in (((12, 14), True), ((12, 13), False)):
            arrays = [rng.standard_normal((2, 4, *size)).astype(np.float32), w, b]
            types = tuple(types_of(arrays))
            node = Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types))
            assert lowering.accepts(node, types) == fits
            if fits:
                check(CONV_POOL, attrs, arrays, parameters=(1, 2), threads=2)


@pytest.mark.usefixtures("each_machine")
def test_the_fused_convolution_never_holds_its_whole_output() -> None:
    """Whatever the caches: four times the images need no more room, in any lowering."""
    attrs = ConvPoolAttrs(ConvAttrs(padding=(1, 1, 1, 1)), "Relu", NoAttrs(), MaxPoolAttrs((2, 2), (2, 2)))

    def scratch(images: int) -> dict[str, int]:
        types = spec(images, 16, 64, 64), spec(32, 16, 3, 3)
        graph = channels_last(trace_in_arena(lambda *xs: apply(CONV_POOL, attrs, *xs), types))
        ((name, node),) = ((name, node) for name, node in graph.nodes() if node.op is CONV_POOL)
        found: dict[str, int] = {}
        for choice in choices(node, tuple(map(graph.type, graph.inputs_of(name)))):
            if choice.lowering.name not in found:
                (step,) = (s for s in make_plan(graph, chosen={name: choice}).steps if s.name == name)
                found[choice.lowering.name] = sum(buffer.type.nbytes for buffer in step.buffers)
        return found

    room = scratch(64)
    assert room == scratch(16) and len(room) >= 5
    assert min(room.values()) > 0 and max(room.values()) < 64 * 32 * 64 * 64 * 4 / 10


def _zeros(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(np.zeros(shape, dtype))


def test_unfit_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match=r"conv2d.*\(1, 3, 8, 8\) has 3 channels.*\(4, 2, 3, 3\).*takes 2"):
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 2, 3, 3))
    with pytest.raises(ShapeError, match=r"conv2d: 2 groups do not divide 3 input and 4 output channels"):
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 1, 3, 3), groups=2)
    with pytest.raises(ShapeError, match=r"conv2d.*kernel 5.*larger than the height 4"):
        conv2d(_zeros(1, 3, 4, 8), _zeros(4, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"conv2d.*\(N, C, H, W\).*float32\[8, 8\]"):
        conv2d(_zeros(8, 8), _zeros(4, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"conv2d: the weight must have rank 4"):
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 3, 5))
    with pytest.raises(ShapeError, match=r"conv2d: the bias must be float32\[4\], got float32\[3\]"):
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 3, 3, 3), _zeros(3))
    with pytest.raises(DTypeError, match=r"conv2d.*float32.*float64"):
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 3, 3, 3, dtype="float64"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride must be positive, got 0"),
        ({"stride": 1.5}, "stride must be an int"),
        ({"stride": (1, 2, 3)}, "stride must be one int or two"),
        ({"dilation": -1}, "dilation must be positive, got -1"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"padding": True}, "padding must be an int"),
        ({"padding": "full"}, '"same" or "valid"'),
        ({"padding": "same", "stride": 2}, "needs stride 1"),
        ({"groups": 0}, "groups must be positive, got 0"),
    ],
    ids=str,
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match="conv2d") as caught:
        conv2d(_zeros(1, 3, 8, 8), _zeros(4, 3, 3, 3), **options)
    assert message in str(caught.value)


def test_transposed_convolution_refuses_what_does_not_fit() -> None:
    x, w = _zeros(1, 3, 4, 4), _zeros(3, 2, 3, 3)
    with pytest.raises(OptionError, match="output_padding"):
        conv_transpose2d(x, w, stride=2, output_padding=2)
    with pytest.raises(ShapeError, match=r"conv_transpose2d.*3 channels.*takes 4"):
        conv_transpose2d(x, _zeros(4, 2, 3, 3))
    with pytest.raises(ShapeError, match="use less padding"):
        conv_transpose2d(x, w, padding=3)
    with pytest.raises(ShapeError, match=r"conv_transpose2d: the bias must be float32\[2\]"):
        conv_transpose2d(x, w, _zeros(3))


def test_second_order_gradients_close() -> None:
    """The gradients of the gradient ops are the three convolution ops again."""
    conv, x, w, _ = sweep(5)
    (y,) = CONV.infer_types(conv, types_of([x, w]))

    def function(x: Any, w: Any, dy: Any) -> Any:
        dx = apply(CONV_GRAD_INPUT, ConvInputAttrs(conv, x.type.shape[2:]), dy, w)
        dw = apply(CONV_GRAD_WEIGHT, ConvWeightAttrs(conv, tuple(w.type.shape[2:])), x, dy)
        return (dx * dx).sum() + (dw * dw).sum()

    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in (x.shape, w.shape, y.concrete)]
    tensors = [Tensor(v, requires_grad=True) for v in values]
    function(*tensors).backward()
    for i, tensor in enumerate(tensors):
        step = rng.standard_normal(values[i].shape)
        ends = [
            function(*(Tensor(v + (s * step if j == i else 0)) for j, v in enumerate(values))).item()
            for s in (1e-5, -1e-5)
        ]
        assert tensor.grad is not None
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, (tensor.grad.numpy() * step).sum(), rtol=1e-6)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("low", [low for low in lowerings(CONV_POOL) if not low.exact], ids=lambda low: low.name)
def test_inexact_fused_lowerings(low: Lowering, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles cut by borders, several images in a block, one and two threads."""
    rng = np.random.default_rng(seed)
    images, channels = int(rng.integers(1, 18)), int(rng.integers(1, 5))
    size, kernel, stride = rng.integers(4, 15, 2), [3, 3], (1, 1)
    pads = tuple(map(int, rng.integers(0, 3, 4)))
    pool = MaxPoolAttrs((2, 2), (2, 2)) if seed % 2 and low.name != "filtered" else None
    if low.name == "filtered":  # long one way, in several parts too
        kernel, size = list([(3, 1), (1, 4), (5, 2), (2, 9)][seed % 4]), rng.integers(14, 40, 2)
    if low.name == "space_to_depth":
        stride = (2, 1 + seed % 3)
        kernel, size = [step + int(rng.integers(1, 5)) for step in stride], rng.integers(18, 50, 2)
        if seed % 4 == 1:
            pool = MaxPoolAttrs((3, 3), (2, 2), (1, 1, 1, 1), pad_value=-np.inf)
    shape = images, channels, int(size[0]), int(size[1])
    ends: list[tuple[str | None, Attrs]] = [(None, NoAttrs()), ("Relu", NoAttrs()), ("Clip", ClipAttrs(-0.5, 0.5))]
    if pool is None or low.name.startswith("winograd"):  # they fall somewhere: before a pooling
        ends += [("Silu", NoAttrs()), ("HardSwish", NoAttrs())]
    name, options = ends[seed % len(ends)]
    conv = ConvAttrs(stride, pads)  # type: ignore[arg-type]
    attrs = ConvPoolAttrs(conv, name, options, pool)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in (shape, (3, channels, *kernel), (3,))]
    types = tuple(types_of(arrays))
    assert low.accepts(Node(CONV_POOL, attrs, CONV_POOL.infer_types(attrs, types)), types)
    force(monkeypatch, CONV_POOL, low)
    # the error is one of the sums, whatever the activation makes of them: 1e-5 of the largest (Lavin and Gray, 2015)
    (sums,) = run_reference(CONV, conv, arrays)
    allowed = {"float32": 1e-5 * max(1.0, float(np.abs(sums).max()))}
    check(CONV_POOL, attrs, arrays, parameters=(1, 2), threads=1 + seed % 2, tolerance=allowed)


@pytest.mark.parametrize("name", ["winograd2", "winograd4"])
def test_a_bias_comes_with_the_last_transform_of_tiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each output's is its own, infinite or no number; nothing goes over the results to add it."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9, 10), np.float32), rng.standard_normal((4, 3, 3, 3), np.float32)
    attrs = ConvPoolAttrs(ConvAttrs(padding=(1, 1, 1, 1)))
    force(monkeypatch, CONV_POOL, next(low for low in lowerings(CONV_POOL) if low.name == name))
    bias = np.array([np.inf, -np.inf, np.nan, 0.5], np.float32)
    check(CONV_POOL, attrs, [x, w, bias], parameters=(1, 2), tolerance={**TOLERANCE, "float32": 1e-4})
    graph = trace(lambda *xs: apply(CONV_POOL, attrs, *xs), types_of([x, w, bias]))
    assert "np.add(" not in generate(make_plan(graph)).text
