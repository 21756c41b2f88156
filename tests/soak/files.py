"""Files that say anything, their checksum made to fit: an error of ours at once, or a run; and code in them never runs.

A file of one op (each row of the test table) or of a small network is taken apart as JSON, changed in some places, put
together again and loaded; what loads is called with small inputs, and differentiated. Half of the changed files have
their types inferred anew, so that what was changed is believed as far as it can be. All this happens in a process of
its own, one for many files, whose memory is bounded.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import hashlib
import json
import os
import pkgutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .limited import Trial, batches, limit, tried
from .sweep import Case

SMALL = 200
BATCH = 2000
"""Files that one process tries."""
JSON: TypeAlias = Any
CODE = "__import__('builtins').pwned()"
INTS = [
    0, 1, -1, 2, 3, 5, 7, 16, 33, 64, 1000, 65536, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**47, 2**62, 2**63 - 1,
    2**63, -2, -3, -(2**31), -(2**63), 10**30, 10**300,
]  # fmt: skip
FLOATS: list[JSON] = [
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    -1.5,
    1e-320,
    1e308,
    -1e308,
    {"float": "nan"},
    {"float": "inf"},
    {"float": "-inf"},
]
DIMS = [
    "N",
    "M",
    "N + 1",
    "2*N",
    "N - 5",
    "(N)//(2)",
    "(N)//(N - 2)",
    "N*N",
    "0*N",
    "99999999999*N",
    "(N+1)*(M+1)*(N+2)*(M+2)",
    "-N",
]
WORDS = [
    "", "x", "N", "none", "tanh", "reflect", "circular", "constant", "Relu", "Gelu", "Add", "Input", "Parameter",
    "Call", "float32",
    "a\n" + CODE + "#", f"')\n{CODE}\n('", "\u2028" + CODE, "\ud800", "\0",
    "%", "{x}", "__builtins__", "ﬁ", "i", "ij", "x" * 3000,
]  # fmt: skip


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Batches of files, each in a process of its own."""
    return batches("tests.soak.files", rng, SMALL, BATCH)


# ---------------------------------------------------------------- files that are right


def bases(step: int = 1) -> list[tuple[str, dict[str, JSON], bytes]]:
    """Name, header with graphs and extra as JSON, and data of files that are right, of each ``step``-th row."""
    import lucid  # in the child: this module is imported to list the sweeps
    import tests.cases
    from lucid import nn

    made = []
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "net.lucid")

    def add(name: str, model: Any, *arrays: Any) -> None:
        with contextlib.suppress(lucid.LucidError):
            net = lucid.compile(model, *(a for a in arrays if isinstance(a, lucid.graph.types.TensorType)))
            if not net._traces:
                net(*arrays)
            net.save(path)
            made.append((name, *take(Path(path).read_bytes())))

    rng = np.random.default_rng(0)
    for module in pkgutil.iter_modules(tests.cases.__path__):
        for row in getattr(import_module(f"tests.cases.{module.name}"), "CASES", [])[::step]:
            inputs = row.make(rng, "float32")
            if sum(x.nbytes for x in inputs) < 1 << 16:
                add(row.name, row.function, *inputs)
    add(
        "conv",
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2, 2)).eval(),
        lucid.spec("N", 2, 6, 6),
    )
    add("linear", nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)).eval(), lucid.spec("N", 4))
    add("training", nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)), lucid.spec("N", 4))
    add(
        "symbolic",
        lambda x: lucid.concat([x.reshape(-1), x.mean((1, 2)), x.flatten(0, 1).sum(1)]),
        lucid.spec("N", "M", 3),
    )
    add(
        "structures",
        lambda d, k=2: {"a": [d["x"] * k, 3], "b": (d["y"][0].softmax(0), "s")},
        {"x": np.ones(2, np.float32), "y": [np.ones(3, np.float32)]},
    )
    os.unlink(path)
    os.rmdir(folder)
    return made


def take(raw: bytes) -> tuple[dict[str, JSON], bytes]:
    """The header of a file, with graphs and extra as JSON, and its data."""
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    metadata = header["__metadata__"]
    del metadata["sha256"]
    metadata["graphs"], metadata["extra"] = json.loads(metadata["graphs"]), json.loads(metadata["extra"])
    return header, raw[8 + length :]


