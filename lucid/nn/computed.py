"""Attributes of a module that are computed from its parameters whenever they are read.

The class of a module is then replaced by a derived class with a property for each such attribute. So ``module.weight``
reads as before, and a trace records how the weight is computed.
"""

from __future__ import annotations

from typing import Protocol

from ..base import changes
from ..tensor.tensor import Tensor
from .module import Module

RULES = "_rules"
"""The attribute of a module that maps the names of computed attributes to rules, """
NAMES = "_computed"
"""and the attribute of its class that lists these names."""


class Rule(Protocol):
    """How an attribute is computed, and what assigning to it does."""

    def compute(self, module: Module) -> Tensor: ...
    def assign(self, module: Module, value: object) -> None: ...


def rules_of(module: Module) -> dict[str, Rule]:
    """The rules of a module's computed attributes, by name."""
    found: dict[str, Rule] = module.__dict__.get(RULES, {})
    return found


def set_rule(module: Module, name: str, rule: Rule) -> None:
    """Make ``module.name``, which must not exist, an attribute that the rule computes."""
    _become(module, {**rules_of(module), name: rule})


def drop_rule(module: Module, name: str) -> None:
    """Remove a computed attribute."""
    _become(module, {key: rule for key, rule in rules_of(module).items() if key != name})


def class_before(module: Module) -> type[Module]:
    """The original class of a module, without computed attributes."""
    kind = type(module)
    return kind.__bases__[0] if RULES in module.__dict__ else kind


def _become(module: Module, rules: dict[str, Rule]) -> None:
    kind = class_before(module)
    if rules:
        object.__setattr__(module, RULES, rules)
    else:
        object.__delattr__(module, RULES)
    object.__setattr__(module, "__class__", _derived(kind, tuple(sorted(rules))) if rules else kind)
    changes.of_models.note()


def _derived(kind: type[Module], names: tuple[str, ...]) -> type[Module]:
    """The class derived from ``kind`` with these computed attributes; all modules share it."""
    known = (one for one in kind.__subclasses__() if one.__dict__.get(NAMES) == names)
    return next(known, None) or _make(kind, names)


def _make(kind: type[Module], names: tuple[str, ...]) -> type[Module]:
    def set_attribute(self: Module, name: str, value: object) -> None:
        if name in names:
            rules_of(self)[name].assign(self, value)
        else:
            kind.__setattr__(self, name, value)

    def reduce(self: Module) -> tuple[object, ...]:
        return _again, (kind, names), self.__dict__

    space = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__setattr__": set_attribute, "__reduce__": reduce}
    return type(f"Parametrized{kind.__name__}", (kind,), {**space, NAMES: names, **dict(map(_property, names))})


def _property(name: str) -> tuple[str, property]:
    def compute(self: Module) -> Tensor:
        return rules_of(self)[name].compute(self)

    return name, property(compute, doc=f"What the module's rule for {name!r} computes.")


def _again(kind: type[Module], names: tuple[str, ...]) -> Module:
    """An empty module, to be filled by unpickling or copying."""
    made: Module = object.__new__(_derived(kind, names))
    return made
