"""Models as ONNX files: what is in them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import lucid
from lucid import nn
from lucid.errors import GraphError, OptionError


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
        lucid.onnx.export(model, tmp_path / "model.onnx", lucid.spec("N", 40), external_data=True)
        onnx.checker.check_model(str(tmp_path / "model.onnx"), full_check=True)
    (beside,) = (one for one in tmp_path.iterdir() if one.suffix == ".data")
    assert beside.stat().st_size >= 40 * 50 * 4 > (tmp_path / "model.onnx").stat().st_size
    x = lucid.randn(3, 40)
    np.testing.assert_array_equal(lucid.onnx.load(tmp_path / "model.onnx")(x).numpy(), model(x).numpy())


def test_what_is_of_training_is_refused(tmp_path: Path) -> None:
    net = lucid.compile(nn.BatchNorm1d(3), lucid.spec("N", 3))
    with pytest.raises(OptionError, match=r"running_mean.*eval\(\)"):
        net.export_onnx(tmp_path / "model.onnx")


def test_the_order_of_pytorch_is_answered(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a model, a path, and then lucid\.spec"):
        lucid.onnx.export(digits(), (lucid.randn(1, 1, 8, 8),), str(tmp_path / "model.onnx"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"'opset_version' is no option \(opset, "):
        lucid.onnx.export(digits(), tmp_path / "model.onnx", lucid.spec("N", 1, 8, 8), opset_version=17)
