# ruff: noqa: E501 - a table of short programs, one a line
"""Generated programs: a number that the traced code reads lives somewhere, and changes in some way between two calls.

After every change the compiled program gives what the eager one gives, or refuses at a trace. A program is drawn as
(where the value is held) x (what holds it there) x (how the code is written) x (how it changes) x (how it is called).
"""

from __future__ import annotations

import gc
import linecache
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

import lucid
from lucid import LucidError

from .sweep import Case

SMALL = 150

PRELUDE = """
import abc, array, collections, contextvars, copy, dataclasses, enum, functools, operator, os, threading, types, weakref
from fractions import Fraction
from decimal import Decimal
from types import SimpleNamespace
import numpy as np
import lucid
from lucid import nn

class Plain:
    def __init__(self, k): self.k = k
    def get(self): return self.k
class Slots:
    __slots__ = ("k",)
    def __init__(self, k): self.k = k
class Prop:
    def __init__(self, k): self._k = k
    @property
    def k(self): return self._k
class Cached:
    def __init__(self, k): self.k = k
    @functools.cached_property
    def twice(self): return self.k * 2
@dataclasses.dataclass
class Data:
    k: object
@dataclasses.dataclass(frozen=True)
class Frozen:
    k: object
@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    k: object
Pair = collections.namedtuple("Pair", "k")
class Color(enum.Enum):
    RED = 2.0
    BLUE = 5.0
    GREEN = 7.0
class Calls:
    def __init__(self, k): self.k = k
    def __call__(self): return self.k
class Item:
    def __init__(self, k): self.items = {"k": k}
    def __getitem__(self, key): return self.items[key]
    def __getattr__(self, key):
        if key.startswith("__"): raise AttributeError(key)
        return self.__dict__["items"][key]
    def __float__(self): return float(self.items["k"])
    def __len__(self): return int(self.items["k"])
    def __iter__(self): return iter(self.items.values())
    def __enter__(self): return self.items["k"]
    def __exit__(self, *_): return None
    def __eq__(self, other): return self.items["k"] == other
    __hash__ = None
    def __bool__(self): return self.items["k"] == 2.0
class Descriptor:
    def __init__(self, k): self.k = k
    def __get__(self, owner, kind): return self.k
class Base:
    k = 1.0
    def get(self): return self.k
    @classmethod
    def of(cls): return cls.k
    @staticmethod
    def zero(): return 0.0
class AttrDict(dict):
    __getattr__ = dict.__getitem__
class MyList(list):
    pass
class Scale(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
        self.register_buffer("b", lucid.tensor(float(k)))
        self.p = nn.Parameter(np.array(float(k), np.float32))
    def forward(self, t): return t * self.k
def ident(c=0.0, **_): return c
def closure(c): return lambda: c
def default(c):
    def f(k=c): return k
    return f
def kwdefault(c):
    def f(*, k=c): return k
    return f
def wrapped(box):
    @functools.wraps(ident)
    def inner(): return ident(1.0) * box[0]
    return inner
def with_attr(v):
    def f(): return f.k
    f.k = v
    return f
def make_class(v): return type("C", (Base,), {"k": v})
def with_descriptor(v): return type("D", (), {"k": Descriptor(v)})
def make_module(v):
    m = types.ModuleType("settings"); m.K = v
    return m
def context(v):
    c = contextvars.ContextVar("c"); c.set(v)
    return c
def local(v):
    c = threading.local(); c.k = v
    return c
def keep(v):
    o = Plain(v); ident.kept = o
    return weakref.ref(o)
def same_kind(v): return lucid.tensor(float(v))
"""


@dataclass(frozen=True)
class Content:
    """What holds a number: how it is made, read and changed in place."""

    make: str
    read: str
    mutate: tuple[str, ...] = ()


