"""ONNX files as modules: parameters, names, symbolic sizes, branches, saving, and files that are broken."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lucid
from lucid.errors import FileError, GraphError, OptionError, ShapeError
from lucid.formats import serialize

from .models import Array, expected, model, one


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(batch: int | str = "batch") -> onnx.ModelProto:
    """A convolution, a pooling, and a linear layer behind a shape that is computed."""
    nodes = [
        helper.make_node("Conv", ["image", "features.0.weight", "features.0.bias"], ["c"], "/features/features.0/Conv",
                         pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "/features/features.1/Relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "/features/features.2/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["s"], "/Shape"),
        helper.make_node("Gather", ["s", "first"], ["n"], "/Gather", axis=0),
        helper.make_node("Concat", ["n", "rest"], ["to"], "/Concat", axis=0),
        helper.make_node("Reshape", ["p", "to"], ["f"], "/Reshape"),
        helper.make_node("Gemm", ["f", "classifier.weight", "classifier.bias"], ["y"], "/classifier/Gemm", transB=1),
    ]  # fmt: skip
    constants = {
        "features.0.weight": floats(4, 3, 3, 3), "features.0.bias": floats(4), "first": np.array([0], np.int64),
        "rest": np.array([-1], np.int64), "classifier.weight": floats(5, 36), "classifier.bias": floats(5),
    }  # fmt: skip
    return model(nodes, {"image": (TensorProto.FLOAT, (batch, 3, 6, 6))}, ["y"], constants)


def test_weights_are_parameters_at_the_paths_of_their_names() -> None:
    net = lucid.onnx.load(network())
    assert set(net.state_dict()) == {
        "features.0.weight", "features.0.bias", "classifier.weight", "classifier.bias"
    }  # fmt: skip
    assert all(p.requires_grad for p in net.parameters()) and not net.training
    assert (net.input_names, net.output_names) == (("image",), ("y",))


def test_a_copy_is_a_model_of_its_own() -> None:
    net, x = lucid.onnx.load(network()), floats(2, 3, 6, 6)
    twin, want = copy.deepcopy(net), net(x).numpy()
    np.testing.assert_array_equal(twin(x).numpy(), want)
    for parameter in twin.parameters():
        parameter.copy_(parameter.numpy() * 2)
    assert not np.array_equal(twin(x).numpy(), want)
    np.testing.assert_array_equal(net(x).numpy(), want)


def test_sizes_that_have_no_name_are_each_their_own() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    net = lucid.onnx.load(model([node], {"x": (TensorProto.FLOAT, ("?", 2, "?", None))}, ["y"]))
    compiled = lucid.compile(net, *net.specs)
    for shape in ((3, 2, 4, 5), (1, 2, 7, 2)):
        np.testing.assert_array_equal(compiled(floats(*shape)).numpy(), np.maximum(floats(*shape), 0))


def test_zeros_of_a_symbolic_size_are_made() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["zeros"]),
        helper.make_node("Expand", ["one", "s"], ["ones"]), helper.make_node("Sum", ["x", "zeros", "ones"], ["y"]),
    ]  # fmt: skip
    given = {"x": (TensorProto.FLOAT, ("n", 3))}
    net = lucid.onnx.load(model(nodes, given, ["y"], {"one": np.ones(1, np.float32)}))
    compiled = lucid.compile(net, *net.specs)
    for n in (1, 4):
        np.testing.assert_array_equal(compiled(floats(n, 3)).numpy(), floats(n, 3) + 1)


def test_one_import_serves_every_batch() -> None:
    proto, net = network(), lucid.onnx.load(network())
    compiled = lucid.compile(net, *net.specs)
    assert compiled.graph.symbols == ("batch",)
    for batch in (1, 2, 5):
        x = floats(batch, 3, 6, 6, seed=batch)
        np.testing.assert_allclose(compiled(x).numpy(), expected(proto, {"image": x})[0], rtol=1e-4, atol=1e-5)
    fixed = lucid.onnx.load(proto, shapes={"batch": 2})
    assert fixed.specs[0].shape == (2, 3, 6, 6)


def test_nodes_say_where_in_the_file_they_come_from() -> None:
    graph = lucid.compile(lucid.onnx.load(network()), lucid.spec("N", 3, 6, 6)).traced
    origins = {module for _, node in graph.nodes() for module in node.origin.modules}
    assert {"features.0.Conv", "features.2.MaxPool", "classifier.Gemm"} <= origins


def test_inputs_come_by_position_or_by_name() -> None:
    net = lucid.onnx.load(one("Sub", [floats(3), floats(3, seed=1)]).proto)
    a, b = floats(3), floats(3, seed=1)
    np.testing.assert_array_equal(net(a, x1=b).numpy(), a - b)
    np.testing.assert_array_equal(net(x1=b, x0=a).numpy(), a - b)
    for wrong in ({"args": (a, b, a)}, {"args": (a,)}, {"args": (a,), "x2": b}, {"args": (a,), "x0": b, "x1": b}):
        arguments: dict[str, Any] = dict(wrong)
        with pytest.raises(OptionError, match="the inputs"):
            net(*arguments.pop("args"), **arguments)


ODD = ("input.1", "self", "x y")
"""Names of inputs that are no identifiers, or mean something in Python."""


def test_a_compiled_model_takes_inputs_by_name(tmp_path: Path) -> None:
    """With specs or without, from a file too; a name is any text, and it is one trace however inputs are given."""
    nodes = [helper.make_node("Sub", list(ODD[:2]), ["d"]), helper.make_node("Mul", ["d", ODD[2]], ["y"])]
    arrays = {name: floats(2, seed=i) for i, name in enumerate(ODD)}
    net = lucid.onnx.load(model(nodes, {name: (1, ["n"]) for name in ODD}, ["y"]))
    a, b, c = arrays.values()
    saved = lucid.compile(net, *net.specs)
    saved.save(tmp_path / "net.lucid")
    by_name = lucid.compile(net, **dict(zip(ODD, net.specs, strict=True)))
    loaded = lucid.load(tmp_path / "net.lucid")
    for one_ in (net, lucid.compile(net), saved, by_name, loaded, copy.deepcopy(loaded)):
        assert one_.input_names == ODD
        for args, names in (((a, b, c), ()), ((), ODD), ((), ODD[::-1]), ((a,), ODD[1:]), ((a, b), ODD[2:])):
            found = one_(*args, **{name: arrays[name] for name in names})
            np.testing.assert_array_equal(found.numpy(), (a - b) * c)
        if one_ is not net:
            assert "1 traces" in repr(one_)
        wrong: list[tuple[tuple[Array, ...], dict[str, Array], str]] = [
            ((a,), {ODD[0]: b, "x y": c}, "expected the inputs input.1, self, x y, got 1 by position and input.1"),
            ((), {**arrays, "z": a}, "got 0 by position and z"), ((a,), {"x y": c}, "the inputs self are missing"),
        ]  # fmt: skip
        for args, kwargs, words in wrong:
            with pytest.raises(OptionError, match=words):
                one_(*args, **kwargs)


def test_a_compiled_model_calls_its_inputs_as_the_file_does(tmp_path: Path) -> None:
    """In its graphs, in errors and in pictures, on one line each; with specs or without, and from a file."""
    names = ("input.1", "/a/self:0", "x y\n", "x y\\n", "l" * 20_000)
    known = ("input.1", "/a/self:0", "x y\\n", "x y\\n_1", "l" * 10_000)
    net = lucid.onnx.load(model([helper.make_node("Sum", names, ["y"])], {name: (1, ["n"]) for name in names}, ["y"]))
    arrays = [floats(2, seed=i) for i in range(5)]
    saved, later = lucid.compile(net, *net.specs), lucid.compile(net)
    later(*arrays)
    saved.save(tmp_path / "net.lucid")
    for compiled in (saved, later, lucid.load(tmp_path / "net.lucid")):
        assert compiled.traced.inputs == compiled.graph.inputs == known
        np.testing.assert_allclose(compiled(*arrays).numpy(), sum(arrays), rtol=1e-6)
        compiled.draw(tmp_path / "net.svg")
        compiled.draw(tmp_path / "net.dot")
        assert "/a/self:0" in (tmp_path / "net.dot").read_text("utf-8")
    for wrong, words in ((1, r"input '/a/self:0' is"), (4, r"input 'l{75} \.\.\. is compiled for float32\[n\]")):
        with pytest.raises(ShapeError, match=words):
            saved(*(floats(2 + (i == wrong)) for i in range(5)))
    assert lucid.compile(lambda *args: net(*args), *net.specs).graph.inputs[0] == "args"  # a function has its own


@pytest.mark.parametrize("shapes", [3, 0, "n", [], [("batch", 1)]])
def test_sizes_that_are_no_dict_are_refused(shapes: Any) -> None:
    with pytest.raises(OptionError, match=r"lucid\.onnx\.load: shapes is a dict, got"):
        lucid.onnx.load(network(), shapes=shapes)


@pytest.mark.parametrize("found", ["x0", ["x0", 1], ["x0"], ["x0", "x0"], ["x0", "x1", "x2"], None, {"x0": "x1"}, 3])
def test_nonsense_that_a_file_calls_its_inputs_is_refused(found: Any, tmp_path: Path) -> None:
    path, net = tmp_path / "net.lucid", lucid.onnx.load(one("Sub", [floats(3), floats(3)]).proto)
    lucid.compile(net, *net.specs).save(path)
    archive = serialize.load(path)
    assert isinstance(archive.extra, dict) and archive.extra["names"] == ["x0", "x1"]
    serialize.save(path, archive.graphs, archive.arrays, {**archive.extra, "names": found})
    with pytest.raises(FileError, match="inputs"):
        lucid.load(path)


def test_names_of_inputs_are_those_of_a_module_that_takes_whatever_it_is_given() -> None:
    class Named(lucid.nn.Module):
        input_names = ("b", "a")

        def forward(self, a: Any, b: Any) -> Any:
            return a - b

    net = lucid.compile(Named())
    assert net.input_names == ()
    np.testing.assert_array_equal(net(b=floats(2), a=floats(2, seed=1)).numpy(), floats(2, seed=1) - floats(2))


def test_a_loaded_model_trains_and_is_saved(tmp_path: Path) -> None:
    net = lucid.onnx.load(network())
    x, compiled = floats(2, 3, 6, 6), lucid.compile(net)
    sgd = lucid.optim.SGD(net.parameters(), lr=1e-5)
    losses = []
    for _ in range(3):
        sgd.zero_grad()
        loss = (compiled(x) ** 2).mean()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    with lucid.no_grad():
        wanted = compiled(x).numpy()
    compiled.save(tmp_path / "net.lucid")
    np.testing.assert_array_equal(lucid.load(tmp_path / "net.lucid")(x).numpy(), wanted)


def branching(condition: Any) -> onnx.ModelProto:
    """``x + 1`` or ``x * 2``."""
    branches = {}
    for name, op in (("then_branch", "Add"), ("else_branch", "Mul")):
        out = helper.make_empty_tensor_value_info("z")
        number = numpy_helper.from_array(np.float32(1 + (op == "Mul")), "number")
        branches[name] = helper.make_graph([helper.make_node(op, ["x", "number"], ["z"])], name, [], [out], [number])
    node = helper.make_node("If", ["condition"], ["y"], **branches)
    x = {"x": (TensorProto.FLOAT, ("n",))}
    if condition is None:
        return model([node], {"condition": (TensorProto.BOOL, ()), **x}, ["y"])
    return model([node], x, ["y"], {"condition": np.array(condition)})


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_is_taken_by_what_is_known_or_by_data(condition: bool) -> None:
    x = floats(3)
    wanted = x + 1 if condition else x * 2
    np.testing.assert_array_equal(lucid.onnx.load(branching(condition))(x).numpy(), wanted)
    net = lucid.compile(lucid.onnx.load(branching(None)))
    np.testing.assert_array_equal(net(np.array(condition), x).numpy(), wanted)


def test_names_of_any_kind_are_taken() -> None:
    names = {"x.1": "x.1", "gpu_0/data_0": "y:0", '{"1": "a", "2": ["b"]}': "import", "": "z"}
    for name, value in names.items():
        node = helper.make_node("Add", [value, "w"], ["out put"], name)
        net = lucid.onnx.load(model([node], {value: floats(2)}, ["out put"], {"w": floats(2)}))
        compiled = lucid.compile(net)
        np.testing.assert_array_equal(compiled(floats(2)).numpy(), floats(2) * 2)
        assert compiled.source


@pytest.mark.parametrize("name", [b"features.0/Conv", b"features.0.weight", b"/Gather", b"image"])
def test_names_that_are_no_utf_8_are_taken(name: bytes) -> None:
    data = network().SerializeToString()
    assert name in data
    changed = data.replace(name, name[:-1] + b"\xff")
    image = floats(2, 3, 6, 6)
    found = lucid.onnx.load(changed)(image)
    np.testing.assert_array_equal(found.numpy(), lucid.onnx.load(data)(image).numpy())


def test_names_that_are_no_utf_8_are_not_taken_for_one_another() -> None:
    nodes = [helper.make_node("Mul", ["x", "w1"], ["p"]), helper.make_node("Add", ["p", "w2"], ["y"])]
    x, weights = floats(2), {"w1": floats(2, seed=1), "w2": floats(2, seed=2)}
    data = model(nodes, {"x": x}, ["y"], weights).SerializeToString()
    found = lucid.onnx.load(data.replace(b"w1", b"w\xfe").replace(b"w2", b"w\xff"))(x)
    np.testing.assert_array_equal(found.numpy(), x * weights["w1"] + weights["w2"])


def test_the_weights_of_old_files_are_no_inputs() -> None:
    proto = network()
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert lucid.onnx.load(proto).input_names == ("image",)


# ---------------------------------------------------------------- what is refused


def test_all_that_is_not_supported_is_named_at_once() -> None:
    nodes = [
        helper.make_node("Strange", ["x"], ["a"], "first"), helper.make_node("Strange", ["a"], ["b"], "second"),
        helper.make_node("Other", ["b"], ["y"], "third", domain="example"),
    ]  # fmt: skip
    proto = model(nodes, {"x": floats(2)}, ["y"], domains={"example": 1})
    with pytest.raises(GraphError, match=r"Strange \(opset 17\): node first and 1 more; example::Other .*third"):
        lucid.onnx.load(proto)
    assert len(lucid.onnx.check(proto)) == 3 and lucid.onnx.check(network()) == []


def broken(change: str) -> onnx.ModelProto | bytes:
    proto = network()
    weight = proto.graph.initializer[0]
    if change == "bytes":
        return b"this is no protobuf at all, is it"
    if change == "truncated":
        return proto.SerializeToString()[:-200]
    if change == "opset of the future":
        proto.opset_import[0].version = 999
    if change == "cycle":
        proto.graph.node[0].input[0] = "y"
    if change == "duplicate names":
        proto.graph.node[1].output[0] = "c"
    if change == "undefined input":
        proto.graph.node[1].input[0] = "nowhere"
    if change == "wrong type":
        weight.data_type = 99
    if change == "claims more than it has":
        weight.dims[:] = [1 << 20, 1 << 20, 1]
    if change == "negative dimension":
        weight.dims[:] = [-4, -3, 3, 3]
    if change in ("external data outside", "external data missing", "external data without a folder"):
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        place = "../../etc/passwd" if change.endswith("outside") else "weights.bin"
        weight.external_data.add(key="location", value=place)
    return proto


BROKEN = {
    "bytes": "not an ONNX model", "truncated": "not an ONNX|broken", "opset of the future": "newest that is known",
    "cycle": "cycle", "duplicate names": "two values called", "undefined input": "nothing gives the value",
    "wrong type": "element type 99", "claims more than it has": "bytes for", "negative dimension": "negative dimension",
    "external data outside": "outside the model", "external data missing": "is missing",
    "external data without a folder": "by its path",
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN)
def test_a_broken_file_is_one_clear_error(change: str, tmp_path: Path) -> None:
    source = broken(change)
    if change in ("external data outside", "external data missing"):
        path = tmp_path / "model.onnx"
        path.write_bytes(source if isinstance(source, bytes) else source.SerializeToString())
        with pytest.raises(GraphError, match=BROKEN[change]):
            lucid.onnx.load(path)
        return
    with pytest.raises(GraphError, match=BROKEN[change]):
        lucid.onnx.load(source)(floats(1, 3, 6, 6))


def test_a_missing_file_and_nonsense_are_refused() -> None:
    for wrong in ("/no/such/file.onnx", "with a \0 in it"):
        with pytest.raises(FileError):
            lucid.onnx.load(wrong)
    with pytest.raises(GraphError, match="expected a path"):
        lucid.onnx.load(3)


def test_external_data_is_mapped(tmp_path: Path) -> None:
    onnx.save_model(network(), tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    x = floats(2, 3, 6, 6)
    net = lucid.onnx.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(net(x).numpy(), expected(network(), {"image": x})[0], rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_read_through_views_is_one_parameter() -> None:
    """Tied, and in the form that the file gives it."""
    nodes = [
        helper.make_node("Transpose", ["head.weight"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["a"]),
        helper.make_node("Identity", ["head.weight"], ["i"]), helper.make_node("Gemm", ["a", "i"], ["b"]),
        helper.make_node("Reshape", ["head.weight", "flat"], ["r"]), helper.make_node("ReduceSum", ["r"], ["s"]),
        helper.make_node("Add", ["b", "s"], ["y"]),
    ]  # fmt: skip
    weight, x = floats(3, 4), floats(2, 4, seed=1)
    constants = {"head.weight": weight, "flat": np.array([-1], np.int64)}
    net = lucid.onnx.load(model(nodes, {"x": x}, ["y"], constants))
    assert {name: p.shape for name, p in net.named_parameters()} == {"head.weight": (3, 4)}
    for run in (net, lucid.compile(net)):
        np.testing.assert_allclose(run(x).numpy(), x @ weight.T @ weight + weight.sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_normalisation_in_training_moves_its_statistics(compiled: bool) -> None:
    names = ["weight", "bias", "running_mean", "running_var"]
    node = helper.make_node("BatchNormalization", ["x", *(f"bn.{n}" for n in names)], ["y"], "/bn/BatchNormalization")
    x, constants = floats(5, 3, 4), {f"bn.{n}": np.abs(floats(3, seed=i)) + 0.5 for i, n in enumerate(names)}
    net = lucid.onnx.load(model([node], {"x": x}, ["y"], constants))
    run, own = lucid.compile(net) if compiled else net, lucid.nn.BatchNorm1d(3)
    own.load_state_dict({n: constants[f"bn.{n}"] for n in names}, strict=False)
    for training in (True, False, True):
        net.train(training)
        own.train(training)
        np.testing.assert_allclose(run(x).numpy(), own(x).numpy(), rtol=1e-4, atol=1e-5)
        for n in names:
            np.testing.assert_allclose(net.state_dict()[f"bn.{n}"].numpy(), own.state_dict()[n].numpy(), rtol=1e-5)


@pytest.mark.parametrize("value", ["a", b"a", 1j, {1}, ["a"], [[1.0], [1.0, 2.0]], 10**400], ids=repr)
def test_what_is_no_array_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match="the input 'image' is an array or numbers"):
        lucid.onnx.load(network())(value)


@pytest.mark.parametrize(
    ("shapes", "said"), [({"bach": 2}, "the sizes that are not fixed are batch"), ({"batch": -1}, "'batch'")]
)
def test_numbers_for_sizes_that_it_does_not_have(shapes: dict[str, int], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        lucid.onnx.load(network(), shapes=shapes)


def test_functions_of_other_versions_of_the_operators() -> None:
    """What has changed since is read as it was: axes that were attributes, in a branch of a function too."""
    inside = helper.make_graph(
        [helper.make_node("Squeeze", ["p"], ["s"], axes=[1])], "b", [], [helper.make_empty_tensor_value_info("s")]
    )  # fmt: skip
    body = [
        helper.make_node("ReduceSum", ["p"], ["r"], axes=[0], keepdims=0),
        helper.make_node("If", ["c"], ["i"], then_branch=inside, else_branch=inside),
        helper.make_node("Add", ["i", "r"], ["q"]),
    ]
    nodes = [
        helper.make_node("Old", ["x", "c"], ["o"], domain="f"), helper.make_node("ReduceSum", ["o", "axes"], ["y"]),
    ]  # fmt: skip
    x = np.arange(3, dtype=np.float32).reshape(3, 1)
    constants = {"axes": np.array([0]), "c": np.array(True)}
    for version in (11, 29):
        proto = model(nodes, {"x": x}, ["y"], constants, 18, {"f": 1})
        opsets = [helper.make_opsetid("", version), helper.make_opsetid("f", 1)]
        proto.functions.append(helper.make_function("f", "Old", ["p", "c"], ["q"], body, opsets))
        before = proto.SerializeToString(deterministic=True)
        if version == 11:
            net = lucid.onnx.load(proto)
            assert net(x).numpy() == 12 and lucid.onnx.check(before) == []
        else:
            with pytest.raises(GraphError, match="a function uses version 29 of the ONNX operators; 28 is the newest"):
                lucid.onnx.load(proto)
        assert proto.SerializeToString(deterministic=True) == before
