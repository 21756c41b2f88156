"""``lucid.func.vmap``: what its graphs hold, what it composes with, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import func, nn
from lucid.autograd.function import once_differentiable
from lucid.errors import LucidError
from lucid.func import vmap

RNG = np.random.default_rng(0)
X = lucid.tensor(RNG.standard_normal((5, 3)).astype(np.float32))
W = lucid.tensor(RNG.standard_normal((4, 3)).astype(np.float32))


def ops(net: Any) -> list[str]:
    return [node.op.name for _, node in net.graph.nodes()]


def close(found: Any, wanted: Any, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def test_the_graph_of_a_row_is_that_of_all() -> None:
    """Of a layer there is one product, and what no row changes is computed once."""
    layer = nn.Linear(3, 4)

    def one(x: Any) -> Any:
        return layer(x).tanh() + W.exp().sum(1)

    net = lucid.compile(vmap(one))
    close(net(X), layer(X).tanh().detach().numpy() + np.exp(W.numpy()).sum(1))
    assert "Scan" not in ops(net)
    shapes = [node.outputs[0].shape for _, node in net.traced.nodes() if node.op.name == "Exp"]
    assert shapes == [(4, 3)]


def test_gradients_for_each_sample() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(), nn.Linear(36, 3))
    weights = {name: p.detach() for name, p in model.named_parameters()}
    images, targets = lucid.randn(6, 1, 8, 8), lucid.arange(6) % 3

    def loss(p: Any, x: Any, t: Any) -> Any:
        return nn.functional.cross_entropy(func.functional_call(model, p, (x[None],)), t[None])

    net = lucid.compile(vmap(func.grad(loss), in_dims=(None, 0, 0)))
    for found in (net, vmap(func.grad(loss), in_dims=(None, 0, 0), chunk_size=4)):
        gradients = found(weights, images, targets)
        for i in range(6):
            alone = func.grad(loss)(weights, images[i], targets[i])
            for name, gradient in gradients.items():
                close(gradient[i], alone[name].numpy())
    assert "Scan" not in ops(net)


@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 9])
def test_any_number_of_rows(chunk: int | None) -> None:
    net = lucid.compile(vmap(lambda x: ((W @ x).relu(), W.sum()), chunk_size=chunk), lucid.spec("N", 3))
    for count in (4, 1, 2, 0, 7):
        x = RNG.standard_normal((count, 3)).astype(np.float32)
        rows, same = net(x)
        close(rows, np.maximum(x @ W.numpy().T, 0))
        close(same, np.full(count, W.numpy().sum()))
    fixed = vmap(lambda x: (W @ x).relu(), chunk_size=chunk)
    close(fixed(X), np.maximum(X.numpy() @ W.numpy().T, 0))


def test_gradients_go_through() -> None:
    x = X.detach().clone().requires_grad_()
    w = W.detach().clone().requires_grad_()
    vmap(lambda row: (w @ row).sin().sum())(x).sum().backward()
    other, weight = X.detach().clone().requires_grad_(), W.detach().clone().requires_grad_()
    (other @ weight.T).sin().sum().backward()
    assert x.grad is not None and other.grad is not None and w.grad is not None and weight.grad is not None
    close(x.grad, other.grad.numpy())
    close(w.grad, weight.grad.numpy())
    inside = func.grad(lambda x: vmap(lambda row: (W @ row).sin().sum())(x).sum())(X)
    close(inside, other.grad.numpy())


def test_branches_and_loops_of_each_row() -> None:
    def branch(x: Any) -> Any:
        return lucid.cond(x.sum() > 0, lambda: x * 2, lambda: -x)

    close(vmap(branch)(X), np.where(X.numpy().sum(1, keepdims=True) > 0, 2 * X.numpy(), -X.numpy()))

    def halved(x: Any) -> Any:
        (last, turns) = lucid.while_loop(
            lambda y, n: y.abs().max() > 0.25, lambda y, n: (y / 2, n + 1), (x, lucid.tensor(0))
        )
        return last, turns

    last, turns = vmap(halved)(X)
    for row, y, n in zip(X, last, turns, strict=True):
        alone, count = halved(row)
        close(y, alone.numpy())
        assert int(n) == int(count)

    def added(x: Any, w: Any) -> Any:
        return lucid.scan(lambda carry, y: (carry + y * w, carry.sum()), lucid.zeros(()), x)

    total, before = vmap(added, in_dims=(1, None), out_dims=(0, 1))(X, lucid.tensor(2.0))
    close(total, 2 * X.numpy().sum(0))
    close(before, 2 * (np.cumsum(X.numpy(), 0) - X.numpy()), 2e-6)


def test_random_numbers() -> None:
    x = lucid.ones(6, 40)
    for chunk in (None, 4):
        for draw in (lambda x: lucid.rand(40) * x, lambda x: nn.functional.dropout(x, 0.5)):
            rows = {how: vmap(draw, randomness=how, chunk_size=chunk)(x).numpy() for how in ("same", "different")}
            assert len(np.unique(rows["same"], axis=0)) == 1
            assert len(np.unique(rows["different"], axis=0)) == 6

    def attend(q: Any) -> Any:
        return nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.5)

    q = lucid.ones(6, 1, 2, 5, 5)
    assert len(np.unique(vmap(attend, randomness="same")(q).numpy(), axis=0)) == 1
    assert len(np.unique(vmap(attend, randomness="different")(q).numpy(), axis=0)) == 6
    net = lucid.compile(vmap(lambda x: lucid.rand(3), randomness="different"))
    assert (net(X).numpy() != net(X).numpy()).all()


def test_a_zero_stays_a_zero_in_the_same_elements() -> None:
    """Whatever the rows hold there."""
    x = lucid.full((3, 50), np.inf)
    found = vmap(lambda x: nn.functional.dropout(x, 0.5), randomness="same")(x).numpy()
    assert set(np.unique(found)) == {0.0, np.inf}


def test_embeddings_of_each_row() -> None:
    table, places = lucid.randn(2, 7, 3), lucid.tensor([[1, 0, 6], [2, 0, 2]])

    def look(w: Any, i: Any) -> Any:
        return nn.functional.embedding(i, w, padding_idx=0)

    found = vmap(look)(table, places)
    close(found, np.stack([table.numpy()[b, places.numpy()[b]] for b in range(2)]))
    gradients = vmap(func.grad(lambda w, i: (look(w, i) ** 2).sum()))(table, places)
    for b in range(2):
        close(gradients[b], func.grad(lambda w, i: (look(w, i) ** 2).sum())(table[b], places[b]).numpy())
    with pytest.raises(LucidError, match="out of"):
        vmap(look)(table, places - 1)


def test_rows_of_a_walk_back() -> None:
    def rows(x: Any) -> Any:
        result, back = func.vjp(lambda x: (W @ x).sin(), x)
        return result, vmap(back)(lucid.eye(4))[0]

    net = lucid.compile(rows)
    close(net(X[0])[1], np.cos(W.numpy() @ X[0].numpy())[:, None] * W.numpy())
    assert ops(net).count("Sin") == 1
    with pytest.raises(LucidError, match="call vjp within"):
        vmap(func.vjp(lambda x: (W @ x).sin(), X[0])[1])(lucid.eye(4))


def test_ensembles() -> None:
    models = [nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(4)]
    weights, buffers = func.stack_module_state(models)

    def call(p: Any, b: Any, x: Any) -> Any:
        return func.functional_call(models[0], (p, b), (x,))

    found = vmap(call, in_dims=(0, 0, None))(weights, buffers, X)
    close(found, np.stack([m(X).detach().numpy() for m in models]))


class Fivefold(lucid.autograd.Function):
    """A product whose gradients are made up, and not those of its graph."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Any) -> Any:
        x, w = ctx.saved_tensors
        return dy * w * 3, dy * x * 5