CONTENTS: dict[str, Content] = {
    "number": Content("{v}", "{h}"),
    "list": Content("[{v}]", "{h}[0]", ("{h}[0] = {v}", "{h}[:] = [{v}]", "{h}.clear(); {h}.append({v})")),
    "list, summed": Content("[1.0, {v}]", "sum({h})", ("{h}.append({v})", "{h}[1] = {v}", "{h}.insert(0, {v})")),
    "list, in a comprehension": Content("[{v}]", "max([k * 2 for k in {h}])", ("{h}[0] = {v}",)),
    "list, through a lambda": Content("[{v}]", "(lambda: {h}[0])()", ("{h}[0] = {v}",)),
    "list subclass": Content("MyList([{v}])", "{h}[-1]", ("{h}[0] = {v}",)),
    "tuple": Content("({v},)", "{h}[0]"),
    "tuple of a list": Content("([{v}],)", "{h}[0][0]", ("{h}[0][0] = {v}",)),
    "dict": Content("{{'k': {v}}}", "{h}['k']", ("{h}['k'] = {v}", "{h}.update(k={v})", "{h}.clear(); {h}['k'] = {v}")),
    "dict, get": Content("{{'k': {v}}}", "{h}.get('k', 3.0)", ("{h}['k'] = {v}", "{h}.clear()")),
    "dict, items": Content("{{'k': {v}}}", "sum(v for _, v in {h}.items())", ("{h}['k'] = {v}", "{h}['j'] = {v}")),
    "dict, as keywords": Content("{{'c': {v}}}", "ident(**{h})", ("{h}['c'] = {v}",)),
    "dict of lists": Content("{{'k': [{v}]}}", "{h}['k'][0]", ("{h}['k'][0] = {v}", "{h}['k'] = [{v}]")),
    "dict subclass": Content("AttrDict(k={v})", "{h}.k", ("{h}['k'] = {v}",)),
    "defaultdict": Content("collections.defaultdict(float, k={v})", "{h}['k']", ("{h}['k'] = {v}",)),
    "ordered dict": Content("collections.OrderedDict(k={v})", "list({h}.values())[0]", ("{h}['k'] = {v}",)),
    "chain map": Content("collections.ChainMap({{'k': {v}}})", "{h}['k']", ("{h}['k'] = {v}",)),
    "user dict": Content("collections.UserDict(k={v})", "{h}['k']", ("{h}['k'] = {v}",)),
    "mapping proxy": Content("types.MappingProxyType({{'k': [{v}]}})", "{h}['k'][0]", ("{h}['k'][0] = {v}",)),
    "deque": Content("collections.deque([{v}])", "{h}[0]", ("{h}[0] = {v}",)),
    "set": Content("{{{v}}}", "max({h})", ("{h}.clear(); {h}.add({v})",)),
    "frozen set": Content("frozenset([{v}])", "max({h})"),
    "array": Content("np.array({v}, np.float32)", "{h}", ("{h}[...] = {v}",)),
    "array, item": Content("np.array([{v}])", "float({h}[0])", ("{h}[0] = {v}", "{h}.fill({v})")),
    "array of objects": Content("np.array([{v}], object)", "float({h}[0])", ("{h}[0] = {v}",)),
    "NumPy scalar": Content("np.float64({v})", "float({h})"),
    "array module": Content("array.array('d', [{v}])", "{h}[0]", ("{h}[0] = {v}",)),
    "bytearray": Content("bytearray([int({v})])", "{h}[0]", ("{h}[0] = int({v})",)),
    "string": Content("str({v})", "float({h})"),
    "fraction": Content("Fraction({v})", "float({h})"),
    "decimal": Content("Decimal({v})", "float({h})"),
    "tensor": Content("same_kind({v})", "{h}", ("{h}.copy_({v})", "{h}.data = {v}")),
    "tensor, cloned": Content("same_kind({v})", "{h}.clone()", ("{h}.copy_({v})",)),
    "tensor, detached": Content("same_kind({v})", "{h}.detach()", ("{h}.copy_({v})",)),
    "tensor, data": Content("same_kind({v})", "{h}.data", ("{h}.copy_({v})", "{h}.data.copy_({v})")),
    "tensor, deep copy": Content("same_kind({v})", "copy.deepcopy({h})", ("{h}.copy_({v})",)),
    "tensor, copy": Content("same_kind({v})", "copy.copy({h})", ("{h}.copy_({v})",)),
    "tensor, cast": Content("same_kind({v})", "{h}.float().view(1)", ("{h}.copy_({v})",)),
    "tensor, numpy": Content("same_kind({v})", "{h}.numpy()", ("{h}.copy_({v})",)),
    "tensor, item": Content("same_kind({v})", "{h}.item()", ("{h}.copy_({v})",)),
    "tensor in a list": Content("[same_kind({v})]", "{h}[0]", ("{h}[0].copy_({v})", "{h}[0] = same_kind({v})")),
    "namespace": Content("SimpleNamespace(k={v})", "{h}.k", ("{h}.k = {v}", "{h}.__dict__['k'] = {v}")),
    "nested namespace": Content(
        "SimpleNamespace(n=SimpleNamespace(k={v}))", "{h}.n.k", ("{h}.n.k = {v}", "{h}.n = SimpleNamespace(k={v})")
    ),
    "object": Content("Plain({v})", "{h}.k", ("{h}.k = {v}", "setattr({h}, 'k', {v})", "{h}.__dict__ = {{'k': {v}}}")),
    "object, by method": Content("Plain({v})", "{h}.get()", ("{h}.k = {v}", "{h}.get = lambda: {v}")),
    "object, by getattr": Content("Plain({v})", "getattr({h}, 'k')", ("{h}.k = {v}",)),
    "object, by vars": Content("Plain({v})", "vars({h})['k']", ("{h}.k = {v}",)),
    "object, by __dict__": Content("Plain({v})", "{h}.__dict__['k']", ("{h}.k = {v}",)),
    "object, by attrgetter": Content("Plain({v})", "operator.attrgetter('k')({h})", ("{h}.k = {v}",)),
    "object, maybe missing": Content("Plain({v})", "getattr({h}, 'j', {h}.k)", ("{h}.j = {v}", "{h}.k = {v}")),
    "object, has": Content("Plain({v})", "({h}.k if not hasattr({h}, 'j') else 11.0)", ("{h}.j = {v}",)),
    "object, copied": Content("Plain({v})", "copy.deepcopy({h}).k", ("{h}.k = {v}",)),
    "slots": Content("Slots({v})", "{h}.k", ("{h}.k = {v}",)),
    "property": Content("Prop({v})", "{h}.k", ("{h}._k = {v}", "type({h}).k = property(lambda s: {v})")),
    "cached property": Content("Cached({v})", "{h}.twice", ("{h}.__dict__.pop('twice', 0); {h}.k = {v}",)),
    "data class": Content("Data({v})", "{h}.k", ("{h}.k = {v}",)),
    "data class, as dict": Content("Data({v})", "dataclasses.asdict({h})['k']", ("{h}.k = {v}",)),
    "data class, replaced": Content("Data({v})", "dataclasses.replace({h}).k", ("{h}.k = {v}",)),
    "data class, compared": Content("Data({v})", "float({h} == Data(2.0))", ("{h}.k = {v}",)),
    "frozen data class": Content("Frozen({v})", "{h}.k", ("object.__setattr__({h}, 'k', {v})",)),
    "frozen slots": Content("FrozenSlots({v})", "{h}.k", ("object.__setattr__({h}, 'k', {v})",)),
    "named tuple": Content("Pair({v})", "{h}.k"),
    "named tuple of a list": Content("Pair([{v}])", "{h}.k[0]", ("{h}.k[0] = {v}",)),
    "enum": Content("Color(float({v}))", "{h}.value"),
    "callable object": Content("Calls({v})", "{h}()", ("{h}.k = {v}",)),
    "bound method": Content("Plain({v}).get", "{h}()", ("{h}.__self__.k = {v}",)),
    "lambda": Content("closure({v})", "{h}()", ("{h}.__closure__[0].cell_contents = {v}",)),
    "function's default": Content("default({v})", "{h}()", ("{h}.__defaults__ = ({v},)",)),
    "function's keyword default": Content("kwdefault({v})", "{h}()", ("{h}.__kwdefaults__['k'] = {v}",)),
    "function's code": Content("closure({v})", "{h}()", ("{h}.__code__ = closure({v} + 1.0).__code__",)),
    "function's attribute": Content("with_attr({v})", "{h}()", ("{h}.k = {v}",)),
    "function's attribute, outside": Content("with_attr({v})", "{h}.k", ("{h}.k = {v}",)),
    "wrapper": Content("wrapped([{v}])", "{h}()", ("{h}.__closure__[0].cell_contents[0] = {v}",)),
    "partial": Content("functools.partial(ident, {v})", "{h}()"),
    "partial of a list": Content("functools.partial(max, [{v}])", "{h}()", ("{h}.args[0][0] = {v}",)),
    "partial keyword": Content("functools.partial(ident, c={v})", "{h}()", ("{h}.keywords['c'] = {v}",)),
    "class": Content("make_class({v})", "{h}.k", ("{h}.k = {v}",)),
    "class's instance": Content("make_class({v})()", "{h}.k", ("type({h}).k = {v}", "{h}.k = {v}")),
    "inherited": Content("type('S', (make_class({v}),), {{}})()", "{h}.k", ("type({h}).__base__.k = {v}", "type({h}).k = {v}")),
    "inherited method": Content("make_class({v})()", "{h}.get()", ("type({h}).k = {v}", "type({h}).get = lambda s: {v}")),
    "class method": Content("make_class({v})", "{h}.of()", ("{h}.k = {v}", "{h}.of = classmethod(lambda c: {v})")),
    "static method": Content("make_class({v})", "{h}.zero() + {h}.k", ("{h}.k = {v}", "{h}.zero = staticmethod(lambda: {v})")),
    "instance's class": Content("make_class({v})()", "{h}.get()", ("{h}.__class__ = make_class({v})",)),
    "descriptor": Content("with_descriptor({v})()", "{h}.k", ("type({h}).__dict__['k'].k = {v}", "type({h}).k = Descriptor({v})")),
    "getitem": Content("Item({v})", "{h}['k']", ("{h}.items['k'] = {v}", "Item.__getitem__ = lambda s, k: {v}")),
    "getattr": Content("Item({v})", "{h}.k", ("{h}.items['k'] = {v}",)),
    "float()": Content("Item({v})", "float({h})", ("{h}.items['k'] = {v}",)),
    "len()": Content("Item({v})", "len({h})", ("{h}.items['k'] = {v}",)),
    "iteration": Content("Item({v})", "sum({h})", ("{h}.items['k'] = {v}",)),
    "comparison": Content("Item({v})", "(3.0 if {h} == 2.0 else 4.0)", ("{h}.items['k'] = {v}",)),
    "truth": Content("Item({v})", "(3.0 if {h} else 4.0)", ("{h}.items['k'] = {v}",)),
    "module object": Content("make_module({v})", "{h}.K", ("{h}.K = {v}",)),
    "context variable": Content("context({v})", "{h}.get()", ("{h}.set({v})",)),
    "thread local": Content("local({v})", "{h}.k", ("{h}.k = {v}",)),
    "weak reference": Content("keep({v})", "{h}().k", ("{h}().k = {v}",)),
    "nn.Module, attribute": Content("Scale({v})", "{h}.k", ("{h}.k = {v}",)),
    "nn.Module, buffer": Content("Scale({v})", "{h}.b", ("{h}.b.copy_({v})", "{h}.b = same_kind({v})")),
    "nn.Module, buffer cloned": Content("Scale({v})", "{h}.b.clone()", ("{h}.b.copy_({v})",)),
    "nn.Module, parameter": Content(
        "Scale({v})", "{h}.p", ("{h}.p.copy_({v})", "{h}.p = nn.Parameter(np.array({v}, np.float32))")
    ),
    "nn.Module, parameter's data": Content("Scale({v})", "{h}.p.data", ("{h}.p.data.copy_({v})",)),
    "nn.Module, called": Content("Scale({v})", "{h}(1.0)", ("{h}.k = {v}",)),
    "nn.Module, hooked": Content(
        "Scale({v})", "{h}(t)", ("{h}.register_forward_hook(lambda m, a, y: y * {v})", "{h}.k = {v}")
    ),
    "module list": Content("nn.ModuleList([Scale({v})])", "{h}[0].k", ("{h}[0].k = {v}", "{h}[0] = Scale({v})")),
    "module dict": Content("nn.ModuleDict({{'a': Scale({v})}})", "{h}['a'].k", ("{h}['a'].k = {v}", "{h}['a'] = Scale({v})")),
    "compiled": Content("lucid.compile(closure_of([{v}]))", "{h}(t)", ("{h}.model.__closure__[0].cell_contents[0] = {v}",)),
}  # fmt: skip

