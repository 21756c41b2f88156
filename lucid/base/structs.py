"""Dataclasses whose methods are generated when they are first used.

``dataclasses.dataclass`` compiles up to six methods for each class when its module is imported. That takes half a
millisecond for each of some two hundred classes, most of which no one program instantiates. A struct behaves like a
dataclass in every way (``fields``, ``replace``, ``is_dataclass``, inheritance), but compiles each method when it is
first needed.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Final, TypeVar

__all__ = ["struct"]

T = TypeVar("T")


class _Factory:
    """Marks a default value that is made at each call."""

    def __repr__(self) -> str:
        return "<factory>"


_MADE_ANEW: Final = _Factory()


class _Later:
    """Stands in for a method of a struct: the first access generates the method, which replaces it."""

    def __init__(self, owner: type, name: str, lines: Callable[[type], list[str]]) -> None:
        self.owner, self.name, self.lines = owner, name, lines

    def __get__(self, instance: object, owner: type | None = None) -> object:
        method = vars(self.owner)[self.name]
        if method is self:  # otherwise it was accessed through an earlier reference
            method = self._written()
            setattr(self.owner, self.name, method)
        return method.__get__(instance, owner)

    def _written(self) -> FunctionType:
        # guards of a trace tell library code from user code by the module name in a function's globals
        space: dict[str, object] = {"__name__": self.owner.__module__}
        space |= {"_set": object.__setattr__, "_MADE_ANEW": _MADE_ANEW}
        for field in dataclasses.fields(self.owner):
            space |= {f"_default_{field.name}": field.default, f"_make_{field.name}": field.default_factory}
        exec("\n    ".join(self.lines(self.owner)), space)  # noqa: S102 - of identifiers, which the class declares
        method = space[self.name]
        assert isinstance(method, FunctionType)
        method.__qualname__, method.__module__ = f"{self.owner.__qualname__}.{self.name}", self.owner.__module__
        if self.name == "__init__":
            declared = {field.name: field.type for field in dataclasses.fields(self.owner) if field.init}
            method.__annotations__ = {**declared, "return": None}
        return method


def _init(owner: type) -> list[str]:
    fields = dataclasses.fields(owner)
    known = [field for field in fields if field.init]
    words = ["self", *(_parameter(field) for field in known if not field.kw_only)]
    words += ["*"] if any(field.kw_only for field in known) else []
    words += [_parameter(field) for field in known if field.kw_only]
    lines = [f"def __init__({', '.join(words)}):"]
    keep = "_set(self, {0!r}, {1})" if vars(owner)["__dataclass_params__"].frozen else "self.{0} = {1}"
    for field in fields:
        value = field.name
        if field.default_factory is not dataclasses.MISSING:
            anew = f"_make_{field.name}()"
            value = f"{anew} if {value} is _MADE_ANEW else {value}" if field.init else anew
        elif not field.init:
            continue  # it is set by __post_init__, or is the default of the class
        lines.append(keep.format(field.name, value))
    return [*lines, "self.__post_init__()" if hasattr(owner, "__post_init__") else "pass"]


def _parameter(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}=_default_{field.name}"
    return field.name if field.default_factory is dataclasses.MISSING else f"{field.name}=_MADE_ANEW"


def _eq(owner: type) -> list[str]:
    names = [field.name for field in dataclasses.fields(owner) if field.compare]
    mine, others = ("".join(f"{who}.{name}, " for name in names) for who in ("self", "other"))
    same = "if other.__class__ is not self.__class__: return NotImplemented"
    return ["def __eq__(self, other):", same, f"return ({mine}) == ({others})"]


def _hash(owner: type) -> list[str]:
    fields = [field for field in dataclasses.fields(owner) if (field.compare if field.hash is None else field.hash)]
    return ["def __hash__(self):", f"return hash(({''.join(f'self.{field.name}, ' for field in fields)}))"]


@recursive_repr()
def _repr(self: object) -> str:
    kind: type = type(self)
    names = (field.name for field in dataclasses.fields(kind) if field.repr)
    shown = (f"{name}={getattr(self, name)!r}" for name in names)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _freeze(cls: type[T], names: frozenset[str]) -> None:
    """Make the class refuse changes of its instances."""

    def frozen_set(self: object, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def frozen_delete(self: object, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    for name, method in (("__setattr__", frozen_set), ("__delattr__", frozen_delete)):
        if name in vars(cls):
            raise TypeError(f"{cls.__name__} has a {name} and cannot be frozen")
        setattr(cls, name, method)


def _collect(cls: type, frozen: bool) -> None:
    """Give the class its own and inherited fields, as ``dataclasses`` identifies them.

    ``dataclasses`` is applied to a bare class with the same annotations, so that it generates no methods.
    """
    told: dict[str, str] = cls.__annotations__
    given = {name: vars(cls)[name] for name in told if name in vars(cls)}
    inner = {"__annotations__": told, "__module__": cls.__module__, "__doc__": "Fields.", **given}
    bare: type = type(cls.__name__, (), inner)
    own = vars(dataclasses.dataclass(init=False, repr=False, eq=False)(bare))
    fields: dict[str, dataclasses.Field[object]] = {}
    for base in cls.__mro__[:0:-1]:
        fields.update(getattr(base, "__dataclass_fields__", {}))
    fields.update(own["__dataclass_fields__"])
    for name, value in given.items():
        if isinstance(value, dataclasses.Field) and value.default is dataclasses.MISSING:
            delattr(cls, name)
        elif isinstance(value, dataclasses.Field):
            setattr(cls, name, value.default)
    own["__dataclass_params__"].frozen = frozen
    for name, value in (("__dataclass_fields__", fields), ("__dataclass_params__", own["__dataclass_params__"])):
        setattr(cls, name, value)
    named = [field for field in dataclasses.fields(cls) if field.init and not field.kw_only]
    optional = ["=" in _parameter(field) for field in named]
    if optional != sorted(optional):
        raise TypeError(f"{cls.__name__}: a field without a default follows one that has one")
    if len(dataclasses.fields(cls)) < sum("ClassVar" not in str(field.type) for field in fields.values()):
        raise TypeError(f"{cls.__name__}: a struct has no InitVar; dataclasses.dataclass knows it")


if TYPE_CHECKING:
    from dataclasses import dataclass as struct
else:

    def struct(
        cls: type[T] | None = None, *, frozen: bool = False, eq: bool = True, repr: bool = True
    ) -> type[T] | Callable[[type[T]], type[T]]:
        """The class as a dataclass; to the type checker it is ``dataclasses.dataclass`` itself.

        Parameters
        ----------
        cls
            The class to decorate; may be left out: ``@struct(frozen=True)``.
        frozen, eq, repr
            As for ``dataclasses.dataclass``.
        """

        def made(cls: type[T]) -> type[T]:
            _collect(cls, frozen)
            if frozen:
                _freeze(cls, frozenset(field.name for field in dataclasses.fields(cls)))
            unequal = "__hash__" not in vars(cls) or (vars(cls)["__hash__"] is None and "__eq__" in vars(cls))
            if repr and "__repr__" not in vars(cls):
                cls.__repr__ = _repr
            for name, lines in (("__init__", _init), ("__eq__", _eq)) if eq else (("__init__", _init),):
                if name not in vars(cls):
                    setattr(cls, name, _Later(cls, name, lines))
            if eq and unequal:
                cls.__hash__ = _Later(cls, "__hash__", _hash) if frozen else None
            known = (field for field in dataclasses.fields(cls) if field.init)
            cls.__match_args__ = tuple(field.name for field in known if not field.kw_only)
            abc.update_abstractmethods(cls)
            return cls

        return made if cls is None else made(cls)