def put(header: dict[str, JSON], data: bytes) -> bytes:
    """A file of them, its checksum right."""

    def text(value: JSON) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    header = dict(header)
    metadata = header["__metadata__"] = dict(header["__metadata__"])
    metadata["graphs"], metadata["extra"] = text(metadata["graphs"]), text(metadata["extra"])
    metadata["sha256"] = hashlib.sha256(text(header).encode() + data).hexdigest()
    raw = text(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data


# ---------------------------------------------------------------- changes


def hostile(rng: np.random.Generator, old: JSON) -> JSON:
    """Something to stand in place of a value, most often of its kind."""

    def one_of(values: Any) -> Any:
        return copy.deepcopy(values[int(rng.integers(len(values)))])

    if rng.random() < 0.08:
        return one_of(
            [
                None,
                True,
                False,
                [],
                {},
                [0],
                [[]],
                "x",
                0,
                1.5,
                {"dim": "N"},
                {"array": 0},
                {"dtype": "int64"},
                {"class": "NoAttrs", "fields": {}},
            ]
        )
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        near = old + int(rng.integers(-2, 3))
        return one_of([near, near, near, one_of(INTS), one_of(INTS), {"dim": one_of(DIMS)}, one_of(FLOATS)])
    if isinstance(old, float):
        return one_of([one_of(FLOATS), one_of(FLOATS), one_of(INTS)])
    if isinstance(old, str):
        if "[" in old:  # a type
            dtype = one_of(["float32", "float64", "int64", "bool", "uint8", "x"])
            dims = [str(one_of([one_of(INTS), one_of(DIMS), 2, 3])) for _ in range(int(rng.integers(5)))]
            return f"{dtype}[{', '.join(dims)}]" + one_of(["", "", "@0231", "@10"])
        return one_of([one_of(WORDS), one_of(WORDS), one_of(DIMS), f"{old}x"])
    if isinstance(old, list | dict):
        return resized(rng, copy.deepcopy(old))
    return one_of([0, 1, -1, "x", [], 2.0])


def resized(rng: np.random.Generator, data: JSON) -> JSON:
    """A list or an object with something less or more."""

    def one_of(values: Any) -> Any:
        return copy.deepcopy(values[int(rng.integers(len(values)))])

    turn = int(rng.integers(5))
    if isinstance(data, dict):
        if data and turn < 2:
            del data[one_of(list(data))]
        elif data and turn < 3:
            data[one_of(WORDS)] = one_of(list(data.values()))
        else:
            data[one_of(["x", "axis", "value", "shape", "code"])] = one_of([0, [2, 2], "x", None])
    elif not data or turn == 0:
        data.append(one_of([0, 1, 2**40, [], "x", {"dim": "N"}]))
    elif turn == 1:
        data.append(one_of(data))
    elif turn == 2:
        data.reverse()
    elif turn == 3:
        data *= int(rng.integers(2, 40))
    else:
        del data[int(rng.integers(len(data)))]
    return data


def places(data: JSON, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in JSON."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def change(rng: np.random.Generator, header: dict[str, JSON], others: list[JSON]) -> None:
    """One to three changes, anywhere or in an attribute; or an op and its attributes taken from another file."""
    graphs = header["__metadata__"]["graphs"]
    graph = graphs["traced"] if rng.random() < 0.5 else graphs["optimised"]
    for _ in range(1 + int(rng.integers(4) == 0)):
        nodes = [n for n in graph["nodes"] if isinstance(n, dict) and (n.get("inputs") or rng.random() < 0.15)]
        node = nodes[int(rng.integers(len(nodes)))] if nodes else {}
        kind = rng.random()
        root: JSON = header
        if kind < 0.5 and node.get("attrs"):
            root = node["attrs"]
        elif kind < 0.7 and node:
            count = len(node.get("inputs", []))
            alike = [n for n in others if len(n.get("inputs", [])) == count]
            other = alike[int(rng.integers(len(alike)))] if alike else others[int(rng.integers(len(others)))]
            node["op"] = other["op"]
            node["attrs"] = copy.deepcopy(other.get("attrs", {}))
            continue
        elif kind < 0.75 and node.get("inputs"):
            node["inputs"][int(rng.integers(len(node["inputs"])))] = int(rng.integers(len(graph["nodes"])))
            continue
        elif kind < 0.9:
            root = graph
        elif kind < 0.95:
            root = header["__metadata__"]["extra"]
        found = list(places(root))
        leaves = [path for path in found if not isinstance(at(root, path), dict | list)]
        found = leaves if leaves and rng.random() < 0.75 else found
        if found:
            path = found[int(rng.integers(len(found)))]
            at(root, path[:-1])[path[-1]] = hostile(rng, at(root, path))
    if rng.random() < 0.9:
        graphs["traced"] = graphs["optimised"] = graph
    if rng.random() < 0.85:
        for one in {id(g): g for g in graphs.values()}.values():
            with contextlib.suppress(Exception):  # as far as it goes
                infer_anew(one)


def at(data: JSON, path: tuple[Any, ...]) -> JSON:
    """What stands at a place."""
    for step in path:
        data = data[step]
    return data


def infer_anew(graph: JSON) -> None:
    """Give every node the types that follow from its inputs, as a careful attacker would."""
    from lucid.formats.decode import decode_attrs
    from lucid.formats.encode import format_type, parse_type
    from lucid.graph.opdef import ConstArray, find_op

    known: list[list[Any]] = []
    texts = graph["types"] = list(graph["types"])
    constants = [ConstArray(np.zeros(3, np.float32))]
    for node in graph["nodes"]:
        op = find_op(node["op"])
        feeds = [known[i][0] if isinstance(i, int) else known[i[0]][i[1]] for i in node.get("inputs", [])]
        try:
            types = op.infer_types(decode_attrs(op.attrs, node.get("attrs", {}), constants), feeds)
            node["types"] = [len(texts) + i for i in range(len(types))]
            texts += [format_type(t) for t in types]
        except Exception:  # noqa: BLE001 - it keeps what it had
            types = tuple(parse_type(texts[i]) for i in node["types"])
        known.append(list(types))


# ---------------------------------------------------------------- what comes of them


def call(net: Any, rng: np.random.Generator) -> str:
    """Call a model with small inputs, and differentiate the result."""
    import lucid
    from lucid.compiler.arguments import unflatten
    from lucid.graph.dims import evaluate

    spec = net._current()
    sizes = dict.fromkeys(spec.traced.symbols, int(rng.integers(0, 4)))
    shapes = [tuple(evaluate(dim, sizes) for dim in t.shape) for t in spec.traced.input_types]
    if any(d < 0 for s in shapes for d in s) or sum(float(np.prod(s, dtype=float)) for s in shapes) > 1e6:
        return "not called"
    arrays = [np.ones(s, t.dtype) for s, t in zip(shapes, spec.traced.input_types, strict=True)]
    args, kwargs = unflatten(spec.inputs, arrays)
    results, _ = lucid.compiler.arguments.flatten(net(*args, **kwargs))
    str(net.plan), net.explain(), net.graph.text(origins=True, elide=True), net.source.encode("ascii")
    if rng.random() < 0.5:
        floats = [y for y in results if y.requires_grad and y.numel() < 1e6]
        if floats:
            floats[0].sum().backward()
    return "ran"


def attempt(raw: bytes, path: str, rng: np.random.Generator) -> str:
    """What comes of one file: refused, failed, ran; or what is wrong."""
    import lucid

    Path(path).write_bytes(raw)
    try:
        net = lucid.load(path)
    except lucid.LucidError as error:
        str(error).encode("utf-8", "backslashreplace")
        return "refused"
    try:
        return call(net, rng)
    except lucid.LucidError:
        return "failed"


def main(seed: int, count: int, only: int | None = None) -> int:
    """Try so many files, or one of them; prints what is wrong."""
    limit()
    code: list[int] = []
    builtins.pwned = lambda: code.append(1)  # type: ignore[attr-defined]
    good = bases(1 if count > SMALL else 12)
    others = [node for _, header, _ in good for node in header["__metadata__"]["graphs"]["optimised"]["nodes"]]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = os.path.join(folder, "net.lucid")

        def draw(rng: np.random.Generator) -> Trial | None:
            name, header, data = good[int(rng.integers(len(good)))]
            header = copy.deepcopy(header)
            try:
                with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
                    change(rng, header, others)
                raw = put(header, data)
            except (ValueError, KeyError, TypeError, RecursionError):
                return None  # not even a header is left

            def check() -> str:
                outcome = attempt(raw, path, rng)
                ran, code[:] = list(code), []
                return f"{outcome}, CODE RAN" if ran else outcome

            return Trial(name, check)

        return tried(seed, count, draw, only)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
