"""Every function in place is PyTorch's: values, types and gradients, of tensors and views, eagerly and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lucid
from lucid.errors import DTypeError, GradientError, ShapeError
from lucid.graph import draws
from lucid.tensor.functions_in_place import Changes

NAMES = [name for name in vars(Changes) if name[0] != "_" and not hasattr(draws, name[:-1])]

#: ``b`` is like the tensor, ``i`` integers of its shape from 0 to 2, ``m`` bools, ``r`` a row of it, ``q`` square.
LIKE = {
    "b": "add sub mul div subtract multiply divide true_divide pow floor_divide remainder fmod float_power atan2 "
    "arctan2 hypot copysign xlogy eq ne lt le gt ge not_equal less less_equal greater greater_equal logical_and "
    "logical_or logical_xor bitwise_and bitwise_or bitwise_xor heaviside",
    "i": "bitwise_left_shift bitwise_right_shift",
    "1": "cumsum cumprod",
}
ARGUMENTS = {
    **{name: argument for argument, names in LIKE.items() for name in names.split()},
    "clamp": "0.3, 0.8", "clip": "0.3, 0.8", "clamp_min": "0.5", "clamp_max": "0.5", "polygamma": "1",
    "lerp": "b, 0.3", "masked_fill": "m, 7", "scatter": "1, i, b", "scatter_add": "1, i, b",
    "scatter_reduce": "1, i, b, 'amax'", "index_add": "1, i[0, :2], b[:, :2]", "index_copy": "1, k, b[:, :2]",
    "index_fill": "1, i[0, :2], 3", "index_put": "(i[0], i[0]), r", "masked_scatter": "m, b",
    "addbmm": "q.reshape(1, 3, 3), b.reshape(1, 3, 4)", "addmv": "q, b[:, 0]", "addr": "q[:, 0], r",
    "renorm": "2, 0, 0.5",
    "gcd": "b", "lcm": "b", "ldexp": "b", "nextafter": "b", "mvlgamma": "1", "put": "i, b, True", "fill_diagonal": "3",
    "index_reduce": "1, k, b[:, :2], 'prod'", "addmm": "q, b", "addcmul": "b, b", "addcdiv": "b, b",
    "logit": "0.1", "tril": "", "triu": "1",
}  # fmt: skip
KINDS = {"bitwise": "int64", "gcd": "int64", "lcm": "int64", "logical": "bool", "float_power": "float64"}
"""Element types besides, or in the stead of, those of a name that begins so."""
WHOLE = ("bitwise", "gcd", "lcm")
LEVEL = ("heaviside", "nextafter", "floor_divide", "logical_and", "logical_or", "logical_xor", "logical_not")
"""What PyTorch has no gradient of, or in place that of what was there before."""
ELSEWHERE = ("asinh", "acosh", "atanh", "arcsinh", "arccosh", "arctanh")
"""What PyTorch has a gradient of, but not in place."""
SQUARE = ("addmm", "addmv", "tril", "triu", "index_put")
BATCHED = ("baddbmm",)


def _arrays(name: str, dtype: str) -> dict[str, np.ndarray[Any, Any]]:
    rng, shape = np.random.default_rng(len(name)), (3, 4)
    if name in SQUARE:
        shape = (3, 3)
    x, b = (rng.uniform(0.1, 0.9, shape) for _ in range(2))
    if dtype != "float64":
        x, b = rng.integers(0, 5, shape).astype(dtype), rng.integers(1, 5, shape).astype(dtype)
    i = np.tile([2, 0, 1, 1], (3, 1))[:, : shape[1]]
    whole = {
        "x": x,
        "b": b,
        "i": i,
        "k": np.array([2, 0]),
        "m": rng.random(shape) > 0.5,
        "r": b[0],
        "q": x[:, :3].copy(),
    }
    if name.startswith("scatter"):
        whole["i"] = rng.permuted(np.tile([0, 1, 2, 3], (3, 1)), axis=1)
    if name == "addmv":
        whole["x"] = x[0]
    if name in BATCHED:
        whole["x"], whole["b"] = np.stack([x[:, :3]] * 2), np.stack([b[:, :3]] * 2)
    return whole


def _changed(name: str, x: Any, given: dict[str, Any], as_view: bool) -> Any:
    """What holds of a copy of ``x`` after the change of it, or of a view of it."""
    whole = x.clone()
    part = whole.unsqueeze(0)[0] if as_view else whole
    arguments = "b, b" if name in BATCHED else ARGUMENTS.get(name, "")
    found = eval(f"part.{name}_({arguments})", {**given, "part": part})
    assert found is part
    return whole


def _types(name: str) -> list[str]:
    special = next((dtype for start, dtype in KINDS.items() if name.startswith(start)), None)
    if special == "int64":
        return ["int64", "int32", "uint8", *(["bool"] if name.startswith("bitwise") and "shift" not in name else [])]
    return ["float64", *([special] if special == "bool" else [])]


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize(("name", "dtype"), [(name[:-1], dtype) for name in NAMES for dtype in _types(name[:-1])])
@pytest.mark.parametrize("as_view", [False, True], ids=["whole", "view"])
def test_it_is_pytorchs(name: str, dtype: str, as_view: bool) -> None:
    arrays = _arrays(name, dtype)
    floats = [key for key, array in arrays.items() if array.dtype.kind == "f"]
    ours = {key: lucid.tensor(a, requires_grad=key in floats) for key, a in arrays.items()}
    theirs = {key: torch.tensor(a, requires_grad=key in floats) for key, a in arrays.items()}
    if name in LEVEL:
        ours, theirs = ({key: x.detach() for key, x in given.items()} for given in (ours, theirs))
    run: Callable[..., Any] = lambda **given: _changed(name, given["x"], given, as_view)  # noqa: E731
    wanted = getattr(theirs["x"], name)() if name in ELSEWHERE else run(**theirs)
    for way in (run, lucid.compile(run)):
        found = way(**ours)
        assert found.dtype.name == str(wanted.dtype).removeprefix("torch.")
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-8, atol=1e-12)
        if not wanted.requires_grad:
            continue
        for key in floats:
            ours[key].grad = theirs[key].grad = None
        weights = np.cos(np.arange(wanted.numel())).reshape(wanted.shape)
        if found.requires_grad:  # compiled, what is level does not
            found.backward(weights)
        wanted.backward(torch.tensor(weights), retain_graph=True)
        for key in floats:
            mine, other = ours[key].grad, theirs[key].grad
            if other is not None:
                mine = np.zeros(other.shape) if mine is None else mine.numpy()
                np.testing.assert_allclose(mine, other.numpy(force=True), rtol=1e-8, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", [name[:-1] for name in NAMES])
def test_it_is_refused_where_pytorch_refuses_it(name: str) -> None:
    arrays = _arrays(name, "int64" if name.startswith(WHOLE) else "float64")
    given = {key: lucid.tensor(a) for key, a in arrays.items()}
    arguments = "b, b" if name in BATCHED else ARGUMENTS.get(name, "")
    if not name.startswith(WHOLE):
        leaf = given["x"].requires_grad_()
        with pytest.raises(GradientError, match="leaf"):
            eval(f"leaf.{name}_({arguments})", {**given, "leaf": leaf})
        np.testing.assert_array_equal(leaf.numpy(), arrays["x"])


def test_a_result_that_does_not_fit_is_refused() -> None:
    whole, flags = lucid.tensor([1, 2, 3]), lucid.tensor([True, False, True])
    for change in (
        lambda: whole.exp_(),
        lambda: whole.atan2_(1.5),
        lambda: whole.true_divide_(2),
        lambda: flags.bitwise_xor_(3),
    ):
        with pytest.raises(DTypeError, match="does not fit"):
            change()
    with pytest.raises(ShapeError, match="the shape stays in place"):
        lucid.tensor([1.0, 2.0]).hypot_(lucid.ones(3, 2))
    with pytest.raises(ShapeError, match="the shape stays in place"):
        (lucid.tensor([1.0, 2.0], requires_grad=True) * 1).lt_(lucid.ones(3, 2))
    assert whole.tolist() == [1, 2, 3] and flags.tolist() == [True, False, True]


def test_what_has_no_gradient_ends_the_history() -> None:
    x = lucid.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.gt_(4.0)
    assert y.requires_grad and y.tolist() == [0.0, 1.0]
    (y * x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0]
