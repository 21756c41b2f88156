"""Models as ONNX files: what is in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import lucid
from lucid import nn
from lucid.errors import GraphError, OptionError
from lucid.formats.onnx.write import file
from lucid.graph.opdef import TypeAttrs, apply
from lucid.graph.ops.random import RANDOM_UNIFORM, random_key
from lucid.nn import functional as F


def digits() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, stride=2), nn.Flatten(), nn.Linear(4 * 4 * 4, 10)
    )


def written(model: Any, path: Path, *specs: Any, **options: Any) -> Any:
    """The file of a model, which the package finds right."""
    lucid.onnx.export(model, path, *specs, **options)
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def test_a_classifier_comes_back(tmp_path: Path) -> None:
    model = digits()
    proto = written(model, tmp_path / "digits.onnx", lucid.spec("N", 1, 8, 8))
    assert model.training  # it was written in evaluation mode, and is in its own again
    assert [node.name for node in proto.graph.node] == ["/0/Conv", "/1/Relu", "/2/MaxPool", "/3/Reshape", "/4/Gemm"]
    ends = [*proto.graph.input, *proto.graph.output]
    assert [one.name for one in ends] == ["x", "output"]
    dims = [[dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in ends]
    assert dims == [["N", 1, 8, 8], ["N", 10]]
    back = lucid.onnx.load(proto)
    assert {name: value.shape for name, value in back.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }
    model.eval()
    for batch in (0, 1, 3):
        x = lucid.randn(batch, 1, 8, 8)
        np.testing.assert_array_equal(back(x).numpy(), model(x).numpy())


def test_a_compiled_model_and_one_from_a_file_and_a_graph(tmp_path: Path) -> None:
    model = digits().eval()
    net = lucid.compile(model, lucid.spec("N", 1, 8, 8))
    net.save(tmp_path / "net.lucid")
    x = lucid.randn(2, 1, 8, 8)
    state = dict(model.state_dict())
    for subject, options in (
        (net, {}), (lucid.load(tmp_path / "net.lucid"), {}), (net.traced, {"parameters": state})
    ):  # fmt: skip
        proto = written(subject, tmp_path / "net.onnx", **options)
        np.testing.assert_array_equal(lucid.onnx.load(proto)(x).numpy(), model(x).numpy())
    net.export_onnx(tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()


@pytest.mark.parametrize("opset", [17, 18, 24])
def test_versions_of_the_operators(opset: int, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.GroupNorm(2, 8)).eval()
    proto = written(model, tmp_path / "model.onnx", lucid.spec("N", 4), opset=opset)
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", opset)]
    x = lucid.randn(3, 4)
    np.testing.assert_allclose(lucid.onnx.load(proto)(x).numpy(), model(x).numpy(), atol=1e-6)


@pytest.mark.parametrize("opset", [0, 16, 25, True, "20"])
def test_other_versions_are_refused(opset: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="opset"):
        lucid.onnx.export(digits(), tmp_path / "model.onnx", lucid.spec("N", 1, 8, 8), opset=opset)
    assert not list(tmp_path.iterdir())


def test_all_that_cannot_be_written_is_named_at_once(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return lucid.linalg.svd(self.inner(lucid.erfinv(x)))

    (tmp_path / "model.onnx").write_bytes(b"what was there")
    with pytest.raises(GraphError) as error:
        lucid.onnx.export(nn.Sequential(Odd()), tmp_path / "model.onnx", lucid.spec(3, 3))
    for part in ("Erfinv", "Svd", "in 0 at", "test_export.py:"):
        assert part in str(error.value)
    assert (tmp_path / "model.onnx").read_bytes() == b"what was there"


def test_weights_beside_the_file(tmp_path: Path) -> None:
    model = nn.Linear(40, 50).eval()
    for _ in range(2):  # over what is there
        lucid.onnx.export(nn.Linear(40, 50), tmp_path / "model.onnx", lucid.spec("N", 40), external_data=True)
        lucid.onnx.export(model, tmp_path / "model.onnx", lucid.spec("N", 40), external_data=True)
        onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    (beside,) = (one for one in tmp_path.iterdir() if one.suffix == ".data")
    assert beside.stat().st_size >= 40 * 50 * 4 > (tmp_path / "model.onnx").stat().st_size
    x = lucid.randn(3, 40)
    np.testing.assert_array_equal(lucid.onnx.load(tmp_path / "model.onnx")(x).numpy(), model(x).numpy())
    (tmp_path / "model.onnx.other.data").write_bytes(b"")
    lucid.onnx.export(model, tmp_path / "model.onnx", lucid.spec("N", 40))
    assert {one.name for one in tmp_path.iterdir()} == {"model.onnx", "model.onnx.other.data"}


def test_a_failure_leaves_neither_half_a_model_nor_its_weights(tmp_path: Path, monkeypatch: Any) -> None:
    def export() -> None:
        lucid.onnx.export(nn.Linear(40, 50), tmp_path / "model.onnx", lucid.spec("N", 40), external_data=True)

    export()
    there = {one: one.read_bytes() for one in tmp_path.iterdir()}
    write = file.write_atomically

    def full(path: Path, chunks: Any) -> None:
        if path.suffix == ".onnx":
            raise OSError("no space")
        write(path, chunks)

    def broken(*_: Any) -> None:
        raise MemoryError

    for name, function, error in (("write_atomically", full, OSError), ("message", broken, MemoryError)):
        with monkeypatch.context() as patch:
            patch.setattr(file, name, function)
            with pytest.raises(error):
                export()
        assert {one: one.read_bytes() for one in tmp_path.iterdir()} == there


def test_small_weights_need_no_file_beside(tmp_path: Path) -> None:
    lucid.onnx.export(nn.Linear(3, 3), tmp_path / "model.onnx", lucid.spec("N", 3), external_data=True)
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_what_is_of_training_is_refused(tmp_path: Path) -> None:
    for layer, words in ((nn.BatchNorm1d(3), r"running_mean.*eval\(\)"), (nn.Dropout(0.5), r"leaves out.*eval\(\)")):
        net = lucid.compile(nn.Sequential(layer), lucid.spec("N", 3))
        with pytest.raises(OptionError, match=words):
            net.export_onnx(tmp_path / "model.onnx")
        lucid.onnx.export(net.model, tmp_path / "model.onnx", lucid.spec("N", 3))
        assert layer.training
        (tmp_path / "model.onnx").unlink()


def test_the_order_of_pytorch_is_answered(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a model, a path, and then lucid\.spec"):
        lucid.onnx.export(digits(), (lucid.randn(1, 1, 8, 8),), str(tmp_path / "model.onnx"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"'opset_version' is no option \(opset, "):
        lucid.onnx.export(digits(), tmp_path / "model.onnx", lucid.spec("N", 1, 8, 8), opset_version=17)
    with pytest.raises(OptionError, match=r'which is lucid\.spec\(2, 3, dtype="int64"\)'):
        lucid.onnx.export(digits(), tmp_path / "model.onnx", lucid.zeros(2, 3).long())


def test_what_is_asked_of_specs_is_said(tmp_path: Path) -> None:
    path = tmp_path / "net.lucid"
    net = lucid.compile(nn.Linear(3, 3).eval(), lucid.spec("N", 3))
    net.save(path)
    lucid.onnx.export(net, tmp_path / "net.onnx")
    with pytest.raises(OptionError, match=r"from a \.lucid file has the types"):
        lucid.onnx.export(lucid.load(path), tmp_path / "other.onnx", lucid.spec("B", 3))
    with pytest.raises(OptionError, match=r"\*model\.specs are those"):
        lucid.onnx.export(lucid.onnx.load(tmp_path / "net.onnx"), tmp_path / "other.onnx")
    with pytest.raises(OptionError, match=r"described by lucid\.spec\(\.\.\.\), got 3"):
        lucid.onnx.export(net, tmp_path / "other.onnx", 3)
    with pytest.raises(OptionError, match="export: a graph has the types"):
        lucid.onnx.export(net.graph, tmp_path / "other.onnx", lucid.spec("B", 3))


def test_a_buffer_that_changes_in_evaluation_mode_too_is_refused(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", lucid.zeros(3))

        def forward(self, x: Any) -> Any:
            return x + self.count.add_(1)

    with pytest.raises(OptionError, match=r"changes count, .* let the model give what it changes"):
        lucid.onnx.export(Counting(), tmp_path / "model.onnx", lucid.spec(3))


def test_results_in_a_list_of_another_class_are_outputs(tmp_path: Path) -> None:
    class Levels(list[Any]):
        pass

    proto = written(lambda x: Levels([x, [x + 1]]), tmp_path / "f.onnx", lucid.spec("N"))
    assert [one.name for one in proto.graph.output] == ["output_0", "output_1.0"]


def test_a_method_is_traced_in_evaluation_mode_too(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    proto = written(model.forward, tmp_path / "model.onnx", lucid.spec("N", 3))
    assert [node.op_type for node in proto.graph.node] == ["Gemm"] and model.training
    with pytest.raises(OptionError, match=r"eval\(\)"):  # a function's modules are left in theirs
        lucid.onnx.export(lambda x: model(x), tmp_path / "other.onnx", lucid.spec("N", 3))


def test_constants_come_back_as_constants(tmp_path: Path) -> None:
    table = np.arange(300, dtype=np.float32).reshape(3, 100)
    for model in (nn.BatchNorm1d(3, affine=False), lambda x: x @ table):
        back = lucid.onnx.load(written(model, tmp_path / "model.onnx", lucid.spec("N", 3)))
        assert not list(back.parameters())


def test_gradients_are_written(tmp_path: Path) -> None:
    """As far as their ops have a form: those of poolings are made of others."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2, stride=2), nn.Conv2d(2, 2, 2),
        nn.AvgPool2d(2, stride=1), nn.Flatten(), nn.Linear(2, 3),
    ).eval()  # fmt: skip
    graph = lucid.compile(model, lucid.spec("N", 1, 8, 8)).backward_graph
    state = dict(model.state_dict())
    proto = written(graph, tmp_path / "back.onnx", parameters={name: state[name] for name in graph.parameters})
    assert [one.name for one in proto.graph.output] == list(graph.names)

    slope = lucid.value_and_grad(lambda x: (model(x) ** 2).sum())
    back = lucid.onnx.load(written(slope, tmp_path / "slope.onnx", lucid.spec("N", 1, 8, 8)))
    for batch in (1, 3):
        x = lucid.randn(batch, 1, 8, 8)
        for found, wanted in zip(back(x), slope(x), strict=True):
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_odd_names_and_shapes(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("für alle 1", nn.Linear(3, 3))
            self.x, self.scale = nn.Parameter(lucid.randn(3)), nn.Parameter(lucid.tensor(2.0))
            self.register_buffer("shift", lucid.ones(3))
            self.tied = nn.Linear(3, 3, bias=False)
            self.tied.weight = getattr(self, "für alle 1").weight

        def forward(self, x: Any, pair: Any, unused: Any = None) -> Any:
            y = getattr(self, "für alle 1")(x) * self.x * self.scale + self.shift
            return {"y": y, "same": [y, x], "weight": self.x, "tied": self.tied(pair["a"]) + pair["b"]}

    model = Odd().eval()
    pair = {"a": lucid.spec("N", 3), "b": lucid.spec(3)}
    proto = written(model, tmp_path / "odd.onnx", lucid.spec("N", 3), pair, unused=lucid.spec())
    assert [one.name for one in proto.graph.input] == ["x_1", "pair.a", "pair.b", "unused"]  # x is a weight
    assert [one.name for one in proto.graph.output] == ["y", "same.0", "same.1", "weight", "tied"]
    back = lucid.onnx.load(proto)
    assert set(back.state_dict()) == {"x", "scale", "shift", "für alle 1.weight", "für alle 1.bias"}
    given = lucid.randn(2, 3), {"a": lucid.randn(2, 3), "b": lucid.randn(3)}, lucid.tensor(0.0)
    wanted = model(*given)
    found = back(given[0], *given[1].values(), given[2])
    for one, other in zip(found, [wanted["y"], *wanted["same"], wanted["weight"], wanted["tied"]], strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6, atol=1e-6)


def test_names_that_are_given(tmp_path: Path) -> None:
    options = {"input_names": ["in.put/0"], "output_names": ["out put"]}
    proto = written(nn.ReLU(), tmp_path / "relu.onnx", lucid.spec(2), **options)
    assert [one.name for one in (*proto.graph.input, *proto.graph.output)] == ["in.put/0", "out put"]
    for wrong in (
        {"input_names": ["a", "b"]}, {"output_names": "y"}, {"input_names": [""]}, {"input_names": None},
        {"input_names": ["weight"]}, {"output_names": ["weight"]}, {"input_names": ["a"], "output_names": ["a"]},
    ):  # fmt: skip
        with pytest.raises(OptionError, match="_names"):
            lucid.onnx.export(nn.PReLU(), tmp_path / "other.onnx", lucid.spec(2), **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: lucid.cond(x.sum() > 0, lambda: x.reshape(-1) * x.shape[0], lambda: x.flatten() - 1),
        lambda x: lucid.scan(lambda c, s: (c + s, c * s + x.sum()), lucid.zeros(3), x),
        lambda x: lucid.while_loop(lambda i, y: y.sum() < 100, lambda i, y: (i + 1, y * 2), (lucid.tensor(0), x.abs())),
        lambda x: x[x > 0] * 2,
        lambda x: lucid.unique(x.long(), return_counts=True),
        lambda x: (x, x, x.exp(), x),
        lambda x: x[: x.shape[0] // 2 + 1] * (x.shape[0] - 5),
        lambda x: x.reshape(3, -1).T + np.arange(3, dtype=np.float32),
    ],
)
def test_functions_at_several_sizes(function: Any, tmp_path: Path) -> None:
    back = lucid.onnx.load(written(function, tmp_path / "f.onnx", lucid.spec("N", 3)))
    for rows in (1, 4, 7):
        x = lucid.randn(rows, 3)
        found, wanted = ([one] if isinstance(one, lucid.Tensor) else one for one in (back(x), function(x)))
        for one, other in zip(found, wanted, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)


def test_the_places_of_maxima(tmp_path: Path) -> None:
    def pooled(x: Any, outside: float = -np.inf) -> Any:
        return F.max_pool2d(x, (3, 2), (1, 2), (1, 0), (2, 1), return_indices=True, pad_value=outside)

    with pytest.raises(GraphError, match="padding competes"):
        lucid.onnx.export(lambda x: pooled(x, 0.0), tmp_path / "f.onnx", lucid.spec("N", 2, "H", "W"))
    back = lucid.onnx.load(written(pooled, tmp_path / "f.onnx", lucid.spec("N", 2, "H", "W")))
    for shape in ((1, 2, 6, 5), (3, 2, 9, 8)):
        x = lucid.randn(*shape)
        for one, other in zip(back(x), pooled(x), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(("size", "new"), [(("H", "W"), 1), ((7, 5), (3, 2)), ((2, 3), (3, 4))])
def test_maxima_of_windows_of_several_sizes(size: tuple[Any, Any], new: Any, tmp_path: Path) -> None:
    def pooled(x: Any) -> Any:
        return F.adaptive_max_pool2d(x, new, return_indices=True)

    back = lucid.onnx.load(written(pooled, tmp_path / "f.onnx", lucid.spec("N", 2, *size)))
    for height, width in ((4, 6), (3, 3)) if new == 1 else (size,):
        x = lucid.randint(0, 4, (2, 2, height, width)).float()  # with equal ones
        for found, wanted in zip(back(x), pooled(x), strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    if new != 1:
        with pytest.raises(GraphError, match="depends on a symbolic size: fix that"):
            lucid.onnx.export(pooled, tmp_path / "g.onnx", lucid.spec("N", 2, "H", "W"))


def test_an_image_that_a_runtime_makes_too_small_ends_its_run(tmp_path: Path) -> None:
    def larger(x: Any) -> Any:
        return F.interpolate(x, scale_factor=1.3)

    proto = written(larger, tmp_path / "f.onnx", lucid.spec("N", 1, "H", "W"))
    assert proto.graph.node[-1].op_type == "Reshape"
    x = lucid.randn(1, 1, 90, 7)  # 116 rows by a float32
    np.testing.assert_array_equal(lucid.onnx.load(proto)(x).numpy(), larger(x).numpy())
    proto = written(larger, tmp_path / "f.onnx", lucid.spec("N", 1, 90, 10))
    assert larger(x).shape[2] == 117
    assert not proto.graph.node[-1].input[2]  # no scales, but sizes


def test_an_empty_batch_keeps_its_shape(tmp_path: Path) -> None:
    """A size that is 0 and one that is left cannot both stand in a shape of numbers."""
    specs = lucid.spec("N", "M", 3)
    back = lucid.onnx.load(written(lambda x: x.flatten(1) * 2, tmp_path / "f.onnx", specs))
    for shape in ((0, 2, 3), (2, 0, 3), (2, 4, 3)):
        assert back(lucid.zeros(*shape)).shape == (shape[0], 3 * shape[1])


@pytest.mark.parametrize("part", [slice(None, None, -2), slice(-3, None, -3), slice(None, -4, -1), slice(-2, 0, -1)])
def test_a_slice_backwards_goes_on_to_the_first_element(part: slice, tmp_path: Path) -> None:
    back = lucid.onnx.load(written(lambda x: x[part], tmp_path / "f.onnx", lucid.spec("N", 2)))
    for rows in (4, 5, 6, 7):
        x = lucid.randn(rows, 2)
        np.testing.assert_array_equal(back(x).numpy(), x.numpy()[part])


def test_quotients_of_sizes_are_rounded_down(tmp_path: Path) -> None:
    def scaled(x: Any) -> Any:
        return x * ((x.shape[0] - 8) // x.shape[1]) + (x.shape[0] + 1) // 2

    back = lucid.onnx.load(written(scaled, tmp_path / "f.onnx", lucid.spec("N", "M")))
    for shape in ((1, 2), (3, 4), (9, 2)):
        np.testing.assert_array_equal(back(lucid.ones(*shape)).numpy(), scaled(lucid.ones(*shape)).numpy())


def test_what_a_trace_takes_for_granted_ends_the_run(tmp_path: Path) -> None:
    """For other sizes the graph would be another, and what the file computes would be wrong."""
    proto = written(lambda x: (x[-3:].sum(), x[-3:] * 2), tmp_path / "f.onnx", lucid.spec("N", 2))
    assert any(node.name.startswith("/sizes/") for node in proto.graph.node)
    evaluator = ReferenceEvaluator(proto)
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    total, part = evaluator.run(None, {"x": x})
    np.testing.assert_array_equal(part, x[-3:] * 2)
    assert total == x[-3:].sum()
    with pytest.raises(ValueError, match="cannot reshape"):
        evaluator.run(None, {"x": x[:2]})
    back = lucid.onnx.load(proto)
    np.testing.assert_array_equal(back(x)[1].numpy(), part)
    plain = written(
        nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1)),
        tmp_path / "g.onnx",
        lucid.spec(1, 1, "H", "W"),
    )
    assert not any(node.name.startswith("/sizes/") for node in plain.graph.node)  # it is so of all images


def test_the_least_integers_are_divided(tmp_path: Path) -> None:
    back = lucid.onnx.load(written(lambda a, b: a // b, tmp_path / "f.onnx", *[lucid.spec("N", dtype="int8")] * 2))
    a, b = (
        one.astype(np.int8).ravel() for one in np.meshgrid([-128, -127, -1, 0, 5, 127], [-128, -7, -2, 0, 1, 6, 127])
    )
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(back(a, b).numpy(), a // b)


def test_what_is_drawn_twice_from_one_key_is_refused(tmp_path: Path) -> None:
    def twice(x: Any) -> Any:
        key = random_key(x)
        return tuple(apply(RANDOM_UNIFORM, TypeAttrs((3,), x.type.dtype), key) for _ in range(2))

    with pytest.raises(GraphError, match="drawn twice from one key"):
        lucid.onnx.export(twice, tmp_path / "f.onnx", lucid.spec(3))


def test_random_numbers_are_the_runtimes_own(tmp_path: Path) -> None:
    def drawn(x: Any) -> Any:
        return lucid.rand_like(x), lucid.randn_like(x), F.dropout(lucid.ones_like(x), 0.25, training=True)

    uniform, normal, kept = lucid.onnx.load(written(drawn, tmp_path / "f.onnx", lucid.spec("N", 100)))(
        lucid.zeros(100, 100)
    )
    assert 0 <= uniform.min() < uniform.max() < 1
    assert abs(normal.mean()) < 0.05 > abs(normal.std() - 1)
    assert set(kept.numpy().ravel()) == {0, np.float32(4 / 3)}
    assert abs(kept.mean() - 1) < 0.05


def test_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="texts"):
        lucid.onnx.export(lambda x: lucid.Text(x), tmp_path / "f.onnx", lucid.spec(2, 3, dtype="int32"))
    text = lucid.Text(lucid.spec(2, 3, dtype="int32"))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="takes texts"):
        lucid.onnx.export(lambda x: x.codes + 1, tmp_path / "f.onnx", text)


def test_inputs_need_specs(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"lucid\.spec"):
        lucid.onnx.export(nn.ReLU(), tmp_path / "f.onnx")