@pytest.mark.parametrize("chunk", [None, 2])
def test_gradients_written_by_hand(chunk: int | None) -> None:
    """That of what is the same for all rows is the sum over them; once differentiable remains so."""
    x, w = X.detach().clone().requires_grad_(), W[0].detach().clone().requires_grad_()
    vmap(Fivefold.apply, in_dims=(0, None), chunk_size=chunk)(x, w).sum().backward()
    assert x.grad is not None and w.grad is not None
    close(x.grad, np.tile(3 * W[0].numpy(), (5, 1)))
    close(w.grad, 5 * X.numpy().sum(0))
    each = vmap(func.grad(lambda x, w: Fivefold.apply(x, w).sum(), argnums=1), in_dims=(0, None), chunk_size=chunk)
    close(each(X, W[0]), 5 * X.numpy())
    with pytest.raises(LucidError, match="once_differentiable"):
        vmap(func.hessian(lambda x: Fivefold.apply(x, W[0]).sum()), chunk_size=chunk)(X)


def test_along_a_direction() -> None:
    def f(x: Any) -> Any:
        return {"a": (W @ x).sin(), "b": x.prod()}

    result, change = func.jvp(f, (X[0],), (X[1],))
    jacobian = func.jacrev(f)(X[0])
    for name in "ab":
        close(result[name], f(X[0])[name].numpy())
        close(change[name], jacobian[name].detach().numpy() @ X[1].numpy())
    each = vmap(lambda x, v: func.jvp(f, (x,), (v,))[1]["a"])(X, X)
    close(each[2], func.jacrev(f)(X[2])["a"].detach().numpy() @ X[2].numpy())
    assert func.jvp(lambda x: (x, 3), (X,), (X,), has_aux=True)[2] == 3


