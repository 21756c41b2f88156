"""A module called with other tensors in place of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...base import checks
from ...base.checks import shown
from ...errors import OptionError, ShapeError
from ...tensor.tensor import Tensor
from ..module import Module
from ..tables import state_tables


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: object = None,
    kwargs: Mapping[str, object] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with some of its parameters and buffers replaced, for this call only.

    Gradients go to the tensors that are given, as by ``lucid.func.grad``. What the module changes in place, such as
    running statistics, changes in them too. The module must not be called by another thread meanwhile.

    Parameters
    ----------
    module
        A module. One that is compiled is traced anew each time: compile what calls ``functional_call`` instead.
    parameters_and_buffers
        Tensors by path, as in the state dict, or several such dicts. Their shapes are those of the module's.
    args, kwargs
        The module's arguments: a tuple, or a single one.
    tie_weights
        Whether a parameter that the module has at several paths is replaced at all of them, if given for one.
    strict
        Whether it is an error if a parameter or buffer is not given.
    """
    if not isinstance(module, Module):
        raise OptionError(f"functional_call: calls a module, got {shown(module)}")
    given = _joined(parameters_and_buffers)
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    named = {} if kwargs is None else checks.mapping("functional_call", "kwargs", kwargs)
    with _replaced(_places(module, given, checks.flag("functional_call", "tie_weights", tie_weights), strict)):
        return module(*positional, **named)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers, by path, of modules of one class, stacked along a new first axis."""
    if not isinstance(models, Iterable) or not (listed := list(models)) or not _are_alike(listed):
        raise OptionError(f"stack_module_state: takes modules of one class in one mode, got {shown(models)}")
    found: list[dict[str, Tensor]] = []
    for table in ("named_parameters", "named_buffers"):
        of_each: list[dict[str, Tensor]] = [dict(getattr(one, table)()) for one in listed]
        if any(one.keys() != of_each[0].keys() for one in of_each):
            raise OptionError("stack_module_state: the modules have parameters or buffers of different names")
        found.append({path: Tensor.wrap(np.stack([one[path].numpy() for one in of_each])) for path in of_each[0]})
    wanted = dict(listed[0].named_parameters())
    parameters = {path: t.requires_grad_(wanted[path].requires_grad) for path, t in found[0].items()}
    return parameters, found[1]


def _are_alike(models: Sequence[object]) -> bool:
    kinds = {(type(one), one.training) if isinstance(one, Module) else None for one in models}
    return len(kinds) == 1 and None not in kinds


def _joined(given: object) -> dict[str, Tensor]:
    """The tensors of all dicts, by path."""
    found: dict[str, Tensor] = {}
    for one in given if isinstance(given, list | tuple) else (given,):
        for path, tensor in checks.mapping("functional_call", "parameters_and_buffers", one).items():
            if path in found:
                raise OptionError(f"functional_call: {shown(path)} is in two of the dicts")
            if not isinstance(tensor, Tensor):
                raise OptionError(f"functional_call: {shown(path)} is a tensor, got {shown(tensor)}")
            found[path] = tensor
    return found


def _places(
    module: Module, given: Mapping[str, Tensor], tie_weights: bool, strict: bool
) -> list[tuple[dict[str, Tensor], str, Tensor]]:
    """The entries to replace: the table, the name in it, and the new tensor."""
    entries = {
        f"{path}.{name}" if path else name: (table, name)
        for path, one in _paths(module)
        for table in state_tables(one)
        for name, tensor in table.items()
        if tensor is not None
    }
    unknown = [path for path in given if path not in entries]
    if unknown:
        raise OptionError(f"functional_call: {type(module).__name__} has no parameter or buffer at {shown(unknown[0])}")
    chosen: dict[int, tuple[str, Tensor]] = {}
    for path, tensor in given.items():
        table, name = entries[path]
        own = table[name]
        if own.shape != tensor.shape or own.dtype != tensor.dtype:
            raise ShapeError(f"functional_call: {path} is {own.type}, the given tensor {tensor.type}")
        other = chosen.setdefault(id(own), (path, tensor))[1]
        if tie_weights and other is not tensor:
            raise OptionError(
                f"functional_call: {path} and {chosen[id(own)][0]} are one tensor of the module, and two are given; "
                f"give one, or tie_weights=False"
            )
    missing = [
        path for path, (table, name) in entries.items()
        if path not in given and not (tie_weights and id(table[name]) in chosen)
    ]  # fmt: skip
    if checks.flag("functional_call", "strict", strict) and missing:
        raise OptionError(f"functional_call: not given: {missing}; strict=False keeps the module's own")
    if tie_weights:
        return [(t, n, chosen[id(t[n])][1]) for t, n in entries.values() if id(t[n]) in chosen]
    return [(*entries[path], tensor) for path, tensor in given.items()]


def _paths(module: Module) -> Iterator[tuple[str, Module]]:
    """All modules, each by every path to it; one that contains itself is not entered again."""
    stack: list[tuple[str, Module, frozenset[int]]] = [("", module, frozenset())]
    while stack:
        path, one, above = stack.pop()
        yield path, one
        inside = above | {id(one)}
        children = [(f"{path}.{n}" if path else n, m, inside) for n, m in one.named_children() if id(m) not in inside]
        stack.extend(reversed(children))


@contextmanager
def _replaced(places: Sequence[tuple[dict[str, Tensor], str, Tensor]]) -> Iterator[None]:
    """While inside, the entries of the tables are replaced."""
    before = [(table, name, table[name]) for table, name, _ in places]
    try:
        _enter(places)
        yield
    finally:
        _enter(before)


def _enter(places: Sequence[tuple[dict[str, Tensor], str, Tensor]]) -> None:
    for table, name, tensor in places:
        table[name] = tensor
