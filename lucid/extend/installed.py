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
    """The op, the pass or the back end that a plug-in announces, imported now; raises an error if it is broken."""
    return _FIND[plugin.kind](plugin.name)


def installed() -> tuple[Plugin, ...]:
    """The plug-ins of the installed distributions, by kind and name; none of them is imported."""
    return tuple(one for kind in KINDS for one in announced(kind))


def load() -> tuple[Plugin, ...]:
    """Import all plug-ins, so that all are available by name, and broken ones are known.

    Those that are used are found without it. One that cannot be imported is skipped, with a
    :class:`~lucid.errors.PluginWarning` that names the distribution.

    Returns
    -------
    The plug-ins that were imported.
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
