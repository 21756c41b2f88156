"""Models as ONNX files in ONNX Runtime, at several sizes of each axis that is not fixed.

Tolerances are those of :mod:`.test_onnxruntime`: sums of products in another order.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotThere

import lucid
from lucid import Tensor, nn
from lucid.formats.onnx.write import file
from lucid.formats.onnx.write.reasons import REASONS
from lucid.formats.onnx.write.versions import USUAL
from lucid.graph.opdef import OpDef
from lucid.graph.ops.pool import MAX_POOL
from lucid.nn import functional as F
from lucid.reference.evaluator import run_reference

from ..draws.arrays import Drawn
from ..nets import NETS, settle
from ..onnx.test_written import written
from ..op_checks import assert_all_close
from ..tensor.test_drawn_shapes import DRAWS

Array = np.ndarray[Any, Any]
RTOL = 1e-4
RARE = frozenset({"float64", "int16", "uint16", "uint32", "uint64"})
"""Element types for which ONNX Runtime lacks many operators."""


def session(model: Any, path: Path, *specs: Any, **options: Any) -> Any:
    """The model's file in ONNX Runtime."""
    lucid.onnx.export(model, path, *specs, **options)
    onnx.checker.check_model(str(path), full_check=True)
    how = onnxruntime.SessionOptions()
    how.log_severity_level, how.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(str(path), how, providers=["CPUExecutionProvider"])


def arrays_of(results: Any) -> list[Array]:
    if isinstance(results, dict):
        results = list(results.values())
    return [one.numpy() for one in (results if isinstance(results, tuple | list) else [results])]


def check(model: Any, path: Path, specs: Sequence[Any], calls: Sequence[Sequence[Array]], **options: Any) -> None:
    """The file computes what the model does, in ONNX Runtime and when it is read again, and has its weights."""
    theirs = session(model, path, *specs, **options)
    back = lucid.onnx.load(path)
    if isinstance(model, nn.Module):
        state = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
        assert set(back.state_dict()) == state
    names = [one.name for one in theirs.get_inputs()]
    for call in calls:
        expected = arrays_of(model(*map(Tensor, call)))
        for found in (theirs.run(None, dict(zip(names, call, strict=True))), arrays_of(back(*call))):
            for one, wanted in zip(found, expected, strict=True):
                assert (one.shape, one.dtype) == (wanted.shape, wanted.dtype)
                if wanted.dtype.kind == "f":
                    np.testing.assert_allclose(
                        one, wanted, rtol=0, atol=RTOL * max(np.abs(wanted).max(initial=0), 1e-6)
                    )
                else:
                    np.testing.assert_array_equal(one, wanted)


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_networks(name: str, tmp_path: Path) -> None:
    net = NETS[name]
    model, x = net.model(), net.batch()
    if x.ndim == 4:
        settle(model, x)
    check(model, tmp_path / "net.onnx", [lucid.spec("N", *x.shape[1:])], [[x[:1]], [np.concatenate([x, x])]])


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "mobilenet"])
def test_networks_on_images_of_any_size(name: str, tmp_path: Path) -> None:
    net = NETS[name]
    model, x = net.model(), net.batch()
    settle(model, x)
    check(model, tmp_path / "net.onnx", [lucid.spec("N", 3, "H", "W")], [[x], [drawn(2, 3, 96, 64)]])


def test_a_mask_of_truth_values_for_any_length(tmp_path: Path) -> None:
    def causal(scores: Any) -> Any:
        length = scores.shape[-1]
        later = lucid.triu(lucid.ones(length, length, dtype=lucid.bool), diagonal=1)
        return scores.masked_fill(later, -1e9).softmax(-1), lucid.where(scores > 0, later, scores < -1)

    calls = [[drawn(2, size, size)] for size in (1, 4, 7)]
    check(causal, tmp_path / "net.onnx", [lucid.spec("N", "T", "T")], calls)


