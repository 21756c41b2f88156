"""The examples of docs/max_pool2d.md run and print what the page says."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

from lucid import nn
from lucid.nn import functional

PAGE = Path(__file__).parents[2] / "docs" / "max_pool2d.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_has_three_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int) -> None:
    test = doctest.DocTestParser().get_doctest(EXAMPLES[number], {}, f"example {number + 1}", str(PAGE), 0)
    assert test.examples
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


def test_the_signature_is_the_one_of_the_page() -> None:
    (text,) = re.findall(r"`lucid\.nn\.MaxPool2d\((.*?)\)`", PAGE.read_text(encoding="utf-8"))
    parameters = inspect.signature(nn.MaxPool2d).parameters
    for entry in text.replace("*, ", "").split(", "):
        name, default = entry.split("=")
        assert repr(parameters[name].default) == default
        assert repr(inspect.signature(functional.max_pool2d).parameters[name].default) == default
