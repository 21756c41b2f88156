"""Parameters and buffers that are computed from others, by modules that are registered for them.

The names are PyTorch's, and so are the paths of what a state dict holds: ``parametrizations.weight.original``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ...base.absent import PARAMETRIZE, face
from ...base.checks import flag, shown
from ...errors import DTypeError, OptionError, ShapeError
from ...graph.trace import active_trace
from ...tensor.grad_mode import no_grad
from ...tensor.tensor import Tensor
from ..computed import class_before, drop_rule, rules_of, set_rule
from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter, Unsettled


class ParametrizationList(ModuleList):
    """The modules that compute a parametrised tensor, and the parameters or buffers that they compute it from.

    The latter is ``original``, or ``original0``, ``original1``, … if the first module takes several tensors. Such
    a list is made when a parametrisation is registered.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            inner = _undone(self, original)
        self.is_tensor = isinstance(inner, Tensor)
        self.ntensors = 1 if isinstance(inner, Tensor) else len(inner)
        if isinstance(inner, Tensor):
            _check_type("right_inverse", inner, original)
            if inner is not original:
                original.data = inner.detach().clone()
            _enter(self, "original", original)
        else:
            for number, tensor in enumerate(inner):
                held = tensor.detach().clone()
                kept = Parameter(held, original.requires_grad) if isinstance(original, Parameter) else held
                _enter(self, f"original{number}", kept)

    def originals(self) -> list[Tensor]:
        """The tensors that the parametrised one is computed from."""
        return [getattr(self, name) for name in self._names()]

    def _older_names(self, path: str) -> Iterable[tuple[str, str]]:
        before, here, name = path.rpartition("parametrizations.")
        suffixes = getattr(self[0], "older", ()) if here else ()
        return [(f"{before}{name}_{old}", f"{path}.original{number}") for number, old in enumerate(suffixes)]

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{number}" for number in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals to those from which the modules compute ``value``."""
        with no_grad():
            inner = _undone(self, value)
            given = [inner] if isinstance(inner, Tensor) else list(inner)
            if len(given) != self.ntensors:
                raise OptionError(f"right_inverse: {self.ntensors} tensors are wanted, it gave {len(given)}")
            for held, new in zip(self.originals(), given, strict=True):
                _check_type("right_inverse", new, held)
                held.copy_(new)

    def forward(self) -> Tensor:
        """The parametrised tensor, computed from the originals."""
        first, *rest = self
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        found: Tensor = x
        return found


def _undone(modules: ModuleList, value: Tensor) -> Tensor | Sequence[Tensor]:
    """The originals of a value: the modules' ``right_inverse``, where they have one, applied in reverse order."""
    found: Tensor | Sequence[Tensor] = value
    for module in reversed(list(modules)):
        inverse = getattr(module, "right_inverse", None)
        try:
            found = found if inverse is None else inverse(found)
        except NotImplementedError:  # as some do for some of their options
            continue
    if isinstance(found, Tensor):
        return found
    if not isinstance(found, list | tuple) or not found or not all(isinstance(one, Tensor) for one in found):
        raise OptionError(f"right_inverse gives a tensor, or a list or tuple of tensors; it gave {shown(found)}")
    return found


def _check_type(what: str, found: object, wanted: Tensor) -> None:
    if not isinstance(found, Tensor):
        raise OptionError(f"register_parametrization: {what} gives a tensor; it gave {shown(found)}")
    if found.dtype != wanted.dtype:
        raise DTypeError(f"register_parametrization: {what} gives {found.type}, where there was {wanted.type}")


def _check_shape(what: str, found: Tensor, wanted: Tensor) -> None:
    _check_type(what, found, wanted)
    if found.shape != wanted.shape:
        raise ShapeError(
            f"register_parametrization: {what} gives {found.type}, where there was {wanted.type}; unsafe=True allows it"
        )


