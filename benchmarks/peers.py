"""The contestants: Lucid and those it is measured against, behind one interface.

All compute in single precision on the same number of cores, with the same weights and the same input, each in the way
that suits it best: OpenVINO keeps its input and output bound, PyTorch runs in inference mode, its
channels-last form is given an input that is laid out so beforehand, and its compiler packs the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from torch import nn as tn

import lucid
from cases import Case
from lucid import nn
from onnx_twin import onnx_bytes
from twins import calibrate, twin

Array = np.ndarray[Any, Any]


class UnsupportedError(Exception):
    """What a contestant has no means for, in words for the table."""


class Ready:
    """A case with its weights and inputs: what every contestant starts from.

    Attributes
    ----------
    module
        Lucid's module, in evaluation mode unless the case has a backward run.
    x
        The input, float32.
    alone
        One contestant only will use this: it may have the twin itself instead of a copy.
    """

    def __init__(self, case: Case, alone: bool = False) -> None:
        self.case = case
        self.alone = alone
        lucid.manual_seed(0)
        torch.manual_seed(0)
        self.module: nn.Module = case.build().eval()
        calibrate(self.module, case.shape)
        self.module.eval().requires_grad_(False)
        self.x: Array = np.random.default_rng(0).standard_normal(case.shape).astype(np.float32)

    @cached_property
    def torch(self) -> tn.Module:
        """The PyTorch twin, in evaluation mode."""
        return twin(self.module)

    def own_torch(self) -> tn.Module:
        """A twin that may be changed."""
        return self.torch if self.alone else copy.deepcopy(self.torch)

    @cached_property
    def onnx(self) -> bytes:
        """The ONNX twin."""
        traced = lucid.compile(self.module, lucid.spec(*self.case.shape)).traced
        return onnx_bytes(traced, self.module.state_dict())

    @cached_property
    def dy(self) -> Array:
        """The gradient that a backward run starts from."""
        shape = tuple(self.torch(torch.from_numpy(self.x)).shape)
        return np.random.default_rng(2).standard_normal(shape).astype(np.float32)

    @cached_property
    def expected(self) -> list[Array]:
        """The results in float64: the output, and the gradient of the input where there is a backward run."""
        model = self.own_torch().double()
        run = _torch_run(
            model, torch.from_numpy(self.x).double(), self._seed().double() if self.case.backward else None
        )
        with mode(self.case):
            return [t.detach().numpy() for t in run()]

    def present(self, needs: Sequence[str]) -> None:
        """Make these attributes now, so that no contestant's set-up pays for them."""
        for name in needs:
            getattr(self, name)

    def _seed(self) -> torch.Tensor:
        return torch.from_numpy(self.dy)


@dataclass(frozen=True)
class Contestant:
    """One way to run a case.

    Attributes
    ----------
    name
        In the tables.
    prepare
        Makes a function that runs once and returns something.
    output
        Makes arrays of that: the result, and the gradient of the input where there is one.
    ours
        Whether it is Lucid.
    groups
        The groups of cases it takes part in; all when empty.
    needs
        What of :class:`Ready` it starts from, besides the module and the input.
    """

    name: str
    prepare: Callable[[Ready], Callable[[], Any]]
    output: Callable[[Any], list[Array]]
    ours: bool = False
    groups: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def mode(case: Case) -> AbstractContextManager[Any]:
    """What PyTorch runs under."""
    return nullcontext() if case.backward else torch.inference_mode()


def _there_and_back(model: Callable[..., Any], leaf: Any, dy: Any) -> Callable[[], Any]:
    """What runs a model forward and backward, Lucid's or PyTorch's."""

    def both() -> Any:
        leaf.grad = None
        y = model(leaf)
        y.backward(dy)
        return y, leaf.grad

    return both


# ---------------------------------------------------------------- Lucid


