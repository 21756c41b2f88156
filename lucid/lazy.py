"""Modules that load when first used, so that ``import lucid`` costs little more than ``import numpy``."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class LazyModule(ModuleType):
    """Stands for the module of its name, which is imported when one of its attributes is first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = import_module(self.__name__)
        self.__dict__.update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, name)


if TYPE_CHECKING:
    import pathlib as pathlib
    from concurrent import futures as futures

    import networkx as networkx
    import threadpoolctl as threadpoolctl
else:
    futures = LazyModule("concurrent.futures")
    networkx = LazyModule("networkx")
    pathlib = LazyModule("pathlib")
    threadpoolctl = LazyModule("threadpoolctl")
