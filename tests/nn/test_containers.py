"""Sequential, ModuleList, ModuleDict, ParameterList."""

from __future__ import annotations

import numpy as np
import pytest

from lucid import nn
from lucid.errors import OptionError
from lucid.tensor.tensor import Tensor


def layers(count: int) -> list[nn.Module]:
    return [nn.Linear(2, 2) for _ in range(count)]


def test_sequential_runs_in_order() -> None:
    a, b = layers(2)
    net = nn.Sequential(a, nn.ReLU(), b)
    x = Tensor([[1.0, -2.0]])
    assert np.array_equal(net(x).numpy(), b(a(x).relu()).numpy())
    assert len(net) == 3
    assert list(net)[2] is b
    assert nn.Sequential()(x) is x


def test_sequential_of_names() -> None:
    a, b = layers(2)
    net = nn.Sequential({"in": a, "out": b})
    assert list(net.state_dict()) == ["in.weight", "in.bias", "out.weight", "out.bias"]
    assert net[-1] is b
    assert list(dict(net[:1].named_children())) == ["in"]


def test_sequential_changes() -> None:
    a, b, c, d = layers(4)
    net = nn.Sequential(a, b)
    assert net.append(c) is net
    assert net[1:][0] is b
    net[0] = d
    assert net[0] is d
    net.insert(0, a)
    assert list(net) == [a, d, b, c]
    del net[1:3]
    assert list(net) == [a, c]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    net.extend([b, d])
    assert len(net) == 4
    with pytest.raises(IndexError, match="index 4 is out of range for 4 entries"):
        net[4]
    with pytest.raises(OptionError, match="Sequential: holds modules, got int"):
        nn.Sequential(a, 3)
    with pytest.raises(OptionError, match="an index is an int or a slice, got True"):
        net[True]


def test_module_list() -> None:
    a, b, c = layers(3)
    listed = nn.ModuleList([a, b])
    listed.append(c)
    assert list(listed[1:]) == [b, c]
    assert listed[-3] is a
    assert len(list(listed.parameters())) == 6
    with pytest.raises(OptionError, match="ModuleList: holds modules, got str"):
        listed.extend([a, "b"])  # type: ignore[list-item]
    assert len(listed) == 3


def test_module_dict() -> None:
    a, b = layers(2)
    named = nn.ModuleDict({"a": a})
    named["b"] = b
    assert list(named) == ["a", "b"]
    assert "b" in named
    assert dict(named.items()) == {"a": a, "b": b}
    assert named.pop("a") is a
    assert list(named.keys()) == ["b"]
    with pytest.raises(KeyError):
        named["a"]
    with pytest.raises(KeyError):
        del named["a"]
    with pytest.raises(OptionError, match="not empty and has no dot"):
        named["x.y"] = a
    named.clear()
    assert len(named) == 0


def test_parameter_list() -> None:
    p, q = (nn.Parameter(np.zeros(n, np.float32)) for n in (1, 2))
    listed = nn.ParameterList([p])
    listed.append(q)
    assert listed[1] is q
    assert list(listed.state_dict()) == ["0", "1"]
    listed[0] = q
    assert list(listed) == [q, q]
    with pytest.raises(OptionError, match="holds parameters, got Tensor"):
        listed.append(Tensor([1.0]))  # type: ignore[arg-type]
