"""What programs call knows nothing of the compiler: a program and these functions could stand alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from lucid.runtime.program.names import Names

from .test_architecture import imports, imports_of

COMPILER = (
    "lucid.graph.ir", "lucid.graph.opdef", "lucid.graph.ops", "lucid.graph.trace", "lucid.autodiff", "lucid.passes",
    "lucid.tensor", "lucid.compiler", "lucid.runtime.planning", "lucid.runtime.program",
)  # fmt: skip
VIEWS = "lucid.runtime.program.views"


def known_to(module: str, imports: dict[str, Any]) -> set[str]:
    """The package's modules that it imports, or that these do."""
    found: set[str] = set()
    stack = [module]
    while stack:
        name = stack.pop()
        if name not in found and name in imports:
            found.add(name)
            stack.extend(imports[name].found)
    return found


def of_compiler(module: str, imports: dict[str, Any]) -> list[str]:
    """What of the compiler a module knows."""
    rooms = tuple(f"{room}." for room in COMPILER)
    return sorted(m for m in known_to(module, imports) if m != VIEWS and (m in COMPILER or m.startswith(rooms)))


def homes(thing: Any) -> Iterator[str]:
    """The package's modules that a function, class or object comes from, and whatever is within a list."""
    if isinstance(thing, list | tuple):
        for part in thing:
            yield from homes(part)
    home = getattr(thing, "__module__", None) if callable(thing) else type(thing).__module__
    if isinstance(home, str) and home.split(".")[0] == "lucid":
        yield home


def used(programs: Iterable[Names]) -> set[str]:
    """The modules of all that programs use."""
    return {home for names in programs for thing in names.namespace.values() for home in homes(thing)}


def assert_stands_alone(used: set[str]) -> None:
    """The rule: :mod:`tests.runtime.test_statements` has programs of every op and lowering, and asks this of them."""
    known = {module: of_compiler(module, imports()) for module in sorted(used)}
    wrong = [f"{module} knows {', '.join(found)}" for module, found in known.items() if found]
    assert not wrong, "\n".join(wrong)


def test_the_rule_can_fail() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..program.emitter import Operand"
    made = {**imports(), "lucid.runtime.kernels.calls": imports_of("lucid.runtime.kernels.calls", source)}
    assert of_compiler("lucid.runtime.kernels.calls", imports()) == []
    made["lucid.runtime.kernels.x"] = imports_of("lucid.runtime.kernels.x", "from .calls import check_divisor")
    for module in ("lucid.runtime.kernels.calls", "lucid.runtime.kernels.x"):
        assert "lucid.runtime.program.emitter" in of_compiler(module, made)
    assert list(homes([len, 1.0, (Names, used)])) == ["lucid.runtime.program.names"]
    assert list(homes(Names())) == ["lucid.runtime.program.names"]
    names = Names()
    names.use(names)
    with pytest.raises(AssertionError, match="names knows "):
        assert_stands_alone(used([names]))
