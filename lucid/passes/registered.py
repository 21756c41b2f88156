"""Passes by name: those registered at run time, and those that plug-ins provide."""

from __future__ import annotations

from typing import Literal

from ..base import plugins
from ..base.structs import struct
from ..errors import OptionError, PluginError
from .pipeline import Pass


@struct(frozen=True)
class Registered:
    """A pass and its position: directly ``how`` ("after" or "before") the pass named ``beside``."""

    one: Pass
    how: Literal["after", "before"]
    beside: str


_REGISTERED: dict[str, Registered] = {}


def enter(entry: Registered, *, replace: bool = False) -> None:
    """Register a pass; its name must be new unless ``replace``."""
    if entry.one.name in _REGISTERED and not replace:
        raise OptionError(f"a pass named {entry.one.name!r} is registered already")
    _REGISTERED[entry.one.name] = entry


def registered(name: str) -> Registered:
    """The pass of that name; one that a plug-in provides is loaded now."""
    if name not in _REGISTERED:
        plugin = plugins.find("pass", name)
        if plugin is None:
            there = ", ".join(names()) or "none"
            raise OptionError(f"no pass named {name!r} is registered, or announced by what is installed: {there}")
        plugin.load()
        if name not in _REGISTERED:
            raise PluginError(f"{plugin} registers no pass of that name: lucid.extend.register_pass does")
    return _REGISTERED[name]


def names() -> tuple[str, ...]:
    """The names of all registered passes, and of those that plug-ins announce."""
    return tuple(sorted({*_REGISTERED, *(one.name for one in plugins.announced("pass"))}))
