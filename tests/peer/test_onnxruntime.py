"""Single ops and compiled networks beside ONNX Runtime, whose graphs are built here by hand.

All is in float32. Sums of products in another order differ by a few rounding errors (6e-8) of their largest partial
sum, and Winograd's transforms by up to 1e-5 of the largest result (docs: ``exact=True`` avoids that); so results may
differ by 2e-5 of the largest absolute value. What only moves or compares numbers must be equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lucid
from lucid import Tensor, models, nn
from lucid.graph.opdef import apply
from lucid.graph.ops import conv, indexing, pool
from lucid.graph.ops.data_dependent import suppressed
from lucid.models.resnet import BasicBlock
from lucid.nn import functional as F

from ..onnx.test_detector import detector, images

Array = np.ndarray[Any, Any]
OPSET = 20  # the first with Gelu
SEEDS = range(12)
RTOL = 2e-5


def session(nodes: Sequence[Any], inputs: Sequence[str], weights: Mapping[str, Array], output: str, like: Any) -> Any:
    """A session over the nodes; input types are those of the arrays ``like``, with free sizes."""
    kinds = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("i8"): TensorProto.INT64, np.dtype("?"): TensorProto.BOOL}
    given = [
        helper.make_tensor_value_info(name, kinds[array.dtype], [f"{name}_{i}" for i in range(array.ndim)])
        for name, array in zip(inputs, like, strict=True)
    ]
    result = helper.make_empty_tensor_value_info(output)
    stored = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "g", given, [result], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ort(op: str, *arrays: Array, outputs: int = 1, **attributes: Any) -> Array:
    """What ONNX Runtime makes of one node."""
    names = [f"x{i}" for i in range(len(arrays))]
    node = helper.make_node(op, names, ["y", *(f"unused{i}" for i in range(1, outputs))], **attributes)
    found: Array = session([node], names, {}, "y", arrays).run(None, dict(zip(names, arrays, strict=True)))[0]
    return found


def close(ours: Any, theirs: Array, what: object = "") -> None:
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, what
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=RTOL * max(scale, 1e-6), err_msg=str(what))


def both(function: Any, arrays: Sequence[Array], theirs: Array, what: object = "", exact: bool = False) -> None:
    """Eager and compiled, the function gives their result."""
    compare = np.testing.assert_array_equal if exact else close
    compare(function(*map(Tensor, arrays)).numpy(), theirs, f"eager {what}")
    compare(lucid.compile(function)(*arrays).numpy(), theirs, f"compiled {what}")


def normal(rng: Any, *shape: int) -> Array:
    array: Array = rng.standard_normal(shape).astype(np.float32)
    return array


def ints(rng: Any, low: int, high: int, count: int = 2) -> tuple[int, ...]:
    return tuple(int(i) for i in rng.integers(low, high + 1, count))


# ---------------------------------------------------------------- convolution


@pytest.mark.parametrize("seed", SEEDS)
def test_conv(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = (1, 1, 2, 4)[seed % 4]
    kernel, stride, dilation = ints(rng, 1, 4), ints(rng, 1, 3), ints(rng, 1, 2)
    pads = ints(rng, 0, 3, 4)
    size = [d * (k - 1) + 1 + int(rng.integers(0, 12)) for k, d in zip(kernel, dilation, strict=True)]
    x = normal(rng, int(rng.integers(1, 4)), 4, *size)
    w, b = normal(rng, 4 * int(rng.integers(1, 3)), 4 // groups, *kernel), normal(rng, 8)
    b = b[: len(w)]
    what = f"k={kernel} s={stride} p={pads} d={dilation} g={groups} x={x.shape}"
    theirs = ort("Conv", x, w, b, strides=stride, pads=pads, dilations=dilation, group=groups)
    both(lambda x, w, b: F.conv2d(x, w, b, stride, pads, dilation, groups), (x, w, b), theirs, what)


@pytest.mark.parametrize("shape", [(1, 3, 30, 31, 16), (3, 16, 28, 28, 16), (2, 32, 14, 14, 64), (1, 8, 9, 9, 8)])
def test_conv_of_a_common_size_with_its_weight_in_the_model(shape: tuple[int, ...]) -> None:
    """The sizes at which Winograd and the blocked lowerings are chosen, and a depthwise one."""
    n, c, h, w, k = shape
    rng = np.random.default_rng(c)
    groups = c if c == 8 else 1
    layer = nn.Conv2d(c, k, 3, padding=1, groups=groups)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    x = normal(rng, n, c, h, w)
    theirs = ort("Conv", x, weight, bias, pads=(1, 1, 1, 1), group=groups)
    close(layer(Tensor(x)).numpy(), theirs)
    close(lucid.compile(layer.eval())(x).numpy(), theirs)
    tight = np.abs(lucid.compile(layer, exact=True)(x).numpy() - theirs).max()
    assert tight <= 2e-6 * np.abs(theirs).max()


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transpose(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    groups = (1, 2, 1, 4)[seed % 4]
    kernel, stride, dilation = ints(rng, 1, 4), ints(rng, 1, 3), ints(rng, 1, 2)
    extra = tuple(int(rng.integers(0, s)) for s in stride)  # below the dilation too, by the standard, but not theirs
    pads = ints(rng, 0, 1)
    size = [3 + int(rng.integers(0, 5)) + p for p in pads]
    x = normal(rng, int(rng.integers(1, 4)), 4, *size)
    w, b = normal(rng, 4, int(rng.integers(1, 4)), *kernel), normal(rng, 12)
    b = b[: w.shape[1] * groups]
    what = f"k={kernel} s={stride} p={pads} d={dilation} g={groups} extra={extra} x={x.shape}"
    theirs = ort(
        "ConvTranspose", x, w, b, strides=stride, pads=pads * 2, dilations=dilation, group=groups, output_padding=extra
    )
    both(lambda x, w, b: F.conv_transpose2d(x, w, b, stride, pads, extra, groups, dilation), (x, w, b), theirs, what)


@pytest.mark.parametrize("seed", range(4))
def test_the_input_gradient_of_a_conv_is_a_conv_transpose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = normal(rng, 2, 4, 9, 11), normal(rng, 6, 4, 3, 3)
    attrs = conv.ConvAttrs((1 + seed % 2,) * 2, (seed // 2,) * 4)
    leaf = Tensor(x, requires_grad=True)
    y = apply(conv.CONV, attrs, leaf, Tensor(w))
    dy = normal(rng, *y.shape)
    y.backward(dy)
    left = tuple(
        size - ((out - 1) * attrs.stride[0] - 2 * attrs.padding[0] + 3)
        for size, out in zip(x.shape[2:], y.shape[2:], strict=True)
    )
    theirs = ort("ConvTranspose", dy, w, strides=attrs.stride, pads=attrs.padding, output_padding=left)
    close(leaf.grad, theirs)


# ---------------------------------------------------------------- pooling


def pooling(seed: int, dilated: bool) -> tuple[Any, ...]:
    rng = np.random.default_rng(200 + seed)
    kernel, stride = ints(rng, 1, 4), ints(rng, 1, 3)
    dilation = ints(rng, 1, 2) if dilated else (1, 1)
    pads = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
    size = [d * (k - 1) + 1 + int(rng.integers(0, 10)) for k, d in zip(kernel, dilation, strict=True)]
    return normal(rng, int(rng.integers(1, 4)), 3, *size), kernel, stride, pads, dilation


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_max_pool(seed: int, ceil_mode: bool) -> None:
    x, kernel, stride, pads, dilation = pooling(seed, dilated=True)
    x = x - 3  # were padding zero, it would win
    theirs = ort(
        "MaxPool", x, kernel_shape=kernel, strides=stride, pads=pads * 2, dilations=dilation, ceil_mode=int(ceil_mode)
    )
    both(
        lambda x: F.max_pool2d(x, kernel, stride, pads, dilation, ceil_mode, pad_value=-np.inf),
        (x,), theirs, f"k={kernel} s={stride} p={pads} d={dilation} x={x.shape}", exact=True,
    )  # fmt: skip


@pytest.mark.parametrize("pads", [(0, 1, 1, 0), (1, 0, 0, 2), (2, 2, 1, 0)])
def test_max_pool_with_uneven_padding(pads: tuple[int, ...]) -> None:
    x = normal(np.random.default_rng(5), 2, 3, 9, 10) - 3
    attrs = pool.MaxPoolAttrs((3, 3), (2, 2), pads, (1, 1), False, -np.inf)  # type: ignore[arg-type]
    theirs = ort("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=pads)
    both(lambda x: apply(pool.MAX_POOL, attrs, x)[0], (x,), theirs, exact=True)


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_average_pool(seed: int, ceil_mode: bool, count_include_pad: bool) -> None:
    x, kernel, stride, pads, _ = pooling(seed, dilated=False)
    theirs = ort(
        "AveragePool", x, kernel_shape=kernel, strides=stride, pads=pads * 2,
        ceil_mode=int(ceil_mode), count_include_pad=int(count_include_pad),
    )  # fmt: skip
    both(
        lambda x: F.avg_pool2d(x, kernel, stride, pads, ceil_mode, count_include_pad),
        (x,), theirs, f"k={kernel} s={stride} p={pads} x={x.shape}",
    )  # fmt: skip


def test_global_pools() -> None:
    x = normal(np.random.default_rng(0), 2, 3, 7, 5)
    both(lambda x: F.adaptive_avg_pool2d(x, 1), (x,), ort("GlobalAveragePool", x))
    both(lambda x: F.adaptive_max_pool2d(x, 1), (x,), ort("GlobalMaxPool", x), exact=True)


# ---------------------------------------------------------------- normalisation, linear algebra


@pytest.mark.parametrize("seed", range(4))
def test_batch_norm_layer_norm_and_group_norm(seed: int) -> None:
    rng = np.random.default_rng(300 + seed)
    x = normal(rng, *ints(rng, 1, 3), *ints(rng, 1, 6))
    channels = x.shape[1]
    scale, shift, mean = (normal(rng, channels) for _ in range(3))
    var = np.abs(normal(rng, channels)) + np.float32(0.1)
    eps = 10.0 ** -(seed + 2)
    theirs = ort("BatchNormalization", x, scale, shift, mean, var, epsilon=eps)
    both(lambda x, s, b, m, v: F.batch_norm(x, m, v, s, b, eps=eps), (x, scale, shift, mean, var), theirs)
    axis = 1 + seed % 3
    shape = x.shape[axis:]
    scale, shift = normal(rng, *shape), normal(rng, *shape)
    theirs = ort("LayerNormalization", x, scale, shift, axis=axis, epsilon=eps)
    both(lambda x, s, b: F.layer_norm(x, shape, s, b, eps), (x, scale, shift), theirs)
    x = normal(rng, 2, 6, 3, 4)
    scale, shift = normal(rng, 6), normal(rng, 6)
    theirs = ort("InstanceNormalization", x, scale, shift, epsilon=eps)
    both(lambda x, s, b: F.group_norm(x, 6, s, b, eps), (x, scale, shift), theirs)


@pytest.mark.parametrize("transposed_a", [False, True])
@pytest.mark.parametrize("transposed_b", [False, True])
def test_gemm(transposed_a: bool, transposed_b: bool) -> None:
    rng = np.random.default_rng(1)
    a, b, c = normal(rng, 5, 7), normal(rng, 7, 3), normal(rng, 3)
    a, b = (np.array(a.T) if transposed_a else a), (np.array(b.T) if transposed_b else b)
    theirs = ort("Gemm", a, b, c, alpha=0.5, beta=2.0, transA=int(transposed_a), transB=int(transposed_b))

    def gemm(a: Any, b: Any, c: Any) -> Any:
        return 0.5 * ((a.T if transposed_a else a) @ (b.T if transposed_b else b)) + 2.0 * c

    both(gemm, (a, b, c), theirs)
    if transposed_b and not transposed_a:
        both(F.linear, (a, b, c), ort("Gemm", a, b, c, transB=1))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ii->i", [(4, 4)]),
        ("ij->ji", [(3, 4)]),
        ("ij->", [(3, 4)]),
        ("i,j->ij", [(3,), (4,)]),
        ("...ij,jk->...ik", [(2, 3, 4), (4, 5)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("ij,ij", [(3, 4), (3, 4)]),
        ("bij,bkj->ki", [(2, 3, 4), (2, 5, 4)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(2)
    arrays = [normal(rng, *shape) for shape in shapes]
    both(lambda *xs: lucid.einsum(equation, *xs), arrays, ort("Einsum", *arrays, equation=equation))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e30])
def test_softmax(axis: int, scale: float) -> None:
    x = normal(np.random.default_rng(3), 3, 4, 5) * np.float32(scale)
    both(lambda x: F.softmax(x, axis), (x,), ort("Softmax", x, axis=axis))
    both(lambda x: F.log_softmax(x, axis), (x,), ort("LogSoftmax", x, axis=axis))


# ---------------------------------------------------------------- element by element


@pytest.mark.parametrize(
    ("op", "function", "attributes"),
    [
        ("Erf", lucid.erf, {}),
        ("Gelu", F.gelu, {}),
        ("Gelu", lambda x: F.gelu(x, "tanh"), {"approximate": "tanh"}),
        ("Sigmoid", F.sigmoid, {}),
        ("Tanh", F.tanh, {}),
        ("Elu", lambda x: F.elu(x, 0.5), {"alpha": 0.5}),
        ("LeakyRelu", lambda x: F.leaky_relu(x, 0.2), {"alpha": 0.2}),
        ("Softplus", F.softplus, {}),
        ("Exp", lucid.exp, {}),
        ("Round", lucid.round, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_of_one_element(op: str, function: Any, attributes: dict[str, Any]) -> None:
    x = np.concatenate([np.linspace(-12, 12, 481), [0.5, 1.5, 2.5, -0.5]]).astype(np.float32)
    ours, theirs = lucid.compile(function)(x).numpy(), ort(op, x, **attributes)
    # relative too: the tails matter, and theirs are polynomials good to about 2e-6 of 1
    np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=2e-6)
    np.testing.assert_array_equal(function(Tensor(x)).numpy(), ours)


def test_clip_and_its_nans() -> None:
    x = np.array([-np.inf, -2, -1, 0, 0.5, 3, np.inf, np.nan], np.float32)
    low, high = np.float32(-1), np.float32(1)
    both(lambda x: lucid.clip(x, -1.0, 1.0), (x[:-1],), ort("Clip", x[:-1], np.array(low), np.array(high)), exact=True)
    assert np.isnan(lucid.clip(Tensor(x), -1.0, 1.0).numpy()[-1])
    integers = np.arange(-5, 5)
    both(lambda x: lucid.clip(x, -2, 3), (integers,), ort("Clip", integers, np.array(-2), np.array(3)), exact=True)


# ---------------------------------------------------------------- moving elements


@pytest.mark.parametrize(("ours", "theirs"), [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"),
                                              ("circular", "wrap")])  # fmt: skip
def test_pad(ours: str, theirs: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(4):
        x = normal(rng, 2, 3, 5, 6)
        top, left, bottom, right = ints(rng, 0, 4, 4)
        arrays = [x, np.array([0, 0, top, left, 0, 0, bottom, right])]
        if ours == "constant":
            arrays.append(np.array(1.5, np.float32))
        value = 1.5 if ours == "constant" else None
        expected = ort("Pad", *arrays, mode=theirs)
        both(lambda x: F.pad(x, (left, right, top, bottom), ours, value), (x,), expected, exact=True)  # noqa: B023


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_gather(axis: int) -> None:
    rng = np.random.default_rng(6)
    x = normal(rng, 3, 4, 5)
    index = rng.integers(-3, 3, (2, 3))
    axes = (axis % 3,)
    both(lambda x, i: indexing.index_with(x, axes, (i,)), (x, index), ort("Gather", x, index, axis=axis), exact=True)
    flat = np.array([2, 0, 2])
    both(lambda x, i: lucid.index_select(x, axis, i), (x, flat), ort("Gather", x, flat, axis=axis), exact=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_scatter_elements(axis: int) -> None:
    rng = np.random.default_rng(7)
    x = normal(rng, 3, 4, 5)
    index = rng.integers(0, x.shape[axis], (3, 4, 5))
    theirs = ort("GatherElements", x, index, axis=axis)
    both(lambda x, i: lucid.gather(x, axis, i), (x, index), theirs, exact=True)
    attrs = indexing.ScatterAttrs(axis, x.shape)
    added = ort("ScatterElements", np.zeros_like(x), index, x, axis=axis, reduction="add")
    both(lambda v, i: apply(indexing.SCATTER_ELEMENTS, attrs, v, i), (x, index), added)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumsum(axis: int) -> None:
    rng = np.random.default_rng(8)
    x, whole = normal(rng, 3, 4, 5), rng.integers(-9, 9, (3, 4))
    both(lambda x: lucid.cumsum(x, axis), (x,), ort("CumSum", x, np.array(axis)))
    both(lambda x: lucid.cumsum(x, axis), (whole,), ort("CumSum", whole, np.array(axis)), exact=True)


# ---------------------------------------------------------------- networks


class Exporter:
    """Writes a chain of modules as ONNX nodes, one by one."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def stored(self, array: Tensor) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(array.numpy())
        return name

    def module(self, m: nn.Module, x: str) -> str:
        if isinstance(m, BasicBlock):
            y = self.module(m.relu, self.module(m.bn1, self.module(m.conv1, x)))
            y = self.module(m.bn2, self.module(m.conv2, y))
            skip = x if m.downsample is None else self.module(m.downsample, x)
            return self.node("Relu", [self.node("Add", [y, skip])])
        if isinstance(m, nn.Sequential):
            for child in m:
                x = self.module(child, x)
            return x
        if isinstance(m, nn.Conv2d):
            tensors = [x, self.stored(m.weight), *([] if m.bias is None else [self.stored(m.bias)])]
            return self.node("Conv", tensors, strides=m.stride, pads=tuple(m.padding) * 2, group=m.groups)
        if isinstance(m, nn.Linear):
            return self.node("Gemm", [x, self.stored(m.weight), self.stored(m.bias)], transB=1)
        if isinstance(m, nn.BatchNorm2d):
            statistics = [self.stored(t) for t in (m.weight, m.bias, m.running_mean, m.running_var)]
            return self.node("BatchNormalization", [x, *statistics], epsilon=m.eps)
        if isinstance(m, nn.MaxPool2d):
            return self.node("MaxPool", [x], kernel_shape=m.kernel_size, strides=m.stride)
        return self.node({nn.ReLU: "Relu", nn.Flatten: "Flatten"}[type(m)], [x])


