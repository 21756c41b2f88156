"""ONNX files that say anything: an error of ours, or a run, soon and in little memory.

A model of the standard's backend suite (one of each kind of node, and small networks) is changed in a few places, as a
message (names, types, shapes, attributes, wiring, constants) or in its bytes, then loaded, compiled and called once.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import FLOATS, WORDS
from .limited import Trial, batches, limit, tried
from .sweep import Case

if TYPE_CHECKING:
    from onnx import ModelProto

SMALL, BATCH = 150, 2000
"""Files that one process tries: in the suite, and at length."""
SIZES = [0, 1, 2, 3, 5, 7, 64, 1000, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -1, -2, -(1 << 31), -(1 << 63)]
NUMBERS = [number for number in FLOATS if isinstance(number, float)]
Rng = np.random.Generator


def cases(rng: Rng) -> Iterator[Case]:
    """Batches of files, each in a process of its own."""
    return batches("tests.soak.onnx_files", rng, SMALL, BATCH)


def bases(step: int) -> list[tuple[str, ModelProto]]:
    """Models that are right, and small: every ``step``-th."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the scripts that make the cases
        found = [one for kind in ("node", "simple", "pytorch-operator", "pytorch-converted")
                 for one in load_model_tests(kind=kind)][::step]  # fmt: skip
    models = [(one.name, one.model or onnx.load(f"{one.model_dir}/model.onnx")) for one in found]
    return [(name, model) for name, model in models if model.ByteSize() < 20000]


# ---------------------------------------------------------------- changes