PRELUDE += """
def closure_of(box): return lambda t: t * box[0]
"""


@dataclass(frozen=True)
class Holder:
    """Where the content is reached from: code of the module, code around the function, its name, how to bind it."""

    outer: str = ""
    around: str = ""
    parameter: str = ""
    name: str = "g"
    rebind: str = ""
    inside: str = ""
    outside: str = ""


HOLDERS: dict[str, Holder] = {
    "global": Holder(outer="G = {make}", name="G", rebind="global G; G = {make}"),
    "global, by globals()": Holder(outer="G = {make}", name="globals()['G']", rebind="global G; G = {make}"),
    "global object": Holder(outer="BOX = SimpleNamespace(g={make})", name="BOX.g", rebind="BOX.g = {make}"),
    "global dict": Holder(outer="BOX = {{'g': {make}}}", name="BOX['g']", rebind="BOX['g'] = {make}"),
    "closure": Holder(around="g = {make}", rebind="nonlocal g; g = {make}"),
    "closure list": Holder(around="b = [{make}]", name="b[0]", rebind="b[0] = {make}"),
    "default": Holder(parameter="g={make}", rebind="f.__defaults__ = ({make},)", outside="f.__defaults__[0]"),
    "keyword default": Holder(
        parameter="*, g={make}", rebind="f.__kwdefaults__['g'] = {make}", outside="f.__kwdefaults__['g']"
    ),
    "other module": Holder(
        outer="import other_{n} as other; other.G = {make}", name="other.G", rebind="other.G = {make}"
    ),
    "imported inside": Holder(
        outer="import other_{n}; other_{n}.G = {make}",
        inside="import other_{n} as o",
        name="o.G",
        rebind="other_{n}.G = {make}",
        outside="other_{n}.G",
    ),
    "imported name": Holder(
        outer="import other_{n}; other_{n}.G = {make}",
        inside="from other_{n} import G as g",
        rebind="other_{n}.G = {make}",
        outside="other_{n}.G",
    ),
    "class of a function": Holder(outer="class H:\n    g = {make}", name="H.g", rebind="H.g = {make}"),
    "attribute of the function": Holder(name="f.g", around="f = None", rebind="f.g = {make}"),
}

