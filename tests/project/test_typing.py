"""The program that the type checker reads runs, and the package says that it has types."""

from __future__ import annotations

from pathlib import Path

import lucid

from ..typing import user_program


def test_the_program_runs() -> None:
    user_program.main()


def test_the_package_is_typed() -> None:
    assert (Path(lucid.__file__).parent / "py.typed").exists()
    root = Path(__file__).parents[2]
    assert "tests/typing" in (root / "pyproject.toml").read_text("utf-8")  # what `make lint` has mypy read