class Encoder(nn.Module):
    """Tokens, their places, a mask of those that are none, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50, 32), nn.Embedding(64, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 50)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.places(lucid.arange(tokens.shape[1]))
        return self.head(self.encoder(x, src_key_padding_mask=tokens == 0))


def test_a_transformer_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    calls = [[rng.integers(1, 50, shape)] for shape in ((2, 7), (1, 12), (0, 3))]
    calls[0][0][0, 5:] = 0
    check(Encoder().eval(), tmp_path / "net.onnx", [lucid.spec("N", "T", dtype="int64")], calls)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind: Any, both: bool, tmp_path: Path) -> None:
    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(8, 16, num_layers=2, batch_first=True, bidirectional=both)
            self.head = nn.Linear(16 * (1 + both), 4)

        def forward(self, x: Any) -> Any:
            y, state = self.rnn(x)
            return self.head(y), state

    class Flat(Layers):
        def forward(self, x: Any) -> Any:
            y, state = super().forward(x)
            return (y, *state) if isinstance(state, tuple) else (y, state)

    check(Flat().eval(), tmp_path / "net.onnx", [lucid.spec("N", "T", 8)], [[drawn(2, 5, 8)], [drawn(1, 9, 8)]])


class Mixed(nn.Module):
    """Windows that hang over, sizes that are halved and doubled, strides, parts, and shapes that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.wide, self.groups = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.GroupNorm(2, 8)

    def forward(self, x: Any) -> Any:
        y = self.groups(self.pool(F.gelu(self.norm(self.conv(x)))))
        n, _, h, w = y.shape
        return {
            "up": self.up(y), "wide": self.wide(y), "half": F.interpolate(y, scale_factor=0.5), "mean": y.mean((2, 3)),
            "tokens": y.flatten(2).transpose(1, 2), "part": y[:, :, ::2, 1:], "last": y[:, :, :, -1],
            "back": y.flip(2), "quads": y.reshape(n, 2, 4, h * w), "size": y[:, 0, 0, 0] * (h // 2 - w),
            "pooled": F.avg_pool2d(y, 3, ceil_mode=True), "most": y.flatten(1).topk(3).indices,
            "around": F.pad(y, (1, 2, 0, 1), mode="reflect"), "where": lucid.where(y > 0, y, y.exp()),
        }  # fmt: skip


def test_shapes_are_computed_in_the_file(tmp_path: Path) -> None:
    calls = [[drawn(2, 3, 17, 20)], [drawn(1, 3, 32, 24)]]
    check(Mixed().eval(), tmp_path / "net.onnx", [lucid.spec("N", 3, "H", "W")], calls)


@pytest.mark.parametrize("opset", [17, 18, 21, 24])
def test_versions_of_the_operators(opset: int, tmp_path: Path) -> None:
    calls = [[drawn(2, 3, 17, 20)]]
    check(Mixed().eval(), tmp_path / "net.onnx", [lucid.spec("N", 3, "H", "W")], calls, opset=opset)


#: Where ONNX Runtime does otherwise, whatever wrote the file, and what.
OTHERWISE = {
    "GRU": "the last state of a sequence without steps is 0",
    "RNN": "the last state of a sequence without steps is 0",
    "LSTM": "the last state of a sequence without steps is 0",
}


@pytest.mark.parametrize(
    "op", [op for op in DRAWS if op.name not in REASONS and op.name not in OTHERWISE], ids=lambda op: op.name
)
def test_ops_on_drawn_operands(op: OpDef) -> None:
    """Those that it has, of numbers: what a NaN or nothing at all becomes, ONNX leaves open."""

    @seed(zlib.crc32(op.name.encode()))
    @given(data=st.data())
    @settings(
        max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    def run(data: st.DataObject) -> None:
        drawn = data.draw(DRAWS[op], op.name)
        if all(array.size and np.isfinite(array).all() for array in drawn.arrays):
            compare(op, drawn)

    run()


def compare(op: OpDef, drawn: Drawn) -> None:
    draft, kept, faults = written(op, drawn, USUAL, [0] if op is MAX_POOL else None)
    if faults:
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        theirs = onnxruntime.InferenceSession(
            file.message(draft, {}).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [one.name for one in theirs.get_inputs()]
        found = theirs.run(None, dict(zip(names, drawn.arrays or [np.zeros((), np.float32)], strict=True)))
    except NotThere:
        assert RARE & {one.dtype.name for one in drawn.arrays}
        return
    except Fail as error:  # which it says of forms of an operator that it does not have, too
        if "only support" not in str(error):
            raise
        return
    with np.errstate(all="ignore"):
        expected = run_reference(op, drawn.attrs, drawn.arrays)
    wanted = [expected[place] for place in kept]
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in wanted]
    assert_all_close(*([narrow(one) for one in side] for side in (found, wanted)), op.name)


def narrow(x: Array) -> Array:
    """Some of its functions of float64 are as exact as of float32."""
    return x.astype(np.float32) if x.dtype == np.float64 else x