@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_jacobians_in_parts(chunk: int | None) -> None:
    layer = nn.Sequential(nn.Linear(3, 7), nn.Tanh())
    wanted = (1 - layer(X[0]).detach().numpy() ** 2)[:, None] * layer[0].weight.detach().numpy()
    net = lucid.compile(lambda x: func.jacrev(layer, chunk_size=chunk)(x))
    close(net(X[0]), wanted)
    assert ops(net).count("Scan") == (chunk in (1, 3))


def _in_place(x: Any) -> Any:
    return x.view(3).mul_(2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: vmap(3), "maps a function"),
        (lambda: vmap(lucid.sin, randomness="any"), "randomness is"),
        (lambda: vmap(lucid.sin, chunk_size=0), "chunk_size"),
        (lambda: func.jacrev(lucid.sin, chunk_size=1.5), "chunk_size"),
        (lambda: vmap(lucid.sin, in_dims=2)(X), "no such axis"),
        (lambda: vmap(lucid.sin, in_dims=1.0)(X), "in_dims is an int"),
        (lambda: vmap(lucid.sin, in_dims=None)(X), "nothing to map over"),
        (lambda: vmap(lambda x, y: x, in_dims=(0,))(X, X), "in_dims is an int, None, or nested as the arguments are"),
        (lambda: vmap(lambda x, y: x)(X, lucid.ones(3)), "5 and 3 rows"),
        (lambda: vmap(lambda x, s: x * s)(X, 2.0), "in_dims is 0 for 2.0"),
        (lambda: vmap(lambda x: x)(lucid.tensor(1.0)), "no such axis"),
        (lambda: vmap(lambda: X)(), "nothing to map over"),
        (lambda: vmap(lambda x: (x, 3.0))(X), "out_dims is 0 for 3.0"),
        (lambda: vmap(lambda x: x, out_dims=None)(X), "out_dims is None"),
        (lambda: vmap(lambda x: x, out_dims=3)(X), "no such axis"),
        (lambda: vmap(lambda x: (x, x), out_dims=(0, 1, 0))(X), "nested as the results are"),
        (lambda: vmap(lambda x: x * lucid.rand(3))(X), "randomness='different'"),
        (lambda: vmap(lambda x: vmap(lambda y: y + lucid.rand(1), randomness="same")(x))(X), "randomness"),
        (lambda: vmap(_in_place)(X), "in place that vmap maps over"),
        (lambda: vmap(lambda x, y: y.add_(x), in_dims=(0, None))(X, lucid.ones(3)), "from outside it"),
        (lambda: vmap(lambda x: x.nonzero())(X), "a size depends on data"),
        (lambda: vmap(lambda x: x if x.sum() > 0 else -x)(X), "not known while the model is traced"),
        (lambda: vmap(nn.BatchNorm1d(3))(lucid.ones(2, 4, 3)), "what vmap maps"),
        (lambda: func.jvp(lucid.sin, X, (X,)), "primals is a tuple"),
        (lambda: func.jvp(lucid.sin, (X,), (X, X)), "nested as that is"),
    ],
)
def test_what_is_refused(call: Any, says: str) -> None:
    with pytest.raises(LucidError, match=says):
        call()


def test_an_argument_that_is_the_same_for_all_may_be_anything() -> None:
    close(vmap(lambda x, how: x * how["by"], in_dims=(0, None))(X, {"by": 2.0}), 2 * X.numpy())
    close(vmap(lambda x, *, by: x * by)(X, by=lucid.tensor([1.0, 2.0, 3.0])), X.numpy() * [1, 2, 3])
    found = vmap(lambda x: (x, 3.0), out_dims=(0, None))(X)
    assert found[1] == 3.0
