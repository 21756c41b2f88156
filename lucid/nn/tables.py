"""What every module holds: tables of its parameters, buffers, modules and hooks."""

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
}
"""The attributes that every module has once it is initialised, and what makes each."""

TABLES: Final = tuple(name for name, make in OWN.items() if make is Table)
"""Those of which a change is noticed: what is transient is only not saved."""


ATTRIBUTES: Final = ("_parameters", "_buffers", "_modules")
"""Those whose entries are attributes of the module."""


def tensors_of(module: object) -> list[Tensor]:
    """A module's own parameters and buffers."""
    return [t for table in state_tables(module) for t in table.values() if t is not None]


def state_tables(module: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tables of a module's own parameters and buffers, in which None may stand too."""
    own = module.__dict__
    return own["_parameters"], own["_buffers"]


def hooks_of(module: object) -> list[Callable[..., object]]:
    """What a module calls before and after its ``forward``."""
    own = module.__dict__
    return [*own["_pre_hooks"].values(), *own["_hooks"].values()]
