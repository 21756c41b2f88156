"""Runs the cases of the backend suite, and says of each whether it passed, failed or is not supported, and why.

What cannot be the suite's to the last of its digits is told from what failed: where random numbers are drawn, which are
others here, results need its types and shapes; and what is but rounding is less than a millionth of the largest.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

import lucid
from lucid.errors import LucidError

Array = np.ndarray[Any, Any]

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")


class Result(NamedTuple):
    """What became of a case: ``passed``, ``failed``, ``unsupported`` or ``other``, and the reason."""

    kind: str
    name: str
    state: str
    reason: str = ""


@contextmanager
def alone() -> Iterator[None]:
    """No other runtime can be reached: neither the evaluator of the format nor ONNX Runtime."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the reference evaluator was asked")

    hidden = mock.patch.dict(sys.modules, {"onnxruntime": None, "torch": None})
    with mock.patch("onnx.reference.ReferenceEvaluator.__init__", refuse), hidden:
        yield


def results(pattern: str = "") -> list[Result]:
    """What became of every case whose name the pattern is found in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the scripts that make the cases
        cases = [(kind, case) for kind in KINDS for case in load_model_tests(kind=kind)]
    with alone():
        return [run(kind, case) for kind, case in cases if re.search(pattern, case.name)]


def run(kind: str, case: Any) -> Result:
    """What becomes of one case."""
    pairs: list[tuple[list[Any], list[Any]]] = []
    try:
        model, sets = data(case)
        ready = lucid.onnx.backend.prepare(model)
        pairs += [(wanted, list(ready.run(inputs))) for inputs, wanted in sets]
        for wanted, found in pairs:
            _assert_alike(wanted, found, case)
    except LucidError as error:
        return Result(kind, case.name, "unsupported", reason(str(error)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
        if isinstance(error, AssertionError) and (why := _other(model, pairs)):
            return Result(kind, case.name, "other", why)
        words = " ".join(str(error).split()).partition(" Mismatched")[0]  # what follows may be other at each run
        return Result(kind, case.name, "failed", f"{type(error).__name__}: {words[:200]}")
    return Result(kind, case.name, "passed")


def _assert_alike(wanted: list[Any], found: list[Any], case: Any) -> None:
    """As the suite compares; of sequences their arrays, of which the suite compares the rows, which scalars lack."""
    for want, y in zip(wanted, found, strict=True):
        assert isinstance(want, list) == isinstance(y, list)
        pair = (want, y) if isinstance(want, list) else ([want], [y])
        Runner.assert_similar_outputs(*pair, case.rtol, case.atol)


DRAWN = frozenset({"Bernoulli", "Dropout", "RandomUniformLike"})
"""Operators of the suite that draw random numbers."""


def _other(model: onnx.ModelProto, pairs: list[tuple[list[Any], list[Any]]]) -> str:
    """Why results are not those of the suite, and right all the same; nothing where they are wrong."""
    both = [pair for wanted, found in pairs for pair in zip(wanted, found, strict=True)]
    if any((want.shape, want.dtype) != (y.shape, y.dtype) for want, y in both):
        return ""
    if any(node.op_type in DRAWN for node in model.graph.node):
        return "other random numbers are drawn, of the same type and shape"
    size = max(np.abs(want).max() for want, _ in both)
    if all(np.abs(want - y).max() < 1e-6 * size for want, y in both):
        return "what is 0 in the suite is less than a millionth of the largest number"
    return ""


def reason(text: str) -> str:
    """Why a case is not supported, without what is particular to it."""
    first = text.splitlines()[0]
    if "operators that are not supported" in first:
        kinds = re.findall(r"(?:: |; )([\w.]+(?:::\w+)?) \(opset", first)
        return f"operator {kinds[0]}" if kinds else first
    return re.sub(r"\b\w*(?:int|float)\w*\[.*?\]", "…", re.sub(r"-?\d+(?:, -?\d+)*", "…", first))[:120]


def data(case: Any) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    """The model of a case, and pairs of inputs and outputs."""
    if case.data_sets is not None:
        return case.model, [([*map(_array, inputs)], [*map(_array, outputs)]) for inputs, outputs in case.data_sets]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    sets = sorted(folder.glob("test_data_set*"))
    return model, [(_read(one, "input", model.graph.input), _read(one, "output", model.graph.output)) for one in sets]


def _array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _read(folder: Path, what: str, declared: Iterable[Any]) -> list[Any]:
    """The values in a folder, of the types that the model declares."""
    found = []
    for number, one in enumerate(declared):
        path = folder / f"{what}_{number}.pb"
        if not path.exists():
            break
        kind = one.type.WhichOneof("value")
        proto, read = {
            "tensor_type": (onnx.TensorProto(), onnx.numpy_helper.to_array),
            "sequence_type": (onnx.SequenceProto(), onnx.numpy_helper.to_list),
            "optional_type": (onnx.OptionalProto(), onnx.numpy_helper.to_optional),
        }[kind]
        proto.ParseFromString(path.read_bytes())
        found.append(read(proto))
    return found
