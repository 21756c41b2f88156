"""Structs are dataclasses whose methods are written when they are first asked for."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import pytest

import lucid
from lucid.base.structs import struct
from lucid.compiler.guards.code import is_library_code
from lucid.graph.dims import SymDim, symbol

Decorate = Callable[..., Any]


def point(decorate: Decorate) -> Any:
    @decorate(frozen=True)
    class Point:
        x: int
        y: float = 2.5
        parts: list[int] = field(default_factory=list, hash=False)
        note: str = field(default="n", compare=False, repr=False)
        count: ClassVar[int] = 7
        made: int = field(init=False, default=3)
        last: int = field(kw_only=True, default=1)

    return Point


def mutable(decorate: Decorate) -> Any:
    @decorate
    class Mutable:
        a: int
        names: dict[str, int] = field(default_factory=dict)
        twice: int = field(init=False)
        inner: list[str] = field(init=False, default_factory=lambda: ["in"])

        def __post_init__(self) -> None:
            self.twice = 2 * self.a

    return Mutable


def below(decorate: Decorate) -> Any:
    @decorate(frozen=True, repr=False)
    class Below(point(decorate)):  # type: ignore[misc]
        y: float = 9.0
        z: str = "z"

        def __repr__(self) -> str:
            return "below"

    return Below


def by_identity(decorate: Decorate) -> Any:
    @decorate(frozen=True, eq=False)
    class Identity:
        a: int

        def __hash__(self) -> int:
            return 5

    return Identity


def empty(decorate: Decorate) -> Any:
    @decorate(frozen=True)
    class Empty:
        pass

    return Empty


def own(decorate: Decorate) -> Any:
    @decorate
    class Own:
        a: int

        def __init__(self, a: int) -> None:
            self.a = a + 1

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    return Own


KINDS = [point, mutable, below, by_identity, empty, own]


def both(kind: Callable[[Decorate], Any]) -> tuple[Any, Any]:
    return kind(struct), kind(dataclass)


def told(run: Callable[[], object]) -> object:
    """What comes of it, or what the error says."""
    try:
        return run()
    except (TypeError, dataclasses.FrozenInstanceError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "arguments", [((), {}), ((1,), {}), ((1, 2), {}), ((1,), {"last": 5}), ((1, 2, 3, 4, 5), {}), ((), {"no": 1})]
)
def test_instances_are_as_those_of_dataclasses(
    kind: Callable[[Decorate], Any], arguments: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    ours, theirs = both(kind)
    args, kwargs = arguments
    found, wanted = told(lambda: ours(*args, **kwargs)), told(lambda: theirs(*args, **kwargs))
    if isinstance(wanted, tuple):
        assert found == wanted
        return
    again = ours(*args, **kwargs)
    assert vars(found) == vars(wanted)
    assert repr(found) == repr(wanted)
    assert (found == again) == (wanted == theirs(*args, **kwargs))
    assert found != wanted or kind is own  # of other classes
    assert told(lambda: hash(found)) == told(lambda: hash(wanted)) or theirs.__hash__ is object.__hash__
    assert isinstance(found, Hashable) == isinstance(wanted, Hashable)
    assert dataclasses.asdict(found) == dataclasses.asdict(wanted)  # type: ignore[call-overload]
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    for name in ("x", "other"):
        assert told(lambda name=name: setattr(found, name, 1)) == told(lambda name=name: setattr(wanted, name, 1))
        assert told(lambda name=name: delattr(found, name)) == told(lambda name=name: delattr(wanted, name))
    assert vars(copy.copy(found)) == vars(wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_look_as_dataclasses_do(kind: Callable[[Decorate], Any]) -> None:
    ours, theirs = both(kind)
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert ours.__init__.__qualname__ == theirs.__init__.__qualname__
    assert ours.__match_args__ == theirs.__match_args__
    assert dataclasses.is_dataclass(ours)
    shown = {name for name in vars(theirs) if not name.startswith("__")}
    assert {name for name in vars(ours) if not name.startswith("__")} == shown
    assert all(getattr(ours, name) == getattr(theirs, name) for name in shown if not callable(getattr(ours, name)))


def test_equal_by_what_is_compared() -> None:
    ours = point(struct)
    assert ours(1, note="a") == ours(1, note="b") != ours(2)
    assert hash(ours(1, note="a", parts=[1])) == hash(ours(1, parts=[2]))
    assert dataclasses.replace(ours(1), x=4) == ours(4)
    nan = float("nan")
    assert ours(1, nan) == ours(1, nan)  # as in tuples


def test_methods_are_written_when_asked_for() -> None:
    ours = point(struct)

    def written() -> set[str]:
        return {name for name in ("__init__", "__eq__", "__hash__") if type(vars(ours)[name]) is FunctionType}

    assert written() == set()
    one = ours(1)
    assert written() == {"__init__"}
    assert one == ours(1)
    assert written() == {"__init__", "__eq__"}
    assert hash(one) == hash(ours(1))
    assert written() == {"__init__", "__eq__", "__hash__"}


def test_a_method_taken_down_before_it_is_written_is_the_written_one() -> None:
    ours = point(struct)
    later = vars(ours)["__init__"]
    assert later.__get__(None, ours) is later.__get__(None, ours) is ours.__init__


def test_classes_made_of_one_write_for_themselves() -> None:
    base = point(struct)

    class Plain(base):  # type: ignore[misc]
        pass

    assert Plain(3).x == 3
    assert Plain(3) == Plain(3) != base(3)
    derived = dataclass(frozen=True)(type("Derived", (base,), {"__annotations__": {"w": "int"}, "w": 4}))
    assert derived(1).w == 4
    with pytest.raises(TypeError, match="non-frozen dataclass from a frozen one"):
        dataclass(type("Loose", (base,), {}))


def test_nested_ones_end_where_they_meet_themselves() -> None:
    one = mutable(struct)(1)
    one.names["self"] = one
    assert "..." in repr(one)


def test_abstract_methods_are_told() -> None:
    @struct(frozen=True)
    class Base(ABC):
        @abstractmethod
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()


@struct(frozen=True)
class Sent:
    """Known by its name, so that it can be sent elsewhere."""

    a: int
    b: tuple[str, ...] = ()


def test_they_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Sent(1, ("x",)))) == Sent(1, ("x",))


def test_what_is_no_struct_is_refused() -> None:
    with pytest.raises(TypeError, match="without a default follows"):
        struct(type("Late", (), {"__annotations__": {"a": "int", "b": "int"}, "a": 1}))
    with pytest.raises(ValueError, match="mutable default"):
        struct(type("List", (), {"__annotations__": {"a": "list"}, "a": []}))
    with pytest.raises(TypeError, match="InitVar"):
        struct(type("Init", (), {"__annotations__": {"a": InitVar[int]}}))
    with pytest.raises(TypeError, match="__setattr__"):
        struct(frozen=True)(type("Set", (), {"__setattr__": lambda self, name, value: None}))


def test_hidden_fields_do_not_count_as_ours() -> None:
    @struct
    class Counted:
        shared: ClassVar[dict[str, int]] = {}
        a: int = 0

    assert [f.name for f in dataclasses.fields(Counted)] == ["a"]
    assert Counted(2).shared is Counted.shared


def test_the_package_makes_dataclasses_only_where_structs_are_none() -> None:
    """Each would compile its methods whenever its module is imported."""
    package = Path(lucid.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                made = [ast.unparse(one) for one in node.decorator_list]
                plain = [one for one in made if one.startswith("dataclass") and "slots=True" not in one]
                assert not plain or "InitVar[" in ast.unparse(node), f"{path.name}: {node.name} can be a struct"


def test_its_methods_belong_to_the_module_of_the_class() -> None:
    """A trace searches all that the program holds for closures of functions that are not the library's."""
    one, other = symbol("a") + 1, symbol("a") + 1
    assert one == other and hash(one) == hash(other) and isinstance(one, SymDim)
    for method in (SymDim.__init__, SymDim.__eq__, SymDim.__hash__):
        assert is_library_code(method.__code__, method.__globals__), method
