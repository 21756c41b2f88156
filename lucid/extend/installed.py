"""Installed plug-ins."""

from __future__ import annotations

import warnings

from ..base.plugins import KINDS, Plugin, announced
from ..errors import PluginError, PluginWarning
from ..graph.opdef import find_op
from ..passes.registered import registered
from ..runtime.backends import find_backend

_FIND = {"op": find_op, "pass": registered, "backend": find_backend}


def found(plugin: Plugin) -> object:
    """The op, the pass or the back end that a plug-in announces, imported now; raises where it is broken."""
    return _FIND[plugin.kind](plugin.name)


def installed() -> tuple[Plugin, ...]:
    """What the installed distributions announce, by kind and name; nothing of it is imported."""
    return tuple(one for kind in KINDS for one in announced(kind))


def load() -> tuple[Plugin, ...]:
    """Import all that is announced; so it is there by name, and what is broken is known.

    What is used is found without it. What cannot be loaded is left out, with a :class:`~lucid.errors.PluginWarning`
    that names the distribution.

    Returns
    -------
    What was loaded.
    """
    loaded = []
    for plugin in installed():
        try:
            found(plugin)
        except PluginError as error:
            warnings.warn(str(error), PluginWarning, stacklevel=2)
        else:
            loaded.append(plugin)
    return tuple(loaded)
