"""Weights with a norm of their own, and weights divided by their largest singular value.

The older functions of PyTorch for both: their parameters stand in the module itself, under ``weight_g`` and
``weight_v``, or ``weight_orig``. In new code :mod:`lucid.nn.utils.parametrizations` has the same.
"""

from __future__ import annotations

from typing import TypeVar

from ...base.checks import integer, number
from ...errors import OptionError, ShapeError
from ...tensor.grad_mode import no_grad
from ...tensor.tensor import Tensor
from .. import functional as F
from .. import init
from ..computed import drop_rule, rules_of, set_rule
from ..conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Handle, Module
from ..parameter import Parameter, Unsettled

M = TypeVar("M", bound=Module)

WHOLE = -1
"""In place of an axis: one norm for the whole weight."""
FIRST_STEPS = 15
"""With how many steps the singular vectors begin."""


def axis_of(what: str, v: Tensor, dim: int | None) -> int:
    """The axis along which a weight has a norm each; for None, as for PyTorch's -1, it has one."""
    if dim is None or dim == WHOLE:
        return WHOLE
    return integer(what, "dim", dim, -v.ndim, v.ndim - 1) % v.ndim


def norms_of(v: Tensor, axis: int) -> Tensor:
    """The norm of each part along the axis, of a shape to multiply with; or that of all."""
    if axis == WHOLE:
        return v.norm()
    others = [other for other in range(v.ndim) if other != axis]
    return v.norm(dim=others, keepdim=True) if others else v.abs()


def with_norms(g: Tensor, v: Tensor, axis: int) -> Tensor:
    """The directions of ``v`` with norms ``g``."""
    return v * (g / norms_of(v, axis))


