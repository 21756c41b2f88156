"""Weight normalisation and spectral normalisation, as PyTorch's older functions ``weight_norm`` and ``spectral_norm``.

Their parameters are registered in the module itself, as ``weight_g`` and ``weight_v``, or ``weight_orig``. New code
should use those of :mod:`lucid.nn.utils.parametrizations`, which share the computations below.
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
"""The number of power iterations with which the singular vectors are initialised."""


def axis_of(what: str, v: Tensor, dim: int | None) -> int:
    """The axis whose slices have a norm each; :data:`WHOLE`, a single norm, for None and (as in PyTorch) -1."""
    if dim is None or dim == WHOLE:
        return WHOLE
    return integer(what, "dim", dim, -v.ndim, v.ndim - 1) % v.ndim


def norms_of(v: Tensor, axis: int) -> Tensor:
    """The norm of each slice along the axis, shaped to broadcast with ``v``; or the norm of the whole."""
    if axis == WHOLE:
        return v.norm()
    others = [other for other in range(v.ndim) if other != axis]
    return v.norm(dim=others, keepdim=True) if others else v.abs()


def with_norms(g: Tensor, v: Tensor, axis: int) -> Tensor:
    """``v`` rescaled so that its norms (:func:`norms_of`) are ``g``."""
    return v * (g / norms_of(v, axis))


def matrix_of(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix with a row for each slice along ``dim``."""
    return (weight.movedim(dim, 0) if dim else weight).flatten(1)


def first_vectors(matrix: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Random unit vectors, from which power iteration finds the first singular vectors of a matrix."""
    rows, columns = matrix.shape
    u, v = (init.normal_(matrix.new_empty(size)) for size in (rows, columns))
    return F.normalize(u, dim=0, eps=eps), F.normalize(v, dim=0, eps=eps)


def power_steps(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float) -> None:
    """Power iteration towards the first singular vectors ``u`` and ``v``, which are updated in place."""
    with no_grad():
        for _ in range(steps):
            u.copy_(F.normalize(matrix.mv(v), dim=0, eps=eps))
            v.copy_(F.normalize(matrix.mT.mv(u), dim=0, eps=eps))


def over_sigma(weight: Tensor, matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """A weight divided by the singular value of its matrix that belongs to the singular vectors."""
    sigma: Tensor = u.clone().dot(matrix.mv(v.clone()))
    return weight / sigma


def default_axis(module: Module, dim: int | None) -> int:
    """The axis of a weight's outputs, unless ``dim`` is given."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


def own_parameters(module: Module) -> dict[str, Parameter]:
    """The parameters of a module, without those of its children."""
    return dict(module.named_parameters(recurse=False))


def weight_of(what: str, module: object, name: object) -> Parameter:
    """The parameter ``name`` of a module; raises if it has none, or one without a shape yet."""
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
    """The checked options of spectral normalisation: the number of power iterations, the axis, and ``eps``."""
    if not weight.ndim:
        raise ShapeError(f"{what}: a scalar has no singular values")
    axis = integer(what, "dim", dim, -weight.ndim, weight.ndim - 1) % weight.ndim
    return integer(what, "n_power_iterations", steps, 1), axis, number(what, "eps", eps, 0)


class _Rule:
    """Base class of the rules of the computed weights."""

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
    """Split a weight into the norm and the direction of each slice, and learn these (Salimans and Kingma, 2016).

    As PyTorch's older function: the parameters are ``weight_g`` and ``weight_v``, and ``weight`` is computed from them.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        The weight's name.
    dim
        The axis whose slices have a norm each; None for one norm of the whole.

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
    """Undo :func:`weight_norm`: the weight becomes a parameter again, with its present value."""
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
        """Update the singular vectors before a forward in training."""
        if module.training:
            matrix = matrix_of(module.get_parameter(f"{self.name}_orig"), self.axis)
            u, v = self._vectors(module)
            power_steps(matrix.mT, v, u, self.steps, self.eps)  # the other first, as PyTorch's older function has it


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value, estimated by power iteration (Miyato et al., 2018).

    As PyTorch's older function: the parameter is ``weight_orig``, the singular vectors are ``weight_u`` and
    ``weight_v``, and ``weight`` is computed from them. In training, each forward first updates the vectors.

    Parameters
    ----------
    module
        The module that has the weight.
    name
        The weight's name.
    n_power_iterations
        The number of steps before each forward.
    eps
        The least norm to divide by.
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
    """Undo :func:`spectral_norm`: the weight becomes a parameter again, with its present value."""
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
