"""Plug-ins that other distributions declare by entry points; searched for on demand, never at import."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from ..errors import PluginError, from_handler
from .lazy import metadata
from .structs import struct

Kind: TypeAlias = Literal["op", "pass", "backend"]

GROUPS: Final[dict[Kind, str]] = {"op": "lucid.ops", "pass": "lucid.passes", "backend": "lucid.backends"}
"""The group of entry points of each kind of plug-in."""
CALLED: Final[dict[Kind, str]] = {"op": "op", "pass": "pass", "backend": "back end"}
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@struct(frozen=True)
class Plugin:
    """A plug-in that an installed distribution announces by an entry point.

    Attributes
    ----------
    kind
        ``"op"``, ``"pass"`` or ``"backend"``.
    name
        Name of the op, the pass or the back end.
    target
        Its location, as ``module:attribute``.
    distribution, version
        Name and version of the distribution.
    """

    kind: Kind
    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return (
            f"the {CALLED[self.kind]} {self.name!r} of the plug-in {self.distribution} {self.version} ({self.target})"
        )

    def load(self) -> object:
        """Import it.

        Raises
        ------
        PluginError
            If anything goes wrong; it names the distribution.
        """
        try:
            return metadata.EntryPoint(self.name, self.target, GROUPS[self.kind]).load()
        except (Exception, SystemExit) as error:
            if from_handler(error):
                raise
            raise PluginError(f"{self} cannot be loaded: {type(error).__name__}: {error}") from error


def announced(kind: Kind) -> tuple[Plugin, ...]:
    """All plug-ins of a kind, sorted by name; none is imported."""
    try:
        entries = metadata.entry_points(group=GROUPS[kind])
        found = {_plugin(kind, entry) for entry in entries}
    except Exception as error:
        if from_handler(error):
            raise
        raise PluginError(f"what is installed cannot be listed: {type(error).__name__}: {error}") from error
    return tuple(sorted(found, key=lambda one: (one.name, one.distribution)))


def _plugin(kind: Kind, entry: metadata.EntryPoint) -> Plugin:
    home = entry.dist
    name, version = (home.metadata["Name"], home.version) if home is not None else ("of no name", "")
    return Plugin(kind, entry.name, entry.value, name, version)


def find(kind: Kind, name: str) -> Plugin | None:
    """The plug-in of that name; None if no distribution announces one.

    Raises
    ------
    PluginError
        If several do.
    """
    found = [one for one in announced(kind) if one.name == name]
    if len(found) > 1:
        listed = " and ".join(f"{one.distribution} ({one.target})" for one in found)
        raise PluginError(f"the {CALLED[kind]} {name!r} is announced by {listed}: uninstall one of them")
    return found[0] if found else None