def _lucid(ready: Ready, x: Array, **options: Any) -> Callable[[], Any]:
    if not ready.case.backward:
        net = lucid.compile(ready.module.eval(), **options)
        return lambda: (net(x),)
    module = ready.case.build().train()
    module.load_state_dict(ready.module.state_dict())
    net = lucid.compile(module, **options)
    return _there_and_back(net, lucid.Tensor(x, requires_grad=True), lucid.Tensor(ready.dy))


def _channels_last(x: Array) -> Array:
    """The same values with the channels innermost in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _lucid_arrays(results: Any) -> list[Array]:
    return [np.array(y.detach().numpy()) for y in results]


# ---------------------------------------------------------------- the C++ runtimes


def _onnxruntime(ready: Ready) -> Callable[[], Any]:
    if ready.case.backward:
        raise UnsupportedError("has no backward run")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = lucid.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(ready.onnx, options, providers=["CPUExecutionProvider"])
    given = {"x": ready.x}
    return lambda: session.run(None, given)


def _openvino(ready: Ready) -> Callable[[], Any]:
    if ready.case.backward:
        raise UnsupportedError("has no backward run")
    core = openvino.Core()
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": lucid.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",  # where the processor has bfloat16 it would be the default
    }
    request = core.compile_model(core.read_model(ready.onnx), "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(ready.x, shared_memory=True))
    output = request.get_output_tensor()

    def run() -> Any:
        request.infer()
        return [output.data]

    return run


def _copies(results: Any) -> list[Array]:
    return [np.array(y) for y in results]


# ---------------------------------------------------------------- PyTorch


def _torch_run(model: Callable[..., Any], x: torch.Tensor, dy: torch.Tensor | None) -> Callable[[], Any]:
    if dy is None:
        return lambda: (model(x),)
    return _there_and_back(model, x.requires_grad_(), dy)


def _torch(ready: Ready, channels_last: bool = False, compiled: bool = False) -> Callable[[], Any]:
    torch.set_num_threads(lucid.get_num_threads())
    model = ready.own_torch()
    x = torch.from_numpy(ready.x.copy())
    dy = torch.from_numpy(ready.dy) if ready.case.backward else None
    if channels_last:
        if x.ndim != 4:
            raise UnsupportedError("takes images only")
        layout = torch.channels_last
        model, x = model.to(memory_format=layout), x.contiguous(memory_format=layout)  # type: ignore[call-overload]
        dy = None if dy is None else dy.contiguous(memory_format=layout)
    if not compiled:
        return _torch_run(model, x, dy)
    # freezing packs the weights and folds BatchNorm into them, as the other runtimes do
    options = None if ready.case.backward else {"freezing": True}
    return _torch_run(torch.compile(model, options=options), x, dy)


def _torch_arrays(results: Any) -> list[Array]:
    return [np.array(y.detach().numpy()) for y in results]


LUCID, TORCH_COMPILE = "Lucid", "torch.compile"

CONTESTANTS: tuple[Contestant, ...] = (
    Contestant(LUCID, lambda r: _lucid(r, r.x), _lucid_arrays, True),
    Contestant("Lucid exact", lambda r: _lucid(r, r.x, exact=True), _lucid_arrays, True, ("net", "block")),
    Contestant("Lucid NHWC input", lambda r: _lucid(r, _channels_last(r.x)), _lucid_arrays, True, ("pool",)),
    Contestant("ONNX Runtime", _onnxruntime, _copies, needs=("onnx",)),
    Contestant("OpenVINO", _openvino, _copies, needs=("onnx",)),
    Contestant("PyTorch", _torch, _torch_arrays, needs=("torch",)),
    Contestant("PyTorch channels-last", lambda r: _torch(r, channels_last=True), _torch_arrays, needs=("torch",)),
    Contestant(TORCH_COMPILE, lambda r: _torch(r, compiled=True), _torch_arrays, needs=("torch",)),
)


def contestants(skip: Sequence[str] = ()) -> list[Contestant]:
    """All of them but those whose name contains one of the strings; Lucid itself always takes part."""
    return [c for c in CONTESTANTS if c.name == LUCID or not any(text.lower() in c.name.lower() for text in skip)]