FORMS = {
    "function": "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\nmodel = f",
    "spec": "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\nmodel = f",
    "helper": (
        "{around}\ndef f({args}):\n    {inside}\n    def inner(): return {read}\n    return once(lambda: t * inner())\nmodel = f"
    ),
    "decorated": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "def deco(h):\n    @functools.wraps(h)\n    def w(*a): return h(*a) * 1.0\n    return w\nmodel = deco(f)"
    ),
    "nested compiled": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\ninner = lucid.compile(f)\nmodel = lambda t: inner(t) + 0.0"
    ),
    "compiled twice": "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\nmodel = lucid.compile(f)",
    "partial": "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\nmodel = functools.partial(f)",
    "callable object": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "class M:\n    def __call__(self, t): return f(t)\nmodel = M()"
    ),
    "bound method": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "class M:\n    def go(self, t): return f(t)\nmodel = M().go"
    ),
    "static method": (
        "{around}\nclass M:\n    @staticmethod\n    def go({args}):\n        {inside}\n        return t * ({read})\n"
        "f = M.go\nmodel = M.go"
    ),
    "module": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "class M(nn.Module):\n    def forward(self, t): return f(t)\nmodel = M()"
    ),
    "module's own": (
        "{around}\nclass M(nn.Module):\n    def forward(self, {args}):\n        {inside}\n        return t * ({read})\n"
        "f = M.forward\nmodel = M()"
    ),
    "child": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "class M(nn.Module):\n    def forward(self, t): return f(t)\nmodel = nn.Sequential(nn.Identity(), M())"
    ),
    "hook": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "model = nn.Identity()\nmodel.register_forward_hook(lambda m, a, y: f(y))"
    ),
    "pre-hook": (
        "{around}\ndef f({args}):\n    {inside}\n    return t * ({read})\n"
        "model = nn.Identity()\nmodel.register_forward_pre_hook(lambda m, a: f(a[0]))"
    ),
    "attribute": (
        "class M(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.g = {make}\n"
        "    def forward(self, t):\n        g = self.g\n        return t * ({own})\nmodel = M()"
    ),
    "class attribute": (
        "class M(nn.Module):\n    g = {make}\n"
        "    def forward(self, t):\n        g = self.g\n        return t * ({own})\nmodel = M()"
    ),
    "object's attribute": (
        "class M:\n    def __init__(self): self.g = {make}\n"
        "    def go(self, t):\n        g = self.g\n        return t * ({own})\nmodel = M().go"
    ),
    "slot of an object": (
        "class M:\n    __slots__ = ('g',)\n    def __init__(self): self.g = {make}\n"
        "    def __call__(self, t):\n        g = self.g\n        return t * ({own})\nmodel = M()"
    ),
    "argument of a partial": (
        "def f(t, g): return t * ({own})\nmodel = functools.partial(f, g={make})"
    ),
}  # fmt: skip
PRELUDE += "\ndef once(f): return f()\n"

