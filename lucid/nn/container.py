"""Containers of modules and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar, overload

from ..base import changes
from ..base.checks import integer, several, shown
from ..errors import MissingKeyError, OptionError, PositionError
from ..tensor.tensor import Tensor
from .module import Module, Parameter

E = TypeVar("E", Module, Parameter)
Entries: TypeAlias = "Mapping[str, E] | Iterable[tuple[str, E]]"


def _position(owner: object, index: object, count: int) -> int:
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise OptionError(f"{type(owner).__name__}: an index is an int or a slice, got {shown(index)}")
    i: int = index.__index__()
    if not -count <= i < count:
        raise PositionError(f"{type(owner).__name__}: index {i} is out of range for {count} entries")
    return i % count


def _module(owner: object, module: object) -> Module:
    if not isinstance(module, Module):
        raise OptionError(f"{type(owner).__name__}: holds modules, got {type(module).__name__}")
    return module


class _Numbered(Module):
    """Modules with the names "0", "1", …"""

    def _entries(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    def _refill(self, modules: Iterable[Module]) -> None:
        kept = [_module(self, module) for module in modules]
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(kept):
            self.add_module(str(i), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._entries())

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[_position(self, index, len(self))]
        setattr(self, name, _module(self, module))

    def __delitem__(self, index: int | slice) -> None:
        entries = self._entries()
        del entries[index if isinstance(index, slice) else _position(self, index, len(entries))]
        self._refill(entries)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), _module(self, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in [_module(self, m) for m in several(type(self).__name__, "modules", modules)]:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Add a module before ``index``."""
        entries = self._entries()
        count = len(entries)
        entries.insert(integer(type(self).__name__, "index", index, -count, count), _module(self, module))
        self._refill(entries)
        return self

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Self:
        if not isinstance(modules, Iterable):
            return NotImplemented
        return type(self)().extend(self).extend(modules)


class Sequential(_Numbered):
    """Modules applied one after another.

    Parameters
    ----------
    *modules
        The modules, or one dict from names to modules.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        named = modules[0].items() if len(modules) == 1 and isinstance(modules[0], Mapping) else None
        for name, module in named if named is not None else ((str(i), m) for i, m in enumerate(modules)):
            self.add_module(name, _module(self, module))

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return self._entries()[_position(self, index, len(self))]

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


class ModuleList(_Numbered):
    """A list of modules, registered as parts of the model."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...

    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return ModuleList(self._entries()[index])
        return self._entries()[_position(self, index, len(self))]


class _Named(Module, Generic[E]):
    """A dict of entries of one kind, accessed as ``self[name]``."""

    kind: ClassVar[type[Module] | type[Tensor]]

    def __init__(self, entries: Entries[E] | None = ()) -> None:
        super().__init__()
        self.update(() if entries is None else entries)

    def _table(self) -> dict[str, E | None]:
        found: dict[str, E | None] = self.__dict__["_modules" if self.kind is Module else "_parameters"]
        return found

    def _as_entry(self, value: object) -> E:
        """Convert a value to an entry."""
        raise NotImplementedError

    def _has(self, name: str) -> bool:
        return False  # entries are no attributes, so they may have the names of methods

    def update(self, entries: Entries[E]) -> None:
        """Add entries, replacing those of the same name."""
        owner, what = type(self).__name__, self.kind.__name__.lower()
        pairs = several(owner, f"{what}s", entries.items() if isinstance(entries, Mapping) else entries)
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise OptionError(f"{owner}: takes a dict, or pairs of a name and a {what}, got {shown(entries)}")
        for name, value in [(name, self._as_entry(value)) for name, value in pairs]:
            self[name] = value

    def __getitem__(self, name: str) -> E:
        entry = self._table().get(name) if isinstance(name, str) else None
        if entry is None:
            owner, what = type(self).__name__, self.kind.__name__.lower()
            raise MissingKeyError(f"{owner}: there is no {what} {shown(name)}, only {list(self._table())}")
        return entry

    def __setitem__(self, name: str, value: E) -> None:
        self._enter(self.kind, name, self._as_entry(value))

    def __delitem__(self, name: str) -> None:
        self[name]  # raises if there is none
        del self._table()[name]
        changes.of_models.note()

    def __len__(self) -> int:
        return len(self._table())

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._table()))

    def __contains__(self, name: str) -> bool:
        return name in self._table()

    def pop(self, name: str) -> E:
        """Remove an entry and return it."""
        entry = self[name]
        del self[name]
        return entry

    def clear(self) -> None:
        """Remove all entries."""
        for name in self:
            del self[name]

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._table().keys()

    def values(self) -> Iterable[E]:
        """The entries."""
        return (self[name] for name in self)

    def items(self) -> Iterable[tuple[str, E]]:
        """Names and entries."""
        return ((name, self[name]) for name in self)


class ModuleDict(_Named[Module]):
    """A dict of modules, registered as parts of the model."""

    kind = Module

    def _as_entry(self, value: object) -> Module:
        return _module(self, value)


class ParameterDict(_Named[Parameter]):
    """A dict of parameters, registered with the model; other tensors, and arrays, are copied into parameters."""

    kind = Parameter

    def _as_entry(self, value: object) -> Parameter:
        return value if isinstance(value, Parameter) else Parameter(value)  # type: ignore[arg-type]

    def get(self, name: str, default: Tensor | None = None) -> Tensor | None:
        """The parameter of that name, or ``default`` if there is none."""
        found = self._parameters.get(name)
        return default if found is None else found

    def setdefault(self, name: str, default: Parameter) -> Parameter:
        """The parameter of that name, which is set to ``default`` if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {p.type}" for name, p in self.items())


class ParameterList(Module):
    """A list of parameters, registered with the model."""

    def __init__(self, parameters: Iterable[Parameter] = ()) -> None:
        super().__init__()
        self.extend(parameters)

    def append(self, parameter: Parameter) -> ParameterList:
        """Add a parameter at the end."""
        if not isinstance(parameter, Parameter):
            raise OptionError(f"ParameterList: holds parameters, got {type(parameter).__name__}")
        self.register_parameter(str(len(self)), parameter)
        return self

    def extend(self, parameters: Iterable[Parameter]) -> ParameterList:
        """Add parameters at the end."""
        for parameter in several("ParameterList", "parameters", parameters):
            self.append(parameter)
        return self

    __iadd__ = extend

    def __getitem__(self, index: int) -> Parameter:
        return list(self)[_position(self, index, len(self))]

    def __setitem__(self, index: int, parameter: Parameter) -> None:
        if not isinstance(parameter, Parameter):
            raise OptionError(f"ParameterList: holds parameters, got {type(parameter).__name__}")
        self.register_parameter(str(_position(self, index, len(self))), parameter)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter([p for p in self._parameters.values() if p is not None])

    def extra_repr(self) -> str:
        return ", ".join(str(p.type) for p in self)
