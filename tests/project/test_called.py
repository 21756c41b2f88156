"""What programs call knows nothing of the compiler: a program and these functions could stand alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lucid
from lucid.runtime import eager
from lucid.runtime.program.names import Names
from lucid.runtime.program.printer import generate

from ..nets import NETS
from ..op_checks import all_cases
from ..random_models import RandomModel
from ..runtime.test_statements import run, with_each_lowering
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


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The modules of all that programs use from here on."""
    found: set[str] = set()
    use: Callable[..., str] = Names.use

    def noted(names: Names, thing: Any, base: str | None = None) -> str:
        found.update(homes(thing))
        return use(names, thing, base)

    monkeypatch.setattr(Names, "use", noted)
    eager.op_call.cache_clear()
    return found


def check(used: set[str]) -> None:
    assert VIEWS in used
    wrong = [f"{module} knows {', '.join(of_compiler(module, imports()))}" for module in sorted(used)
             if of_compiler(module, imports())]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_every_op(used: set[str]) -> None:
    for case in all_cases():
        run(case)
    assert "lucid.runtime.kernels.calls" in used
    check(used | {VIEWS})  # only programs of several steps have memory of their own


@pytest.mark.parametrize("seed", range(8))
def test_random_nets(seed: int, used: set[str]) -> None:
    model = RandomModel(seed).train(seed % 2 == 0)
    net = lucid.compile(model, lucid.spec("N", *model.input_shape))
    for graph in (net.graph, net.backward_graph):
        for plan in with_each_lowering(graph.bind({"N": 3})):
            generate(plan)
    check(used)


@pytest.mark.parametrize("name", ["lenet", "vgg11", "resnet18", "mobilenet"])
def test_nets(name: str, used: set[str]) -> None:
    net = NETS[name]
    compiled = lucid.compile(net.model(), lucid.spec("N", *net.small[1:]))
    for plan in with_each_lowering(compiled.graph.bind({"N": net.small[0]})):
        generate(plan)
    check(used)


def test_the_rule_can_fail() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..program.emitter import Operand"
    made = {**imports(), "lucid.runtime.kernels.calls": imports_of("lucid.runtime.kernels.calls", source)}
    assert of_compiler("lucid.runtime.kernels.calls", imports()) == []
    made["lucid.runtime.kernels.x"] = imports_of("lucid.runtime.kernels.x", "from .calls import check_divisor")
    for module in ("lucid.runtime.kernels.calls", "lucid.runtime.kernels.x"):
        assert "lucid.runtime.program.emitter" in of_compiler(module, made)
    assert list(homes([len, 1.0, (Names, check)])) == ["lucid.runtime.program.names"]
    assert list(homes(Names())) == ["lucid.runtime.program.names"]
