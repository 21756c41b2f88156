"""Follows the recipes of CONTRIBUTING.md to the letter, in a copy of the project, and runs the tests they end with."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..machines import bare

ROOT = Path(__file__).parents[2]
STEP = re.compile(
    r"(?P<where>At the end of|The new file|In)\s+`(?P<file>[^`]+)`(?:, after `(?P<anchor>[^`]+)`)?:\n\n"
    r"```python\n(?P<code>.*?)```\n",
    re.S,
)
COMMAND = re.compile(r"```sh\n(?P<command>.*?)```", re.S)


def recipe(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def follow(section: str, root: Path) -> int:
    """Do every step; returns how many there were."""
    steps = list(STEP.finditer(section))
    for step in steps:
        path, code = root / step["file"], step["code"]
        if step["where"] == "The new file":
            assert not path.exists(), f"{path} is not new"
            path.write_text(code, "utf-8")
        elif step["where"] == "At the end of":
            with path.open("a", encoding="utf-8") as file:
                file.write("\n\n" + code)
        else:
            before, anchor, after = path.read_text("utf-8").partition(f"{step['anchor']}\n")
            assert anchor, f"{step['file']} has no line {step['anchor']!r}"
            path.write_text(before + anchor + code + after, "utf-8")
    assert len(steps) == section.count("```python"), "a block of code has no sentence that says where it goes"
    return len(steps)


def run(section: str, root: Path) -> str:
    (command,) = COMMAND.findall(section)
    program, *arguments = shlex.split(command)
    assert program == "python"
    arguments += ["-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, env=bare(root))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("lucid", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def passed(output: str) -> int:
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


def test_adding_an_op(copy: Path) -> None:
    section = recipe("Adding an op")
    assert follow(section, copy) == 6
    # each piece is needed: completeness, every test of the row in both dtypes, what is drawn, and what is written
    assert passed(run(section, copy)) >= 10


def test_adding_a_pass(copy: Path) -> None:
    section = recipe("Adding a pass")
    assert follow(section, copy) == 4
    assert passed(run(section, copy)) == 2
    check = "import lucid; f = lucid.compile(lambda x: x.sigmoid().relu(), lucid.spec(4)); print(f.graph.text())"
    done = subprocess.run([sys.executable, "-c", check], cwd=copy, capture_output=True, text=True, env=bare(copy))
    assert done.returncode == 0, done.stderr
    assert "Sigmoid" in done.stdout
    assert "Relu" not in done.stdout


def test_adding_a_lowering(copy: Path) -> None:
    section = recipe("Adding a lowering")
    assert follow(section, copy) == 3
    assert len((copy / "lucid/runtime/kernels/conv/patches.py").read_text("utf-8").splitlines()) < 100
    assert passed(run(section, copy)) == 4
