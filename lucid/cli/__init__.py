"""The command line: ``lucid``, or ``python -m lucid``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..base.lazy import LazyModule

commands = LazyModule("lucid.cli.commands")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 if something is wrong or differs, or 2 for bad input."""
    try:
        run = commands.run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write(f"lucid: the command line needs the package {error.name}: pip install 'lucid[cli]'\n")
        return 2
    code: int = run(arguments)
    return code
