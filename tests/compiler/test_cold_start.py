"""What a fresh process imports: to load a model and to call it takes neither proof nor pictures nor traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lucid
from lucid import nn
from lucid.graph.opdef import all_ops
from lucid.runtime.kernels import HOMES
from lucid.runtime.planning.registry import lowerings

LOADED = """
import sys
import numpy as np
import lucid
net = lucid.load(sys.argv[1])
net(np.ones((1, 4), np.float32))
print(*sorted(sys.modules))
"""
UNNEEDED = (
    "lucid.proof", "lucid.reference", "lucid.inspect", "lucid.report", "lucid.formats.draw", "lucid.formats.text",
    "lucid.compiler.record", "lucid.compiler.guards.observe", "lucid.compiler.onnx_file", "lucid.onnx", "lucid.optim",
    "lucid.runtime.kernels.attention", "lucid.runtime.kernels.conv", "lucid.runtime.kernels.pool",
    "lucid.runtime.kernels.recurrent", "lucid.data", "lucid.training",
    "lucid.models", "lucid.extend", "lucid.comparison", "lucid.cli",
)  # fmt: skip


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules of a process that has loaded a small model and called it once."""
    path = tmp_path_factory.mktemp("cold") / "net.lucid"
    lucid.compile(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), lucid.spec("N", 4)).save(path)
    root = Path(lucid.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", LOADED, str(path)], capture_output=True, text=True, check=True, cwd=root, timeout=120
    )
    return set(run.stdout.split())


@pytest.mark.parametrize("name", UNNEEDED)
def test_a_loaded_model_runs_without(name: str, imported: set[str]) -> None:
    assert name not in imported


def test_what_runs_it_is_there(imported: set[str]) -> None:
    """Guards the other test: the process has loaded and run a model."""
    assert {"lucid.compiler.compiled", "lucid.formats.serialize", "lucid.runtime.kernels.linear"} <= imported


def test_kernels_are_found_by_the_attributes_of_their_ops() -> None:
    """Those of one package run all ops whose attributes are declared in the modules that it has, and no others."""
    homes = {name: module.__name__ for name, module in HOMES.items()}
    for op in all_ops():
        home = homes.get(op.attrs.__module__)
        for one in lowerings(op):
            package = ".".join(one.emit.__module__.split(".")[:4])
            found = package if package in homes.values() else None
            assert found == home, f"{op.name} is run by {package}"
    assert {op.attrs.__module__ for op in all_ops() if lowerings(op)} >= set(homes)


BROKEN_OFF = """
import sys
import lucid
from lucid import nn
from lucid.runtime.planning import registry
whole, left = registry.kernel, [int(sys.argv[1])]
def broken_off(*ops, **traits):
    left[0] -= 1
    if not left[0]:
        raise KeyboardInterrupt
    return whole(*ops, **traits)
registry.kernel = broken_off
x, model = lucid.ones(1, 2, 4, 4), nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU())
try:
    model(x)
except KeyboardInterrupt:
    print("interrupted")
registry.kernel = whole
print(tuple(model(x).shape), lucid.ones(3).exp().shape, lucid.compile(lambda x: x.reshape(-1).abs())(x).shape)
"""


@pytest.mark.parametrize("kernels", [2, 30, 60, 90])
def test_ctrl_c_while_kernels_are_imported_leaves_them_usable(kernels: int) -> None:
    """What the module had registered in which it came is registered once more."""
    run = subprocess.run([sys.executable, "-c", BROKEN_OFF, str(kernels)], capture_output=True, text=True, timeout=120)
    assert (run.stdout.splitlines(), run.stderr) == (["interrupted", "(1, 3, 4, 4) (3,) (32,)"], "")