def randomise(model: nn.Module) -> None:
    """Statistics and affine parameters that are not 0 and 1."""
    rng = np.random.default_rng(9)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.bias, m.running_mean, m.running_var):
                t.copy_(np.abs(normal(rng, *t.shape)) + np.float32(0.5))


def block() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), BasicBlock(8, 8), BasicBlock(8, 16, 2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("build", "shape"), [(models.lenet5, (1, 28, 28)), (block, (3, 20, 22))], ids=["lenet", "resnet-block"]
)
def test_networks(build: Any, shape: tuple[int, ...], batch: int, exact: bool) -> None:
    lucid.manual_seed(0)
    model = build().eval()
    randomise(model)
    x = normal(np.random.default_rng(batch), batch, *shape)
    exporter = Exporter()
    output = exporter.module(model, "x")
    theirs = session(exporter.nodes, ["x"], exporter.weights, output, [x]).run(None, {"x": x})[0]
    net = lucid.compile(model, lucid.spec("N", *shape), exact=exact)
    close(net(x).numpy(), theirs)
    close(model(Tensor(x)).numpy(), theirs)


@pytest.mark.parametrize("centred", [False, True])
def test_the_boxes_that_are_left(centred: bool) -> None:
    """Of many that overlap, some without an area, with ties among the scores."""
    for seed in SEEDS[:5]:
        rng = np.random.default_rng(seed)
        images, classes, count = (int(rng.integers(low, high)) for low, high in ((1, 3), (1, 4), (1, 200)))
        boxes = rng.integers(0, 12, (images, count, 4)).astype(np.float32)
        scores = np.round(rng.random((images, classes, count)), int(rng.integers(1, 4))).astype(np.float32)
        limits = (np.array([int(rng.integers(0, 70))]), np.float32([0.37]), np.float32([rng.choice([0.0, 0.5, 2.0])]))
        theirs = ort("NonMaxSuppression", boxes, scores, *limits, center_point_box=int(centred))
        given = [lucid.tensor(one) for one in (boxes, scores, *(limit[0] for limit in limits))]
        for function in (left := partial(suppressed, bound=None, centred=centred)), lucid.compile(left):
            np.testing.assert_array_equal(function(*given).numpy(), theirs)


def test_a_detector() -> None:
    proto = detector("all")
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, *net.specs)
    peer = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for x in images():
        found = compiled(x)
        for have, want in zip(found if isinstance(found, tuple) else (found,), peer.run(None, {"x": x}), strict=True):
            close(have, want)
