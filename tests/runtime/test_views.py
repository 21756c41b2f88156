"""Views behind views: a program never goes on showing a copy that was made when it was bound."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import lucid
from lucid import nn
from lucid.errors import ExecutionError, GraphError
from lucid.graph.ir import Node
from lucid.graph.opdef import NoAttrs
from lucid.graph.ops.elementwise import RELU
from lucid.graph.types import TensorType, float32
from lucid.nn import functional as F
from lucid.runtime.planning.phase import Phase
from lucid.runtime.program.emitter import Emitter, Operand
from lucid.runtime.program.names import Names
from lucid.runtime.program.views import COPIES, as_view, strided

ROOM = Path(lucid.__file__).parent / "runtime" / "kernels"
KERNELS = sorted(ROOM.rglob("*.py"))

VIEWS: dict[str, Callable[[Any], Any]] = {
    "crop": lambda t: t[:, :, 1:-1, 1:-1],
    "every second row": lambda t: t[:, :, ::2],
    "flip": lambda t: t.flip(2, 3),
    "narrow": lambda t: t.narrow(1, 1, 4),
    "turned": lambda t: t.transpose(2, 3),
    "permuted": lambda t: t.permute(3, 0, 1, 2)[:4].permute(1, 0, 2, 3),
    "expanded": lambda t: t[:, :1].expand(-1, 4, -1, -1),
    "chunk": lambda t: t.chunk(2, 3)[1],
    "squeezed": lambda t: t.unsqueeze(0).flip(4).squeeze(0),
    "an axis of a crop that becomes two": lambda t: t[:, 0, 1:7].reshape(3, 2, 3, 8),
    "axes of one number of a turned crop": lambda t: t[:, :1].transpose(0, 2).reshape(1, 8, 3, 8),
    "reshape of a view": lambda t: t.transpose(0, 1).reshape(3, 6, 8, 8).transpose(0, 1)[:, 1:],
}
CONVOLUTIONS: dict[str, Callable[[int], nn.Module]] = {
    "1x1": lambda c: nn.Conv2d(c, 4, 1),
    "1x1 strided": lambda c: nn.Conv2d(c, 4, 1, 2),
    "3x3": lambda c: nn.Conv2d(c, 4, 3, padding=1),
    "depthwise": lambda c: nn.Conv2d(c, c, 3, groups=c),
    "transposed": lambda c: nn.ConvTranspose2d(c, 3, 2, 2),
    "transposed 1x1": lambda c: nn.ConvTranspose2d(c, 3, 1),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_convolution_of_a_view_of_what_was_computed(convolution: str, view: str, exact: bool) -> None:
    lucid.manual_seed(0)
    conv = CONVOLUTIONS[convolution](VIEWS[view](lucid.zeros(3, 6, 8, 8)).shape[1]).eval()

    def f(t: Any) -> Any:
        return conv(VIEWS[view](t.relu()))

    compiled = lucid.compile(f, exact=exact)
    for _ in range(2):
        x = lucid.randn(3, 6, 8, 8)
        np.testing.assert_allclose(compiled(x).numpy(), f(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("view", VIEWS)
def test_the_gradient_that_comes_in_is_a_view(view: str) -> None:
    lucid.manual_seed(0)
    conv, after = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 3, 3)

    def f(t: Any) -> Any:
        return (VIEWS[view](conv(t)) ** 2).sum() + (after(F.pad(conv(t), (1, 1, 1, 1))) ** 2).sum()

    x, gradients = lucid.randn(3, 2, 8, 8), []
    for model in (f, lucid.compile(f)):
        model(x).backward()
        gradients.append([p.grad.numpy().copy() for p in (*conv.parameters(), *after.parameters())])
        conv.zero_grad(), after.zero_grad()
    for want, got in zip(*gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_a_filled_or_expanded_target_of_a_cross_entropy() -> None:
    x = lucid.rand(3, 4) * 0.9 + 0.05
    for target in (lambda t: lucid.ones_like(t), lambda t: t[:, :1].expand(3, 4)):

        def f(t: Any, target: Callable[[Any], Any] = target) -> Any:
            return F.binary_cross_entropy(t, target(t))

        results = []
        for model in (f, lucid.compile(f)):
            t = lucid.tensor(x, requires_grad=True)
            y = model(t)
            y.backward()
            results.append((y.numpy(), t.grad.numpy()))
        for want, got in zip(*results, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- by construction


def test_as_view_raises_rather_than_copy() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    as_view(x, 6, 4)[0, 0] = 7
    assert x[0, 0, 0] == 7
    assert as_view(x.transpose(1, 0, 2)[:, :, ::2], 3, 2, 1, 2).shape == (3, 2, 1, 2)
    assert as_view(x[:0], 0, 12).shape == (0, 12)
    for other in (x.transpose(1, 0, 2), x[:, 1:], np.broadcast_to(x[:, :1], x.shape)):
        with pytest.raises(ExecutionError, match="cannot be seen in shape"):
            as_view(other, -1)


def test_strides_are_of_the_same_memory() -> None:
    whole = np.arange(60.0).reshape(3, 4, 5)
    for array in (whole, whole[1:], whole[:, 1:], whole[..., ::2], whole.transpose(2, 0, 1)):
        shape, strides = (2, 2, 2), (*array.strides[1:], array.strides[2])
        found = strided(array, shape, strides)
        assert np.shares_memory(found, whole)
        np.testing.assert_array_equal(found, as_strided(array, shape, strides))


def _emitter(phase: Phase) -> tuple[Emitter, Operand]:
    type_ = TensorType((2, 3), float32)
    x, y = Operand("x", type_, phase), Operand("y", type_, Phase.ARENA)
    return Emitter(Node(RELU, NoAttrs(), (type_,)), "t", Names(), [x], [y]), x


@pytest.mark.parametrize("copy", COPIES)
def test_a_kernel_cannot_bind_what_may_be_a_copy(copy: str) -> None:
    for phase in (Phase.STATE, Phase.ARENA):
        k, x = _emitter(phase)
        with pytest.raises(GraphError, match="is bound once"):
            k.view(x, f"{x}{copy}6)", (6,))
        with pytest.raises(GraphError, match="is bound once"):
            k.alias(0, f"{x}{copy}6)")
    k, x = _emitter(Phase.CALL)
    k.view(x, f"{x}{copy}6)", (6,))


COMPUTE = {
    ("pool/average.py", "_divisors"): "constants, while the plan is made",
    ("pool/average_views.py", "windows_arg_max"): "called at each run",
    ("calls.py", "add_along_axis"): "called at each run",
    ("calls.py", "add_rows"): "called at each run",
    ("calls.py", "set_in_order"): "called at each run",
    ("calls.py", "_unsorted"): "called at each run",
    ("recurrent/functions.py", "rounded"): "called at each run",
    ("recurrent/layer.py", "valid"): "constants",
    ("activation_calls.py", "_parts"): "called at each run",
    ("shared/cache_lines.py", "apart"): "called where weights are packed",
    ("tree_calls.py", "leaves_of_trees"): "called at each run",
    ("resize.py", "along"): "constants",
    ("resize.py", "_gather"): "constants",
    ("conv/space_to_depth_views.py", "transform_strided_weights"): "called where weights are packed",
    ("conv/weights_views.py", "pack_weights"): "called where weights are packed",
    ("conv/weights_views.py", "transform_weights"): "called where weights are packed",
}
"""Functions of the kernels that copy values on purpose, when they are wanted."""

RESHAPES = {"reshape", "ravel", "flatten", "ascontiguousarray", "asfortranarray", "require", "resize"}


def _copies(path: Path) -> Iterator[tuple[str, int]]:
    """Calls that may copy, with the function they stand in."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            inside = child.name if isinstance(child, ast.FunctionDef) else function
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in RESHAPES:
                yield inside, child.lineno
            yield from walk(child, inside)

    yield from walk(ast.parse(path.read_text()), "")


def test_no_kernel_binds_a_copy() -> None:
    """What helpers of kernels do to arrays when a program is bound goes through ``as_view``."""
    found = {
        (path.relative_to(ROOM).as_posix(), function): line for path in KERNELS for function, line in _copies(path)
    }
    assert {place: line for place, line in found.items() if place not in COMPUTE} == {}
    assert set(COMPUTE) <= set(found), "listed here, and gone"