OWN = {
    "attribute": ("model.g", "model.g = {make}"),
    "class attribute": ("M.g", "M.g = {make}"),
    "object's attribute": ("model.__self__.g", "model.__self__.g = {make}"),
    "slot of an object": ("model.g", "model.g = {make}"),
    "argument of a partial": ("model.keywords['g']", "model.keywords['g'] = {make}"),
}
"""Forms that hold the content themselves: its name outside, and how to bind it anew."""

VALUES = (("2.0", "5.0", "7.0"), ("2", "2.0", "5"), ("2.0", "2.0", "5.0"), ("2.0", "5.0", "2.0"), ("5.0", "7.0", "5.0"))
_numbers = count()


def build(content: Content, holder: Holder, form: str, first: str, changes: list[str]) -> dict[str, Any]:
    """The namespace of a program: ``model``, and one function for each change."""
    n = next(_numbers)
    name, rebind = OWN.get(form, (holder.name, holder.rebind))
    make = content.make.format(v=first)
    around = holder.around.format(make=make, n=n) if form not in OWN else ""
    args = ", ".join(filter(None, ["t", holder.parameter.format(make=make)]))
    inside = holder.inside.format(n=n) or "pass"
    read = content.read.format(h=name.format(n=n))
    body = FORMS[form].format(
        around=around, args=args, inside=inside, read=read, own=content.read.format(h="g"), make=make
    )
    if holder.name == "f.g" and form not in OWN:
        body = body.replace("f = None", "").replace("\nmodel", f"\nf.g = {make}\nmodel", 1)
    lines = [body]
    for i, change in enumerate(changes):
        kind, _, value = change.partition("|")
        code = (
            rebind.format(make=content.make.format(v=value), n=n)
            if kind == "rebind"
            else kind.format(h=(OWN[form][0] if form in OWN else holder.outside or name).format(n=n), v=value)
        )
        lines.append(f"def change_{i}():\n    {code}")
    lines.append(f"return model, [{', '.join(f'change_{i}' for i in range(len(changes)))}]")
    outer = holder.outer.format(make=make, n=n) if form not in OWN else ""
    text = PRELUDE + outer + "\ndef program():\n" + textwrap.indent("\n".join(lines), "    ")
    for module in (f"other_{n}", f"program_{n}"):
        sys.modules[module] = types.ModuleType(module)
    space = sys.modules[f"program_{n}"].__dict__
    filename = f"<program {n}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    try:
        exec(compile(text, filename, "exec"), space)
        space["model"], space["changes"] = space["program"]()
    finally:
        linecache.cache.pop(filename)
    space["names"] = (f"other_{n}", f"program_{n}")
    return space


