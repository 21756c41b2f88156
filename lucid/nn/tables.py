"""The tables that every module has: of its parameters, buffers, modules and hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..base.changes import Table

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

OWN: Final[Mapping[str, Callable[[], Any]]] = {
    "_parameters": Table,
    "_buffers": Table,
    "_transient": set,
    "_modules": Table,
    "_pre_hooks": Table,
    "_hooks": Table,
    "_backward_pre_hooks": Table,
    "_backward_hooks": Table,
}
"""The attributes of every initialised module, with the function that creates each."""

TABLES: Final = tuple(name for name, make in OWN.items() if make is Table)
"""The attributes whose changes are noticed; the set of non-persistent buffers only affects saving."""


ATTRIBUTES: Final = ("_parameters", "_buffers", "_modules")
"""The tables whose entries are attributes of the module."""


def tensors_of(module: object) -> list[Tensor]:
    """A module's own parameters and buffers."""
    return [t for table in state_tables(module) for t in table.values() if t is not None]


def state_tables(module: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tables of a module's own parameters and buffers; entries may be None."""
    own = module.__dict__
    return own["_parameters"], own["_buffers"]


def hooks_of(module: object) -> list[Callable[..., object]]:
    """The hooks that a module calls before and after its ``forward``."""
    own = module.__dict__
    return [*own["_pre_hooks"].values(), *own["_hooks"].values()]
