"""``lucid plugins``: what installed distributions add."""

from __future__ import annotations

from dataclasses import asdict

import click

from ..base.plugins import Plugin
from ..errors import PluginError
from ..extend.installed import found, installed
from .answer import GOOD, WRONG, Answer, Table

PARAMETERS = (click.Option(["--check"], is_flag=True, help="Import each, and say what is broken."),)


def run(check: bool) -> Answer:
    """Nothing of it is imported without --check; the exit code is 1 where something is broken."""
    listed, wrong = installed(), dict[Plugin, str]()
    for plugin in listed if check else ():
        try:
            found(plugin)
        except PluginError as error:
            wrong[plugin] = str(error)
    data = [{**asdict(one), **({"broken": wrong.get(one)} if check else {})} for one in listed]
    rows = [(one.kind, one.name, f"{one.distribution} {one.version}", one.target) for one in listed]
    parts: list[str | Table] = [Table(("kind", "name", "of", "where"), rows)] if listed else ["there are none"]
    return Answer({"plugins": data}, [*parts, *wrong.values()], WRONG if wrong else GOOD)