def answer(f: Any, x: Any, thread: bool) -> Any:
    """What a call gives: dtype and values, or that it failed and how."""
    found: list[Any] = []

    def call() -> None:
        try:
            y = f(x)
            found.append((y.dtype.name, y.numpy().tolist()))
        except LucidError as error:
            found.append(error)
        except Exception as error:  # noqa: BLE001 - the program's own error: the eager one must have it too
            found.append(type(error).__name__)

    if thread:
        worker = threading.Thread(target=call)
        worker.start()
        worker.join()
    else:
        call()
    return found[0]


def check(
    content: str, holder: str, form: str, values: tuple[str, ...], kinds: list[str], calls: int, thread: bool
) -> None:
    changes = [f"{kind}|{value}" for kind, value in zip(kinds, values[1:], strict=True)]
    space = build(CONTENTS[content], HOLDERS[holder], form, values[0], changes)
    try:
        model = space["model"]
        x = lucid.tensor([1, 3])
        try:
            net = lucid.compile(model, lucid.spec("N", dtype="int64")) if form == "spec" else lucid.compile(model)
        except LucidError as error:
            refused[str(error)[:60]] = refused.get(str(error)[:60], 0) + 1
            return
        eager = model.model if form == "compiled twice" else model
        for change in [None, *space["changes"]]:
            if change is not None:
                change()
                gc.collect(0)
            for repeat in range(calls):
                traces = len(net._traces)
                have = answer(net, x, thread)
                if isinstance(have, LucidError):
                    if change is None and repeat == 0:
                        refused[str(have)[:60]] = refused.get(str(have)[:60], 0) + 1
                    return
                want = answer(eager, x, thread)
                assert have == want, f"compiled {have}, eager {want}, after change {change and change.__name__}"
                assert repeat < 2 or len(net._traces) == traces, "nothing has changed, and yet it is traced anew"
    finally:
        for name in space["names"]:
            sys.modules.pop(name)


refused: dict[str, int] = {}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    while True:
        content = str(rng.choice(list(CONTENTS)))
        form = str(rng.choice(list(FORMS)))
        holder = str(rng.choice(list(HOLDERS)))
        values = VALUES[int(rng.integers(len(VALUES)))]
        ways = ["rebind", *CONTENTS[content].mutate]
        kinds = [str(rng.choice(ways)) for _ in values[1:]]
        calls, thread = int(rng.choice([1, 2, 4])), bool(rng.random() < 0.1)
        yield Case(
            f"{content} / {holder} / {form} / {values} / {kinds} / {calls} calls{' in threads' * thread}",
            lambda c=content, h=holder, f=form, v=values, k=kinds, n=calls, t=thread: check(c, h, f, v, k, n, t),  # type: ignore[misc]
        )
