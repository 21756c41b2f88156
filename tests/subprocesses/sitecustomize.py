"""Tells an interpreter that a test starts which machine is described (see ``tests/machines.py``).

Python imports this file when it starts. It waits for the two modules that must know, and makes nothing load earlier.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class Finder:
    """Finds a module as it would be found without it, and adds what is to be done once the module is loaded."""

    def __init__(self, waiting: dict[str, Callable[[ModuleType], object]]) -> None:
        self.waiting = waiting

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        then = self.waiting.pop(name, None)
        spec = PathFinder.find_spec(name, path, target) if then is not None else None
        if then is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            then(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


given = os.environ.get("LUCID_TESTS_MACHINE")
if given is not None:
    found = json.loads(given)
    sys.meta_path.insert(
        0,
        Finder({
            "lucid.runtime.planning.machine": lambda module: module.describe(module.Machine(**found)),
            "lucid": lambda module: module.set_num_threads(found["cores"], processes=found["helpers"]),
        }),
    )  # fmt: skip
