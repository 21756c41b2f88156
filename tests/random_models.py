"""Random models: seeded programs of image ops, with skip connections, shared values and several outputs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid import Tensor, concat, nn, where
from lucid.nn import functional as F

Step = Callable[[list[Any]], Any]


class RandomModel(nn.Module):
    """Replays a list of steps; each reads earlier values and appends one.

    Attributes
    ----------
    input_shape
        (channels, height, width) of the input.
    """

    def __init__(self, seed: int, length: int = 9) -> None:
        super().__init__()
        self._rng = random.Random(seed)
        self._numpy = np.random.default_rng(seed)
        rng = self._rng
        self.input_shape = (rng.randint(1, 4), rng.randint(4, 9), rng.randint(4, 9))
        self.steps: tuple[Step, ...] = ()
        shapes = [self.input_shape]
        steps = []
        for i in range(length):
            step, shape = self._step(i, shapes)
            steps.append(step)
            shapes.append(shape)
        self.results = tuple({len(shapes) - 1, *(rng.randrange(1, len(shapes)) for _ in range(rng.randint(0, 2)))})
        self.steps = tuple(steps)
        del self._rng, self._numpy

    def forward(self, x: Any) -> Any:
        values = [x]
        for step in self.steps:
            values.append(step(values))
        return tuple(values[i] for i in self.results)

    # ------------------------------------------------------------ choosing steps

    def _parameter(self, name: str, *shape: int, positive: bool = False) -> nn.Parameter:
        data = self._numpy.standard_normal(shape).astype(np.float32) * 0.5
        self.register_parameter(name, nn.Parameter(np.abs(data) + 0.5 if positive else data))
        found: nn.Parameter = getattr(self, name)
        return found

    def _step(self, i: int, shapes: list[tuple[int, int, int]]) -> tuple[Step, tuple[int, int, int]]:
        rng = self._rng
        a = rng.choice([len(shapes) - 1, rng.randrange(len(shapes))])
        kinds = [self._unary, self._binary, self._conv, self._pool, self._norm, self._rearrange, self._reduce]
        return rng.choice(kinds)(i, a, shapes)

    def _unary(self, i: int, a: int, shapes: Any) -> Any:
        function = self._rng.choice(
            [F.relu, F.tanh, F.sigmoid, F.leaky_relu, F.silu, F.gelu, F.softplus, F.elu,
             lambda x: x * 2.0 + 1.0, lambda x: x.abs() + 0.1, lambda x: (x * x + 0.5).sqrt(),
             lambda x: (-x).exp().clip(max=3.0), lambda x: where(x > 0.1, x, x * 0.3)]
        )  # fmt: skip
        return (lambda v: function(v[a])), shapes[a]

    def _binary(self, i: int, a: int, shapes: Any) -> Any:
        same = [j for j, s in enumerate(shapes) if s == shapes[a]]
        b = self._rng.choice(same)
        kind = self._rng.randrange(5)
        if kind == 4:
            channels = shapes[a][0] + shapes[b][0]
            return (lambda v: concat([v[a], v[b]], 1)), (channels, *shapes[a][1:])
        function: Any = [
            lambda x, y: x + y, lambda x, y: x - 0.5 * y, lambda x, y: x * y.tanh(), lambda x, y: x.maximum(y)
        ][kind]  # fmt: skip
        return (lambda v: function(v[a], v[b])), shapes[a]

    def _conv(self, i: int, a: int, shapes: Any) -> Any:
        rng, (c, h, w) = self._rng, shapes[a]
        kh, kw = rng.choice([1, 2, 3]), rng.choice([1, 3])
        groups = rng.choice([1, 1, c])
        out = groups * rng.randint(1, 3)
        stride, dilation = rng.choice([1, 1, 2]), 1
        padding = (kh // 2, kw // 2)
        weight = self._parameter(f"w{i}", out, c // groups, kh, kw)
        bias = self._parameter(f"b{i}", out) if rng.random() < 0.7 else None
        activation = rng.choice([None, F.relu, F.tanh])

        def step(v: list[Any]) -> Any:
            y = F.conv2d(v[a], weight, bias, stride, padding, dilation, groups)
            return y if activation is None else activation(y)

        return step, (out, (h + 2 * padding[0] - kh) // stride + 1, (w + 2 * padding[1] - kw) // stride + 1)

    def _pool(self, i: int, a: int, shapes: Any) -> Any:
        rng, (c, h, w) = self._rng, shapes[a]
        if min(h, w) < 3:
            return self._unary(i, a, shapes)
        k, s = rng.choice([(2, 2), (3, 2), (2, 1), (3, 1)])
        p = rng.choice([0, 1]) if k == 3 else 0
        size = (c, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1)
        if rng.random() < 0.7:
            pad_value = rng.choice([0.0, -np.inf])
            return (lambda v: F.max_pool2d(v[a], k, s, p, pad_value=pad_value)), size
        return (lambda v: F.avg_pool2d(v[a], k, s, p)), size

    def _norm(self, i: int, a: int, shapes: Any) -> Any:
        c = shapes[a][0]
        gamma, beta = self._parameter(f"g{i}", c), self._parameter(f"beta{i}", c)
        mean, variance = self._numpy.standard_normal(c).astype("f4"), self._numpy.random(c).astype("f4") + 0.5
        self.register_buffer(f"mean{i}", Tensor(mean))
        self.register_buffer(f"var{i}", Tensor(variance))
        m, s = getattr(self, f"mean{i}"), getattr(self, f"var{i}")
        if self._rng.random() < 0.6:
            return (lambda v: F.batch_norm(v[a], m, s, gamma, beta, training=False)), shapes[a]
        return (lambda v: v[a] * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)), shapes[a]

    def _rearrange(self, i: int, a: int, shapes: Any) -> Any:
        c, h, w = shapes[a]
        kind = self._rng.randrange(4)
        if kind == 0:
            return (lambda v: v[a].transpose(2, 3)), (c, w, h)
        if kind == 1:
            return (lambda v: v[a].reshape(v[a].size(0), c, w, h)), (c, w, h)
        if kind == 2 and h > 4:
            return (lambda v: v[a][:, :, 1:-1]), (c, h - 2, w)
        return (lambda v: F.pad(v[a], (1, 0, 0, 1))), (c, h + 1, w + 1)

    def _reduce(self, i: int, a: int, shapes: Any) -> Any:
        kind = self._rng.randrange(3)
        if kind == 0:
            return (lambda v: v[a] - v[a].mean((2, 3), keepdim=True)), shapes[a]
        if kind == 1:
            return (lambda v: v[a] * F.softmax(v[a], 1)), shapes[a]
        return (lambda v: v[a] + v[a].amax(1, keepdim=True)), shapes[a]