def pick(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def word(rng: Rng, proto: ModelProto) -> str:
    """A name: one of the model's, or one that means harm."""
    names = [name for node in proto.graph.node for name in (*node.input, *node.output, node.op_type)]
    return (
        str(pick(rng, names) if names and rng.random() < 0.7 else pick(rng, WORDS)).encode("utf-8", "replace").decode()
    )


def change_node(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """Another operator, other inputs or outputs, one more or less."""
    if not proto.graph.node:
        return
    node, other = pick(rng, proto.graph.node), pick(rng, others)
    turn = int(rng.integers(8))
    names = node.input if turn % 2 else node.output
    if turn == 0:
        node.op_type, node.domain = other.op_type, other.domain
    elif turn == 1:
        node.op_type = other.op_type
        node.ClearField("attribute")
        node.attribute.extend(other.attribute)
    elif turn == 2:
        node.domain = pick(rng, ["", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training", word(rng, proto)])
    elif turn < 5 and names:
        names[int(rng.integers(len(names)))] = word(rng, proto)
    elif turn == 5:
        names.append(word(rng, proto))
    elif turn == 6 and names:
        del names[int(rng.integers(len(names)))]
    else:
        proto.graph.node.append(copy.deepcopy(node))


def change_attribute(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """Another number, text, type or name of an attribute; one from elsewhere, or one less."""
    nodes = [node for node in proto.graph.node if node.attribute]
    if not nodes:
        return change_type(rng, proto, others)
    node = pick(rng, nodes)
    attribute, turn = pick(rng, node.attribute), int(rng.integers(8))
    if turn == 0:
        node.attribute.remove(attribute)
    elif turn == 1:
        attribute.type = int(rng.integers(0, 15))
    elif turn == 2:
        attribute.name = pick(rng, [one.name for other in others for one in other.attribute])
    elif turn == 3:
        node.attribute.extend(pick(rng, others).attribute)
    elif attribute.ints:
        change_list(rng, attribute.ints, SIZES)
    elif attribute.floats:
        change_list(rng, attribute.floats, NUMBERS)
    elif attribute.HasField("t"):
        change_tensor(rng, attribute.t)
    elif attribute.HasField("s"):
        attribute.s = word(rng, proto).encode("utf-8", "replace")
    else:
        attribute.i, attribute.f = near(rng, attribute.i), pick(rng, NUMBERS)
    return None


def near(rng: Rng, size: int) -> int:
    """A size a little larger or smaller, or any."""
    found = size + int(rng.integers(-2, 3)) if rng.random() < 0.5 else pick(rng, SIZES)
    return int(max(-(1 << 63), min(found, (1 << 63) - 1)))


def change_list(rng: Rng, numbers: Any, values: list[Any]) -> None:
    turn = int(rng.integers(4))
    if turn == 0 or not numbers:
        numbers.append(pick(rng, values))
    elif turn == 1:
        del numbers[int(rng.integers(len(numbers)))]
    else:
        place = int(rng.integers(len(numbers)))
        numbers[place] = near(rng, numbers[place]) if isinstance(numbers[place], int) else pick(rng, values)


def change_tensor(rng: Rng, tensor: Any) -> None:
    """A constant's type, shape or numbers."""
    turn = int(rng.integers(5))
    if turn == 0:
        tensor.data_type = int(rng.integers(0, 30))
    elif turn == 1:
        change_list(rng, tensor.dims, SIZES)
    elif turn == 2:
        tensor.raw_data = bytes(rng.integers(0, 256, len(tensor.raw_data) or 8, dtype=np.uint8))
    elif turn == 3 and tensor.int64_data:
        change_list(rng, tensor.int64_data, SIZES)
    else:
        changed = np.array([pick(rng, SIZES) for _ in range(max(1, len(tensor.raw_data) // 8))], np.int64)
        tensor.raw_data = changed.tobytes()


def change_type(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """The type or shape of an input or output."""
    values = [*proto.graph.input, *proto.graph.output]
    if not values:
        return
    kind = pick(rng, values).type.tensor_type
    turn = int(rng.integers(4))
    if turn == 0:
        kind.elem_type = int(rng.integers(0, 30))
    elif turn == 1 or not kind.shape.dim:
        kind.shape.dim.add(dim_value=pick(rng, SIZES))
    elif turn == 2:
        pick(rng, kind.shape.dim).dim_value = pick(rng, SIZES)
    else:
        pick(rng, kind.shape.dim).dim_param = pick(rng, ["N", "M", "N", "?", "N + 1", *WORDS[-6:]])


def change_constant(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """A constant of the model; or an input that becomes one."""
    graph = proto.graph
    if graph.initializer and rng.random() < 0.6:
        change_tensor(rng, pick(rng, graph.initializer))
    elif graph.input:
        given = pick(rng, graph.input)
        shape = [one.dim_value if 0 <= one.dim_value < 6 else 2 for one in given.type.tensor_type.shape.dim]
        numbers = rng.integers(-3, 4, shape) if rng.random() < 0.7 else rng.choice(np.array(SIZES), shape)
        made = numbers.astype(
            {1: np.float32, 6: np.int32, 11: np.float64}.get(given.type.tensor_type.elem_type, np.int64)
        )
        tensor = graph.initializer.add(name=given.name, data_type=given.type.tensor_type.elem_type, dims=shape)
        tensor.raw_data = made.tobytes()


def change_graph(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """Versions, names, order and what the graph has."""
    graph, turn = proto.graph, int(rng.integers(8))
    if turn == 0 and proto.opset_import:
        pick(rng, proto.opset_import).version = int(rng.integers(-1, 30))
    elif turn == 1:
        proto.ir_version = pick(rng, SIZES)
    elif turn == 2:
        pick(rng, [*graph.input, *graph.output, *graph.node, graph]).name = word(rng, proto)
    elif turn == 3 and graph.output:
        pick(rng, graph.output).name = word(rng, proto)
    elif turn == 4:
        graph.node.append(copy.deepcopy(pick(rng, others)))
    elif turn == 5:
        nodes = [copy.deepcopy(node) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes[::-1])
    elif turn == 6 and graph.input:
        del graph.input[int(rng.integers(len(graph.input)))]
    elif turn == 7 and graph.node:
        del graph.node[int(rng.integers(len(graph.node)))]


def change_form(rng: Rng, proto: ModelProto, others: list[Any]) -> None:
    """What the model says, in another way: a branch, a function, a constant of few numbers or in a file beside it.

    The other way is right as it is; what else is changed may make it wrong.
    """
    graph, turn = proto.graph, int(rng.integers(4))
    if turn < 2 and graph.node:
        (in_branch if turn else in_function)(rng, proto, pick(rng, graph.node))
    elif graph.initializer:
        (as_sparse if turn == 2 else outside)(rng, graph, pick(rng, graph.initializer))


def in_branch(rng: Rng, proto: ModelProto, node: Any) -> None:
    """The node as one branch, or both, of an If; or as a body of a Loop or Scan, whose inputs it then may lack."""
    kind = pick(rng, ["If", "If", "Loop", "Scan"])
    within = copy.deepcopy(node)
    node.Clear()
    node.op_type = kind
    node.output.extend(within.output)
    for label in ("then_branch", "else_branch") if kind == "If" else ("body",):
        attribute = node.attribute.add(name=label, type=5)
        attribute.g.name = label
        attribute.g.node.append(copy.deepcopy(within))
        for name in within.output:
            attribute.g.output.add(name=name)
    node.input.extend([word(rng, proto) for _ in range(1 if kind == "If" else int(rng.integers(4)))])


def in_function(rng: Rng, proto: ModelProto, node: Any) -> None:
    """The node as a call of a function of the model, that may call itself."""
    made = proto.functions.add(name=pick(rng, ["Own", "Own", node.op_type]), domain=pick(rng, ["own", "own", ""]))
    made.input.extend(dict.fromkeys(name for name in node.input if name))
    made.output.extend(node.output)
    made.opset_import.extend(proto.opset_import)
    made.node.append(copy.deepcopy(node))
    if rng.random() < 0.2:
        made.node[0].op_type, made.node[0].domain = made.name, made.domain
    node.op_type, node.domain = made.name, made.domain
    del node.input[:]
    node.input.extend(made.input)
    node.ClearField("attribute")
    proto.opset_import.add(domain=made.domain, version=1)


def as_sparse(rng: Rng, graph: Any, tensor: Any) -> None:
    """The constant by the places and numbers of what is not 0, some of which may be elsewhere."""
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001 - what an earlier change has spoilt has no numbers
        return
    places = np.flatnonzero(array != 0)
    sparse = graph.sparse_initializer.add(dims=list(array.shape))
    sparse.values.CopyFrom(numpy_helper.from_array(array.ravel()[places], tensor.name))
    if places.size and rng.random() < 0.5:
        places[int(rng.integers(places.size))] = pick(rng, SIZES)
    sparse.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}_indices"))
    graph.initializer.remove(tensor)


def outside(rng: Rng, graph: Any, tensor: Any) -> None:
    """The constant in a file beside the model, that is not there."""
    tensor.data_location = 1
    tensor.ClearField("raw_data")
    for key, value in {
        "location": pick(rng, ["weights.bin", "../weights.bin", "/dev/zero", "/etc/hostname", *WORDS[:4]]),
        "offset": str(pick(rng, SIZES)), "length": str(pick(rng, SIZES)),
    }.items():  # fmt: skip
        tensor.external_data.add(key=key, value=str(value).encode("utf-8", "replace").decode())


@dataclass
class Part:
    """A graph within a model, to change as one changes a model."""

    graph: Any
    opset_import: Any
    functions: Any
    ir_version: int = 0


def parts(proto: ModelProto) -> list[Part]:
    """The graphs that nodes of the model run, those of functions too, at any depth."""
    found, pending = list[Part](), [*proto.graph.node, *(node for one in proto.functions for node in one.node)]
    while pending:
        for attribute in pending.pop().attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found.append(Part(graph, proto.opset_import, proto.functions))
                pending += graph.node
    return found


CHANGES: list[Callable[[Rng, Any, list[Any]], None]] = [
    change_node, change_node, change_attribute, change_attribute, change_type, change_constant, change_constant,
    change_graph, change_form,
]  # fmt: skip


def changed_bytes(rng: Rng, raw: bytes) -> bytes:
    """Some bytes changed, taken out, put in or repeated."""
    data = bytearray(raw)
    for _ in range(1 + int(rng.integers(4))):
        place, turn = int(rng.integers(len(data) + 1)), int(rng.integers(5))
        if turn == 0:
            del data[place:]
        elif turn == 1:
            del data[place : place + int(rng.integers(1, 9))]
        elif turn == 2:
            data[place:place] = rng.integers(0, 256, int(rng.integers(1, 9)), dtype=np.uint8).tobytes()
        elif turn == 3:
            data[place:place] = data[max(0, place - int(rng.integers(1, 99))) : place]
        elif place < len(data):
            data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


# ---------------------------------------------------------------- what comes of them


def attempt(raw: bytes, rng: Rng) -> str:
    """What comes of one file: refused, failed, ran; or what is wrong."""
    import lucid
    from lucid.graph.types import TensorType

    try:
        net = lucid.onnx.load(raw)
        lucid.onnx.check(raw)
        given = net.specs
    except lucid.LucidError as error:
        return _refused(error)
    specs = [one for one in given if isinstance(one, TensorType)]
    if len(specs) < len(given):
        return "not called"  # with texts
    size = int(rng.integers(0, 4))
    shapes = [tuple(dim if isinstance(dim, int) else size for dim in one.shape) for one in specs]
    if sum(float(np.prod(shape, dtype=float)) for shape in shapes) > 1e6 or any(d > 1e6 for s in shapes for d in s):
        return "not called"
    try:
        compiled = lucid.compile(net, *specs) if rng.random() < 0.3 else lucid.compile(net)
        compiled(*(np.ones(shape, one.dtype) for shape, one in zip(shapes, specs, strict=True)))
        str(compiled.plan), compiled.source.encode("ascii")
    except lucid.LucidError as error:
        return _refused(error, "failed")
    return "ran"


def _refused(error: Exception, outcome: str = "refused") -> str:
    """An error of ours: it can be printed, and is no longer than people read."""
    text = str(error)
    text.encode("utf-8")
    assert len(text) < 5000, text[:200]
    return outcome


def main(seed: int, count: int, only: int | None = None) -> int:
    """Try so many files, or one of them; prints what is wrong."""
    import logging

    limit()
    logging.disable()
    np.seterr(all="ignore")
    good = bases(1 if count > SMALL else 10)
    others = [node for _, model in good for node in model.graph.node]

    def draw(rng: Rng) -> Trial | None:
        name, model = pick(rng, good)
        proto = copy.deepcopy(model)
        for _ in range(1 + int(rng.integers(3))):
            inner = parts(proto)
            pick(rng, CHANGES)(rng, pick(rng, inner) if inner and rng.random() < 0.5 else proto, others)
        try:
            raw = proto.SerializeToString()
        except Exception:  # noqa: BLE001 - a text that protobuf does not take
            return None
        raw = changed_bytes(rng, raw) if rng.random() < 0.15 else raw
        return Trial(name, lambda: attempt(raw, rng))

    return tried(seed, count, draw, only)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
