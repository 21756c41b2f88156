"""The backend interface of the ``onnx`` package (``onnx.backend.base``): models run compiled.

Models whose shapes depend on data run uncompiled.

>>> import lucid.onnx.backend as backend
>>> outputs = backend.prepare(model).run([x])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ..base.texts import as_texts, is_array_of_texts
from ..compiler.entry import compile
from ..errors import LucidError, OptionError, TraceError
from ..formats.onnx.model import Array
from ..formats.onnx.reader import NEWEST, tensor_of
from ..graph.maps import Maps, Row
from ..graph.texts import Text
from ..graph.types import DTYPES, widened
from ..tensor.grad_mode import no_grad
from ..tensor.tensor import Tensor
from .module import OnnxModel, check, load

Output: TypeAlias = "Array | list[Array] | list[Row] | None"
"""An array; a list of arrays (or of scores by label) for a sequence; None for an absent value."""

__all__ = ["LucidBackend", "LucidRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class LucidRep(BackendRep):
    """A model that is ready to run.

    Attributes
    ----------
    model
        The model as a module.
    """

    def __init__(self, model: OnnxModel, graph: onnx.GraphProto) -> None:
        self.model = model
        declared = [tensor_of(one.type)[0].elem_type for one in graph.output]
        self._dtypes = [np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else None for kind in declared]
        self._many = {one.name for one in graph.input if tensor_of(one.type)[1]}
        self._compiled = compile(model)

    def run(self, inputs: object, **kwargs: object) -> tuple[Output, ...]:
        """The outputs for inputs in the file's order, or by name; a single input may be given without a list.

        Returns
        -------
        Arrays, by position or by the names in the file.
        """
        names = self.model.input_names
        if isinstance(inputs, Mapping):
            given = dict(inputs)
        else:
            several = inputs if isinstance(inputs, list | tuple) else [inputs]
            if len(several) > len(names):
                raise OptionError(f"{self.model.source}: expected {len(names)} inputs, got {len(several)}")
            given = dict(zip(names, several, strict=False))
        values = {name: self._value(name, value) for name, value in given.items()}
        with no_grad():
            try:
                found = self._compiled(**values)
            except TraceError:  # what data decides of its shapes is not the same for all inputs
                found = self.model(**values)
        outputs = found if isinstance(found, tuple) else (found,)
        results = [self._result(y, i) for i, y in enumerate(outputs)]
        make: Callable[..., tuple[Output, ...]] = namedtupledict("Outputs", self.model.output_names)
        return make(*results)

    def _result(self, y: object, number: int) -> Output:
        """An output as an array, or a list of arrays; None for an absent one."""
        if isinstance(y, Maps):
            return list(y)
        if isinstance(y, list):
            return [self._declared(np.asarray(one.numpy()), number) for one in y]
        return self._declared(np.asarray(y.numpy()), number) if isinstance(y, Tensor | Text) else None

    def _declared(self, y: Array, number: int) -> Array:
        """A result as the type that the file declares, if it is computed with as a wider one."""
        dtype = self._dtypes[number] if number < len(self._dtypes) else None
        return y if dtype is None or dtype.name in DTYPES else y.astype(dtype)

    def _value(self, name: str, value: object) -> object:
        """An input as the model takes it: a list is a sequence, and an optional input may be None."""
        if value is None:
            return None
        if isinstance(value, list) and name in self._many:
            return [self._tensor(name, one) for one in value]
        return self._tensor(name, value)

    def _tensor(self, name: str, value: object) -> object:
        """An input as numbers if shapes depend on it, otherwise as an array."""
        if is_array_of_texts(value):
            return as_texts(value)
        if not isinstance(value, np.ndarray | np.generic | int | float):
            raise LucidError(f"{self.model.source}: the input {name!r} is no tensor, which is not supported")
        array = widened(np.asarray(value))
        return _numbers(array.tolist()) if name in self.model.shape_inputs else array


def _numbers(nested: object) -> object:
    """Nested lists as nested tuples."""
    return tuple(map(_numbers, nested)) if isinstance(nested, list) else nested


class LucidBackend(Backend):
    """Runs ONNX models by compiling them."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: object) -> bool:
        """Whether every operator of the model is supported."""
        return cls.supports_device(device) and not check(model)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: object) -> LucidRep:
        """A model that is ready to run."""
        if not cls.supports_device(device):
            raise OptionError(f"there is no device {device!r}: everything runs on the processor, CPU")
        return LucidRep(load(model), model.graph)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: object, device: str = "CPU", **kwargs: object
    ) -> tuple[Output, ...]:
        """The outputs of a model."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Sequence[Array], device: str = "CPU",
        outputs_info: object = None, **kwargs: object,
    ) -> tuple[Output, ...]:  # fmt: skip
        """The outputs of a single node; ``opset_version`` is the version of its operator."""
        arrays = [np.asarray(one) for one in inputs]
        names = [name for name in node.input if name]
        newest = min(NEWEST, onnx.defs.onnx_opset_version())
        version = int(str(kwargs.get("opset_version", newest)))
        declared = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in zip(names, arrays, strict=True)
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", declared, outputs)
        opsets = [onnx.helper.make_opsetid("", version)]
        if node.domain:
            opsets.append(onnx.helper.make_opsetid(node.domain, 1))
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=opsets), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device exists: only the CPU does."""
        return device.split(":")[0] == "CPU"


is_compatible = LucidBackend.is_compatible
prepare = LucidBackend.prepare
run_model = LucidBackend.run_model
run_node = LucidBackend.run_node
supports_device = LucidBackend.supports_device