def matrix_of(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix with a row for each part along an axis."""
    return (weight.movedim(dim, 0) if dim else weight).flatten(1)


def first_vectors(matrix: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Guesses of the first singular vectors of a matrix."""
    rows, columns = matrix.shape
    u, v = (init.normal_(matrix.new_empty(size)) for size in (rows, columns))
    return F.normalize(u, dim=0, eps=eps), F.normalize(v, dim=0, eps=eps)


def power_steps(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float) -> None:
    """Come nearer to the first singular vectors, in place."""
    with no_grad():
        for _ in range(steps):
            u.copy_(F.normalize(matrix.mv(v), dim=0, eps=eps))
            v.copy_(F.normalize(matrix.mT.mv(u), dim=0, eps=eps))


def over_sigma(weight: Tensor, matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A weight divided by the singular value that the vectors tell."""
    sigma: Tensor = u.clone().dot(matrix.mv(v.clone()))
    return weight / sigma


def default_axis(module: Module, dim: int | None) -> int:
    """The axis of a weight's outputs."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


def own_parameters(module: Module) -> dict[str, Parameter]:
    """Those of a module itself."""
    return dict(module.named_parameters(recurse=False))


def weight_of(what: str, module: object, name: object) -> Parameter:
    """The parameter of a module, to be computed from others from here on."""
    if not isinstance(module, Module):
        raise OptionError(f"{what}: takes a module, got {type(module).__name__}")
    own = own_parameters(module)
    found = own.get(name) if isinstance(name, str) else None
    if found is None:
        raise OptionError(f"{what}: {type(module).__name__} has no parameter {name!r}, only {list(own)}")
    if isinstance(found, Unsettled):
        raise OptionError(f"{what}: the shape of {name!r} is not known yet: call the module once, then {what}")
    return found


def spectral_numbers(what: str, weight: Tensor, steps: object, dim: int, eps: object) -> tuple[int, int, float]:
    """The options of a spectral norm: how many steps, the axis, the least norm."""
    if not weight.ndim:
        raise ShapeError(f"{what}: a scalar has no singular values")
    axis = integer(what, "dim", dim, -weight.ndim, weight.ndim - 1) % weight.ndim
    return integer(what, "n_power_iterations", steps, 1), axis, number(what, "eps", eps, 0)


class _Rule:
    """What the rules of both have in common: the name of the attribute."""

    def __init__(self, name: str) -> None:
        self.name = name

    def assign(self, module: Module, value: object) -> None:
        raise OptionError(
            f"{type(module).__name__}: {self.name!r} is computed, so it cannot be set; set what it is computed from"
        )


class _WeightNorm(_Rule):
    def __init__(self, name: str, axis: int) -> None:
        super().__init__(name)
        self.axis = axis

    def compute(self, module: Module) -> Tensor:
        g, v = (module.get_parameter(f"{self.name}_{letter}") for letter in "gv")
        return with_norms(g, v, self.axis)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn the norm of each part of a weight, and its direction, as parameters of their own.

    As PyTorch's older function: the parameters are ``weight_g`` and ``weight_v``, and ``weight`` is computed from them.

    Parameters
    ----------
    module
        What has the weight.
    name
        The weight's name.
    dim
        The axis along which each part has a norm; None for one norm of the whole.

    Returns
    -------
    The module itself.
    """
    weight = weight_of("weight_norm", module, name)
    axis = axis_of("weight_norm", weight, dim)
    delattr(module, name)
    with no_grad():
        module.register_parameter(f"{name}_g", Parameter(norms_of(weight, axis)))
    module.register_parameter(f"{name}_v", weight)
    set_rule(module, name, _WeightNorm(name, axis))
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Take :func:`weight_norm` back: the weight stays what it is, as one parameter."""
    return _removed("remove_weight_norm", module, name, _WeightNorm, ("g", "v"))


class _SpectralNorm(_Rule):
    def __init__(self, name: str, steps: int, axis: int, eps: float) -> None:
        super().__init__(name)
        self.steps, self.axis, self.eps = steps, axis, eps
        self.handle: Handle | None = None

    def _vectors(self, module: Module) -> tuple[Tensor, Tensor]:
        return module.get_buffer(f"{self.name}_u"), module.get_buffer(f"{self.name}_v")

    def compute(self, module: Module) -> Tensor:
        weight = module.get_parameter(f"{self.name}_orig")
        return over_sigma(weight, matrix_of(weight, self.axis), *self._vectors(module))

    def __call__(self, module: Module, args: object) -> None:
        """Before each forward of training."""
        if module.training:
            matrix = matrix_of(module.get_parameter(f"{self.name}_orig"), self.axis)
            u, v = self._vectors(module)
            power_steps(matrix.mT, v, u, self.steps, self.eps)  # the other first, as PyTorch's older function has it


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value, which steps of a power iteration before each forward follow.

    As PyTorch's older function: the parameter is ``weight_orig``, the singular vectors are ``weight_u`` and
    ``weight_v``, and ``weight`` is computed from them. They are followed in training only.

    Parameters
    ----------
    module
        What has the weight.
    name
        The weight's name.
    n_power_iterations
        How many steps each forward takes.
    eps
        Least norm that is divided by.
    dim
        The axis of the outputs, 0 by default (1 of transposed convolutions).

    Returns
    -------
    The module itself.
    """
    weight = weight_of("spectral_norm", module, name)
    numbers = spectral_numbers("spectral_norm", weight, n_power_iterations, default_axis(module, dim), eps)
    rule = _SpectralNorm(name, *numbers)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    with no_grad():
        vectors = first_vectors(matrix_of(weight, rule.axis), rule.eps)
    for letter, vector in zip("uv", vectors, strict=True):
        module.register_buffer(f"{name}_{letter}", vector)
    rule.handle = module.register_forward_pre_hook(rule)
    set_rule(module, name, rule)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Take :func:`spectral_norm` back: the weight stays what it is, as one parameter."""
    return _removed("remove_spectral_norm", module, name, _SpectralNorm, ("orig", "u", "v"))


def _removed(what: str, module: M, name: str, kind: type[_Rule], parts: tuple[str, ...]) -> M:
    rule = rules_of(module).get(name) if isinstance(module, Module) else None
    if not isinstance(rule, kind):
        raise OptionError(f"{what}: {name!r} of {type(module).__name__} has no such norm")
    with no_grad():
        weight = getattr(module, name).detach().clone()
    if isinstance(rule, _SpectralNorm) and rule.handle is not None:
        rule.handle.remove()
    drop_rule(module, name)
    for part in parts:
        delattr(module, f"{name}_{part}")
    module.register_parameter(name, Parameter(weight))
    return module