def _enter(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


# ---------------------------------------------------------------- caching


class _Kept:
    """The tensors computed within :func:`cached`, in one trace or outside of all traces."""

    def __init__(self) -> None:
        self.trace = active_trace.get()
        self.found: dict[tuple[int, str], tuple[Module, Tensor]] = {}


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


def _keeping() -> _Kept | None:
    """The present cache. A trace does not use one from outside it, as it also serves calls outside the block."""
    kept = _kept.get()
    return kept if kept is not None and kept.trace is active_trace.get() else None


@contextmanager
def cached() -> Iterator[None]:
    """Within ``with cached():`` each parametrised tensor is computed once, however often it is read."""
    token = _kept.set(_keeping() or _Kept())
    try:
        yield
    finally:
        _kept.reset(token)


class Parametrized:
    """The rule by which a module computes a parametrised tensor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def of(self, module: Module) -> ParametrizationList:
        """The parametrisations of the tensor in this module."""
        found = module.get_submodule(f"parametrizations.{self.name}")
        assert isinstance(found, ParametrizationList)
        return found

    def compute(self, module: Module) -> Tensor:
        """The tensor, from the cache within :func:`cached`."""
        kept, key = _keeping(), (id(module), self.name)
        if kept is None:
            made: Tensor = self.of(module)()
            return made
        if key not in kept.found:
            kept.found[key] = module, self.of(module)()
        return kept.found[key][1]

    def assign(self, module: Module, value: object) -> None:
        """Set the originals to those from which ``value`` is computed."""
        if not isinstance(value, Tensor):
            raise OptionError(
                f"{type(module).__name__}: {self.name!r} is computed; assign a tensor, got {shown(value)}"
            )
        self.of(module).right_inverse(value)
        self.forget(module)

    def forget(self, module: Module) -> None:
        """Remove the tensor from the cache."""
        kept = _kept.get()
        if kept is not None:
            kept.found.pop((id(module), self.name), None)


# ---------------------------------------------------------------- registering


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has any parametrised tensor, or whether the one of that name is."""
    rules = rules_of(_module("is_parametrized", module))
    return any(isinstance(rule, Parametrized) and tensor_name in (None, name) for name, rule in rules.items())


def type_before_parametrizations(module: Module) -> type[Module]:
    """The class that a module had before any tensor of it was parametrised."""
    return class_before(_module("type_before_parametrizations", module))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute ``module.<tensor_name>`` by ``parametrization`` from its original, whenever it is read.

    Several parametrisations of one tensor are applied one after another. The tensor can be assigned to if they have a
    method ``right_inverse``, which returns the original for a value. At registration it is applied to the present
    value, and the original, which remains the same parameter for an optimiser, is set to the result; if that is several
    tensors, they become new parameters.

    Parameters
    ----------
    module
        The module that has the parameter or buffer.
    tensor_name
        The name of the parameter or buffer.
    parametrization
        A module whose ``forward`` takes the original and returns the tensor.
    unsafe
        Whether the shape may change. If so, the parametrisation is not tried out and checked.

    Returns
    -------
    The module itself.
    """
    name, what = tensor_name, "register_parametrization"
    _module(what, module)
    _module(what, parametrization).train(module.training)
    flag(what, "unsafe", unsafe)
    if is_parametrized(module, name):
        _append(module, name, parametrization, unsafe)
        return module
    original = _tensor_of(module, name)
    if isinstance(original, Unsettled):
        raise OptionError(f"{what}: the shape of {name!r} is not known yet: call the module once, then register")
    lasting = original.detach().clone()
    several = ParametrizationList([parametrization], original, unsafe)
    try:
        if not unsafe:
            with no_grad():
                _check_shape("forward", several(), lasting)
    except Exception:
        original.data = lasting
        raise
    delattr(module, name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[name] = several
    set_rule(module, name, Parametrized(name))
    return module


def _append(module: Module, name: str, parametrization: Module, unsafe: bool) -> None:
    """Register a further parametrisation of a tensor that has one."""
    rule = rules_of(module)[name]
    assert isinstance(rule, Parametrized)
    if not unsafe:
        with no_grad():
            before = rule.of(module)()
            after = parametrization(before)
            _check_shape("forward", after, before)
            inverse = getattr(parametrization, "right_inverse", None)
            if inverse is not None:
                _check_shape("right_inverse", inverse(after), before)
    rule.of(module).append(parametrization)
    rule.of(module).unsafe |= unsafe
    rule.forget(module)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrised tensor a parameter (or buffer) again.

    Parameters
    ----------
    module
        The module that has the tensor.
    tensor_name
        The name of the tensor.
    leave_parametrized
        Whether the tensor keeps its present computed value. Otherwise it becomes the original again, of which there
        must be only one.

    Returns
    -------
    The module itself.
    """
    name, what = tensor_name, "remove_parametrizations"
    if not is_parametrized(module, name):
        raise OptionError(f"{what}: {type(module).__name__}.{shown(name)} is not parametrised")
    rule = rules_of(module)[name]
    assert isinstance(rule, Parametrized)
    several = rule.of(module)
    kept: Tensor = several.originals()[0]
    if flag(what, "leave_parametrized", leave_parametrized):
        with no_grad():
            value = several().detach().clone()
        if several.is_tensor:
            kept.data = value
        else:
            kept = Parameter(value, kept.requires_grad) if isinstance(kept, Parameter) else value
    elif not several.is_tensor:
        raise OptionError(f"{what}: {name!r} is computed from several tensors; leave_parametrized=True keeps its value")
    rule.forget(module)
    drop_rule(module, name)
    del module.parametrizations[name]
    if not is_parametrized(module):
        del module.parametrizations
    _enter(module, name, kept)
    return module


def _module(name: str, module: object) -> Module:
    if not isinstance(module, Module):
        raise OptionError(f"{name}: takes modules, got {shown(module)}")
    return module


def _tensor_of(module: Module, name: object) -> Tensor:
    """The parameter or buffer of that name that a module has."""
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    found: Tensor | None = next((tensor for key, tensor in own if key == name), None)
    if found is None:
        raise OptionError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer {shown(name)}, only "
            f"{[key for key, _ in own]}"
        )
    return found


if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), PARAMETRIZE)
