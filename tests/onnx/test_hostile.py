"""Models that mean harm: one clear error each, soon and in little memory. They run in one process, which is limited."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from .hostile import EXTERNAL, MODELS

WANTED = {name: says for table in (MODELS, EXTERNAL) for name, (_, says) in table.items()}
SECONDS, MEGABYTES = 15, 3000
"""Of the processor's time for one model, and of memory for the process that tries all of them."""


def outcomes() -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.onnx.hostile"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not found.returncode, found.stderr[-3000:]
    return {one["name"]: one for one in map(json.loads, found.stdout.splitlines())}


def test_models_that_mean_harm_are_refused() -> None:
    wrong, found = [], outcomes()
    for name, says in WANTED.items():
        one = found[name]
        first = one["said"].partition("\n")[0]
        if one["raised"] or not re.search(says, one["said"]) or (says and not one["said"]):
            wrong.append(f"{name}: {one['raised'] or one['said']!r} instead of {says!r}")
        elif not all(line.isprintable() for line in one["said"].split("\n")) or len(first) > 1200:
            wrong.append(f"{name}: not fit to print: {one['said']!r}")
        elif one["seconds"] > SECONDS:
            wrong.append(f"{name}: took {one['seconds']:.1f} s")
    assert not wrong, "\n".join(wrong)
    assert max(one["megabytes"] for one in found.values()) < MEGABYTES
