"""Module: the base of all layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..base import changes, checks
from ..base.absent import MODULE, advice
from ..base.checks import shown
from ..base.hooks import Handle as Handle
from ..base.texts import encoded, is_array_of_texts
from ..errors import LucidError, OptionError, TraceError
from ..graph.texts import Text
from ..graph.trace import active_trace, user_location
from ..graph.types import as_dtype, is_float, widened
from ..tensor.tensor import Tensor
from ..tensor.traced import TracedTensor
from .hooks import Boundary, HookedModule
from .parameter import Buffer
from .parameter import Parameter as Parameter
from .state import LoadedKeys, load_state
from .tables import ATTRIBUTES, OWN

M = TypeVar("M", bound="Module")


_ARE_TAKEN = frozenset({Tensor, TracedTensor, Parameter})
"""Types that arguments of a module nearly always have; they go on as they are."""


def _tensors(value: Any) -> object:
    """An argument with every array in it, within lists, tuples and dicts too, made a tensor, or texts."""
    if isinstance(value, np.ndarray):
        return Text(Tensor(encoded(value, roomy=True))) if is_array_of_texts(value) else Tensor(widened(value))
    kind = type(value)
    if kind is dict:
        items = {key: _tensors(item) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if kind in (list, tuple):
        made = kind(map(_tensors, value))
        return made if any(a is not b for a, b in zip(made, value, strict=True)) else value
    return value


class Module(HookedModule):
    """Base class of layers and models.

    A subclass sets parameters, buffers and other modules as attributes in ``__init__`` and defines
    ``forward``. Setting any attribute is noticed by compiled models, which trace anew where that
    changes what the module computes.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]

    def __init__(self) -> None:
        object.__setattr__(self, "training", True)
        for name, make in OWN.items():
            object.__setattr__(self, name, make())

    # ------------------------------------------------------------ attributes

    def __setattr__(self, name: str, value: object) -> None:
        if "_parameters" not in self.__dict__:
            raise LucidError(f"{type(self).__name__}: call super().__init__() before setting {name!r}")
        if isinstance(value, TracedTensor):
            self._set_traced(name, value)
            return
        if isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
            return
        if isinstance(value, Parameter | Module):
            self._check_name("parameter" if isinstance(value, Parameter) else "module", name)
        tables: tuple[tuple[dict[str, Any], type], ...] = ((self._parameters, Parameter), (self._modules, Module))
        for table, kind in tables:
            if isinstance(value, kind):
                self._forget(name, keep=table)
                table[name] = value
                break
            if name in table:
                if value is not None:
                    raise OptionError(
                        f"{type(self).__name__}: {name!r} is a {kind.__name__} and cannot become a "
                        f"{type(value).__name__}; assign a {kind.__name__}, write into it with copy_(), or delete it"
                    )
                table[name] = None
                break
        else:
            if name in self._buffers and (value is None or isinstance(value, Tensor)):
                self._buffers[name] = value
            else:
                self._forget(name)
                object.__setattr__(self, name, value)
        changes.of_models.note()

    def _set_traced(self, name: str, value: TracedTensor) -> None:
        """While traced, a buffer that is set is updated at every run; nothing else can hold a traced value."""
        if not value.live():
            raise value.left()
        buffer = self._buffers.get(name)
        if buffer is None:
            raise TraceError(
                f"{type(self).__name__}.{name} is set to a value of the graph being traced ({user_location()}), which "
                f"would not happen again at later calls; register_buffer({name!r}, ...) in __init__ makes it state "
                f"that is updated"
            )
        active_trace.get().update(buffer, value)

    def __getattr__(self, name: str) -> Any:
        if name in OWN:
            raise LucidError(f"{type(self).__name__}: its __init__ must call super().__init__() first")
        own = self.__dict__
        for table in ATTRIBUTES:
            if table in own and name in own[table]:
                return own[table][name]
        raise AttributeError(advice(type(self).__name__, name, MODULE, lambda: dir(type(self))))

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)
        changes.of_models.note()

    def _forget(self, name: str, keep: object = None) -> bool:
        """Remove what stands under a name, except from ``keep``: a new entry there takes the old one's place."""
        found = False
        tables: tuple[dict[str, Any], ...] = (self._parameters, self._buffers, self._modules, self.__dict__)
        for table in tables:
            if name in table and table is not keep:
                del table[name]
                found = True
        return found

    def __dir__(self) -> list[str]:
        names = [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]
        return sorted(name for name in names if not name.startswith("_"))

    def _check_name(self, kind: str, name: object) -> None:
        """Paths are names joined by dots, so a name with a dot could be another's path."""
        if not isinstance(name, str) or not name or "." in name:
            raise OptionError(
                f"{type(self).__name__}: the name of a {kind} is a string that is not empty and has no dot, "
                f"got {shown(name)}"
            )

    def _enter(self, kind: type, name: str, value: object) -> None:
        """Put ``value`` into the table of its kind, under a name that nothing else has."""
        what = "parameter" if kind is Parameter else "buffer" if kind is Tensor else "module"
        if "_parameters" not in self.__dict__:
            raise LucidError(f"{type(self).__name__}: call super().__init__() before registering {shown(name)}")
        self._check_name(what, name)
        if isinstance(value, TracedTensor):
            self._set_traced(name, value)
            return
        if value is not None and not isinstance(value, kind):
            raise OptionError(
                f"{type(self).__name__}: the {what} {name!r} must be a {kind.__name__} or None, "
                f"got a {type(value).__name__}"
            )
        tables: dict[str, dict[str, Any]] = {
            "parameter": self._parameters,
            "buffer": self._buffers,
            "module": self._modules,
        }
        table = tables[what]
        if name not in table and self._has(name):
            raise OptionError(
                f"{type(self).__name__}: there is an attribute {name!r} already, so no {what} can be registered "
                f"under that name; take another name, or delete the attribute first"
            )
        table[name] = value
        changes.of_models.note()

    def _has(self, name: str) -> bool:
        """Whether there is an attribute of that name; ``hasattr`` would also search for similar names to suggest."""
        own = self.__dict__
        return name in own or hasattr(type(self), name) or any(name in own[table] for table in ATTRIBUTES)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter under ``name``, which no other attribute has; None reserves the name."""
        self._enter(Parameter, name, parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add state that is not learnt; a buffer that is not persistent stays out of the state dict."""
        checks.flag("register_buffer", "persistent", persistent)
        self._enter(Tensor, name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under ``name``, which no other attribute has."""
        self._enter(Module, name, module)

    register_module = add_module

    # ------------------------------------------------------------ the tree

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all modules below it with their paths; shared ones once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(checks.text("named_modules", "prefix", prefix), self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            children = [(f"{path}.{n}" if path else n, m) for n, m in module._modules.items() if m is not None]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """This module and all modules below it; shared ones once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, with their names."""
        return ((name, module) for name, module in self._modules.items() if module is not None)

    def children(self) -> Iterator[Module]:
        """The modules right below this one."""
        return (module for _, module in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        checks.text(f"named{table}", "prefix", prefix)
        within = self.named_modules(prefix) if checks.flag(table[1:], "recurse", recurse) else ((prefix, self),)
        for path, module in within:
            for name, tensor in getattr(module, table).items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths, without ``recurse`` the module's own; shared ones once."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, without ``recurse`` the module's own."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths, without ``recurse`` the module's own."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, without ``recurse`` the module's own."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path."""
        module = self
        for name in path.split(".") if checks.text("get_submodule", "path", path) else ():
            child = module._modules.get(name)
            if child is None:
                raise OptionError(f"{type(self).__name__} has no module at {path!r}")
            module = child
        return module

    def get_parameter(self, path: str) -> Parameter:
        """The parameter at a dotted path."""
        found: Parameter = self._entry("_parameters", "parameter", path)
        return found

    def get_buffer(self, path: str) -> Tensor:
        """The buffer at a dotted path."""
        found: Tensor = self._entry("_buffers", "buffer", path)
        return found

    def _entry(self, table: str, what: str, path: str) -> Any:
        above, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", path)
        found = getattr(self.get_submodule(above), table).get(name) if isinstance(name, str) else None
        if found is None:
            raise OptionError(f"{type(self).__name__} has no {what} at {shown(path)}")
        return found

    def apply(self: M, function: Callable[[Module], object]) -> M:
        """Call ``function`` on every module of the tree, children first."""
        checks.function("apply", "function", function)
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # ------------------------------------------------------------ modes and types

    def train(self: M, mode: bool = True) -> M:
        """Set training mode on the whole tree."""
        if not isinstance(mode, bool):
            raise OptionError(f"train: mode is True or False, got {shown(mode)}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set evaluation mode: no dropout, running statistics."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether the parameters of the tree require gradients."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters, or fill them with zeros."""
        keep = not checks.flag("zero_grad", "set_to_none", set_to_none)
        for parameter in self.parameters():
            parameter.clear_grad(keep)

    def to(self: M, *args: object, dtype: object = None, device: object = None) -> M:
        """Convert all floating-point parameters and buffers to ``dtype``, in place; the device is "cpu" in any case."""
        for given in args:
            if checks.is_device(given):
                device = given
            elif isinstance(given, Tensor):
                dtype = given.dtype
            elif not isinstance(given, bool):  # non_blocking
                dtype = given
        checks.check_device(f"{type(self).__name__}.to", device)
        if dtype is None and device is not None and all(given is not None for given in args):
            return self
        wanted = as_dtype(dtype)
        if not is_float(wanted):
            raise OptionError(f"a module's parameters are floating-point, not {wanted.name}")
        for tensor in (*self.parameters(), *self.buffers()):
            if is_float(tensor.dtype) and tensor.dtype != wanted:
                tensor.set_dtype_(wanted)
        return self

    def cpu(self: M) -> M:
        """Return the module itself: everything runs on the CPU."""
        return self

    def cuda(self: M, device: object = None) -> M:
        """Not supported: there is no other device."""
        checks.check_device(f"{type(self).__name__}.cuda", "cuda")
        return self

    def float(self: M) -> M:
        """Convert parameters and buffers to float32."""
        return self.to("float32")

    def double(self: M) -> M:
        """Convert parameters and buffers to float64."""
        return self.to("float64")

    # ------------------------------------------------------------ state

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """All parameters and persistent buffers as detached tensors, by path (after ``prefix``).

        They share the model's memory, as in PyTorch; ``copy.deepcopy`` of the dict, or ``clone()`` of its values, keeps
        the state as it is now.
        """
        checks.text("state_dict", "prefix", prefix)
        return {prefix + name: tensor.detach() for name, tensor in self._state().items()}

    def _paths(self) -> Iterator[tuple[str, Module]]:
        """All modules with all their paths; a shared one comes once for each."""
        stack: list[tuple[str, Module, frozenset[int]]] = [("", self, frozenset())]
        while stack:
            path, module, above = stack.pop()
            if id(module) in above:
                raise LucidError(f"{type(self).__name__}: the module at {path!r} contains itself")
            yield path, module
            inside = above | {id(module)}
            children = [(f"{path}.{name}" if path else name, m, inside) for name, m in module.named_children()]
            stack.extend(reversed(children))

    def _state(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for path, module in self._paths():
            prefix = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    found[prefix + name] = parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    found[prefix + name] = buffer
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, object], strict: bool = True, assign: bool = False
    ) -> LoadedKeys:
        """Copy arrays (or tensors) into the parameters and buffers with the same paths.

        Everything is checked before anything is changed.

        Parameters
        ----------
        state_dict
            Path to array; shapes must agree.
        strict
            Raise an error for missing or unexpected paths.
        assign
            Not supported: the model keeps its tensors, as optimisers and compiled models refer to them.

        Returns
        -------
        missing_keys, unexpected_keys
            Paths of the model that were not given, and given paths that the model lacks.
        """
        if checks.flag("load_state_dict", "assign", assign):
            raise OptionError(
                "load_state_dict: assign: the model keeps its own tensors; leave assign out, after model.to(dtype) if "
                "the element types differ"
            )
        older = {old: new for path, module in self._paths() for old, new in module._older_names(path)}
        return load_state(self._state(), state_dict, strict, older)

    def _older_names(self, path: str) -> Iterable[tuple[str, str]]:
        """Paths that PyTorch's state dicts had before, each with that of today, of a module that stands at ``path``."""
        return ()

    # ------------------------------------------------------------ calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise LucidError(f"{type(self).__name__} does not define forward()")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """What ``forward`` makes of the arguments; NumPy arrays among them become tensors, as in a compiled model."""
        if kwargs or not _ARE_TAKEN.issuperset(map(type, args)):
            args = tuple(map(_tensors, args))
            kwargs = {name: _tensors(value) for name, value in kwargs.items()}
        trace = active_trace.get()
        if trace is None:
            return self._call(args, kwargs)
        trace.enter(self)
        try:
            return self._call(args, kwargs)
        finally:
            trace.leave()

    def _call(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        for hook in tuple(self._pre_hooks.values()) if self._pre_hooks else ():
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        boundary = Boundary(self) if self._backward_hooks or self._backward_pre_hooks else None
        given = args if boundary is None else boundary.enter(args)
        output = self.forward(*given, **kwargs)
        for hook in tuple(self._hooks.values()) if self._hooks else ():
            changed = hook(self, given, output)
            if changed is not None:
                output = changed
        return output if boundary is None else boundary.leave(output)

    # ------------------------------------------------------------ printing

    def extra_repr(self) -> str:
        """The text that ``repr`` shows in parentheses."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({inside})"
        return f"{type(self).__name__}({inside}\n  " + "\n  ".join(children) + "\n)"
