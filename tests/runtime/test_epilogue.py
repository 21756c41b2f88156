"""What follows a product: kernels of activations are what they are declared to be."""

from __future__ import annotations

import numpy as np
import pytest

import lucid.runtime.eager  # noqa: F401  # kernels register
from lucid.graph.ir import Node
from lucid.graph.opdef import NoAttrs, OpDef, all_ops
from lucid.graph.ops.bits import BIT_CAST
from lucid.graph.ops.bounds import ClipAttrs
from lucid.graph.ops.elementwise import NOT, AlphaAttrs, CastAttrs, GeluAttrs, SoftplusAttrs
from lucid.graph.ops.nonelementary import BesselAttrs, PolygammaAttrs
from lucid.graph.ops.rounding import RoundToAttrs
from lucid.graph.types import DType, TensorType, float32, float64
from lucid.reference import run_reference
from lucid.runtime.kernels.activation_calls import PART
from lucid.runtime.planning.phase import Phase
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.emitter import Emitter, Operand
from lucid.runtime.program.names import Names

ATTRS = {
    "BesselI": (BesselAttrs(0), BesselAttrs(1, scaled=True)),
    "Cast": (CastAttrs(float32),),
    "Clip": (ClipAttrs(-0.5, 0.5), ClipAttrs(None, 6.0), ClipAttrs(0.0, None)),
    "LeakyRelu": (AlphaAttrs(0.2), AlphaAttrs(-1.0), AlphaAttrs(0.0), AlphaAttrs(3.0)),
    "Elu": (AlphaAttrs(1.0), AlphaAttrs(0.5)),
    "Gelu": (GeluAttrs(), GeluAttrs("tanh")),
    "Polygamma": (PolygammaAttrs(1),),
    "RoundTo": (RoundToAttrs("float16"), RoundToAttrs("bfloat16"), RoundToAttrs("float8_e4m3fnuz", saturate=True)),
    "Softplus": (SoftplusAttrs(),),
}
ACTIVATIONS = [op for op in all_ops() if op.elementwise and op.inputs == ("x",) and op not in (NOT, BIT_CAST)]
"""What a layer of floats may end with."""


@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.name)
def test_a_kernel_that_may_run_in_place_does(op: OpDef) -> None:
    """It says that the result may take the place of the input, and asks for no memory that depends on its shape."""
    kernels = lowerings(op)
    assert kernels
    for attrs in ATTRS.get(op.name, (NoAttrs(),)):
        for dtype in (float32, float64):
            type_ = TensorType((2, 3), dtype)
            outputs = op.infer_types(attrs, [type_])
            x, y = (Operand(name, type_, Phase.CALL, contiguous=False) for name in "xy")
            for kernel in kernels:
                k = Emitter(Node(op, attrs, outputs), "node", Names(), [x], [y])
                kernel.emit(k)
                if outputs[0].dtype == dtype:
                    alike = all(b.shape[-1] == PART for b in k.buffers)
                    assert kernel.in_place == ((0, 0) in k.overwritable and alike)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("op", ACTIVATIONS, ids=lambda op: op.name)
def test_it_does_so_on_numbers_that_lie_apart(op: OpDef, dtype: DType) -> None:
    """As a layer's results do where a group has few of them: NumPy's negative is wrong for some distances."""
    type_, numbers = TensorType((40,), dtype), np.random.default_rng(0).uniform(-0.9, 0.9, (40, 20)).astype(dtype.name)
    for attrs in ATTRS.get(op.name, (NoAttrs(),)):
        (made,) = op.infer_types(attrs, [type_])
        for kernel in (kernel for kernel in lowerings(op) if kernel.in_place and made.dtype == dtype):
            x = Operand("x", type_, Phase.CALL, contiguous=False)
            k = Emitter(Node(op, attrs, (made,)), "node", names := Names(), [x], [x])
            kernel.emit(k)
            memory = {b.name: np.empty(b.shape, dtype.name) for b in k.buffers}
            with np.errstate(all="ignore"):
                (expected,) = run_reference(op, attrs, [numbers[:, 0]])
                for step in range(1, numbers.shape[1] + 1):
                    apart = numbers.reshape(-1)[: 40 * step].copy()[::step]
                    apart[...] = numbers[:, 0]
                    for statement in k.code.run:
                        exec(statement.text, {**names.namespace, **memory, "np": np, "x": apart})
                    np.testing.assert_allclose(apart, expected, rtol=1e-5, err_msg=f"{attrs}, {step} apart")
