"""Modules that load on first use, so that ``import lucid`` takes little longer than ``import numpy``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .garbage import collection_paused


class LazyModule(ModuleType):
    """Stands for the module of its name, which is imported when one of its attributes is first used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = import_unhindered(self.__name__)
        self.__dict__.update({key: value for key, value in vars(module).items() if not key.startswith("__")})
        return getattr(module, name)


@collection_paused()
def import_unhindered(name: str, package: str | None = None) -> ModuleType:
    """``importlib.import_module`` without garbage collection, as modules are not garbage."""
    return import_module(name, package)


def from_home(package: str, homes: Mapping[str, str], name: str) -> Any:
    """The attribute ``name`` of a package, imported from its module in ``homes`` (or that module itself).

    This is for the package's ``__getattr__``; the result is stored in the package, so it is called only once per name.
    """
    module = import_unhindered(f".{homes[name]}", package)
    found = module if homes[name] == name else getattr(module, name)
    vars(sys.modules[package])[name] = found
    return found


if TYPE_CHECKING:
    import base64 as base64
    import ctypes as ctypes
    import difflib as difflib
    import hashlib as hashlib
    import html as html
    import pathlib as pathlib
    from concurrent import futures as futures
    from importlib import metadata as metadata

    import networkx as networkx
    import threadpoolctl as threadpoolctl
else:
    base64 = LazyModule("base64")
    ctypes = LazyModule("ctypes")
    difflib = LazyModule("difflib")
    hashlib = LazyModule("hashlib")
    html = LazyModule("html")
    futures = LazyModule("concurrent.futures")
    metadata = LazyModule("importlib.metadata")
    networkx = LazyModule("networkx")
    pathlib = LazyModule("pathlib")
    threadpoolctl = LazyModule("threadpoolctl")
