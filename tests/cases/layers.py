"""Layers' functions that are a few other ops together: columns, pools by powers, sizes, bags, products of two."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.nn import functional as F

from .case import Case
from .elementwise import Make, away, normal, positive


def _functional(name: str, make: Make, *args: Any, tags: tuple[str, ...] = (), label: str = "", **options: Any) -> Case:
    """The function of that name here and in PyTorch; its first arguments are the tensors that ``make`` makes."""
    shown = label or "-".join([*map(str, args), *(f"{key}{value}" for key, value in options.items())]) or "plain"
    return Case(
        f"{name}-{shown}",
        lambda *xs: getattr(F, name)(*xs, *args, **options),
        make,
        lambda torch, *xs: getattr(torch.nn.functional, name)(*xs, *args, **options),
        tags=frozenset(tags),
    )


_WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2}, {"kernel_size": (3, 2), "padding": (1, 2)}, {"kernel_size": 2, "stride": 2},
    {"kernel_size": (2, 3), "stride": (2, 1), "dilation": (2, 1), "padding": 1}, {"kernel_size": (1, 4), "stride": 3},
]  # fmt: skip

UNFOLDED = [
    *(_functional("unfold", away((2, 3, 6, 7)), **options) for options in _WINDOWS),
    _functional("unfold", away((3, 6, 7)), label="single", kernel_size=2),
    _functional("unfold", away((0, 3, 6, 7)), label="empty", kernel_size=2),
    _functional("fold", away((2, 12, 20)), (5, 6), label="plain", kernel_size=2),
    _functional("fold", away((2, 12, 6)), (5, 6), label="apart", kernel_size=2, stride=2),
    _functional("fold", away((2, 18, 42)), (6, 7), label="padded", kernel_size=(3, 2), padding=(1, 1), dilation=(1, 2)),
    _functional("fold", away((12, 20)), (5, 6), label="single", tags=("static",), kernel_size=2),
    _functional("fold", away((0, 12, 20)), (5, 6), label="empty", kernel_size=2),
]

POWERS = [
    _functional("lp_pool1d", away((2, 3, 9)), 2, 3, stride=2),
    _functional("lp_pool1d", positive((2, 3, 9)), 3.5, 3, ceil_mode=True, stride=2),
    _functional("lp_pool1d", away((3, 9)), 1, 3),
    _functional("lp_pool2d", away((2, 3, 6, 7)), 2, (3, 2), label="uneven"),
    _functional("lp_pool2d", positive((2, 3, 6, 7)), 3, 2, stride=(2, 1), ceil_mode=True),
    _functional("lp_pool2d", away((0, 3, 6, 7)), 2, 2, label="empty"),
    _functional("lp_pool3d", away((2, 3, 4, 5, 6)), 2.0, 2),
]

SIZES = [
    _functional("rms_norm", normal((3, 4, 5)), (5,), label="last"),
    _functional("rms_norm", normal((3, 4, 5)), (4, 5), None, 1e-3, label="two"),
    _functional("rms_norm", normal((0, 5)), (5,), label="empty"),
    Case(
        "rms_norm-weight",
        lambda x, w: F.rms_norm(x, (4, 5), w),
        normal((3, 4, 5), (4, 5)),
        lambda torch, x, w: torch.nn.functional.rms_norm(x, (4, 5), w),
    ),
    *(_functional("local_response_norm", normal((2, 7, 3, 4)), size, 0.5, 0.75, 2.0) for size in (1, 3, 4, 9)),
    _functional("local_response_norm", normal((2, 5, 3)), 3, label="signal"),
    _functional("local_response_norm", normal((0, 5, 3)), 3, label="empty"),
]

PAIRS = [
    _functional("cosine_similarity", normal((4, 5), (4, 5))),
    _functional("cosine_similarity", normal((4, 5, 3), (5, 3)), -1, label="broadcast"),
    _functional("cosine_similarity", normal((2, 5, 3), (2, 1, 3)), 0, label="first", tags=("static",)),
    *(_functional("pairwise_distance", normal((4, 5), (4, 5)), p=p, keepdim=p == 2) for p in (2.0, 1.0, 3.0)),
    _functional("pairwise_distance", normal((3, 4, 5), (5,)), label="broadcast"),
    _functional("bilinear", normal((4, 3), (4, 5), (2, 3, 5)), label="no-bias"),
    _functional("bilinear", normal((2, 3, 3), (2, 3, 5), (2, 3, 5), (2,)), label="bias"),
    _functional("bilinear", normal((0, 3), (0, 5), (2, 3, 5), (2,)), label="empty"),
    _functional("channel_shuffle", normal((2, 6, 3, 2)), 3),
    _functional("channel_shuffle", normal((2, 6, 3)), 2, label="signal"),
]


def _bags(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return rng.integers(0, 7, (5, 4)), np.asarray(rng.standard_normal((7, 3)), dtype)


def _uneven(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return rng.integers(0, 7, 9), np.asarray(rng.standard_normal((7, 3)), dtype), np.array([0, 2, 2, 5])


def _weighted(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    return *_uneven(rng, dtype), np.asarray(rng.standard_normal(9), dtype)


BAGS = [
    *(
        Case(
            f"embedding_bag-{kind}-{mode}-padding{padding}",
            lambda i, w, o=None, m=mode, p=padding: F.embedding_bag(i, w, o, mode=m, padding_idx=p),
            make,
            lambda torch, i, w, o=None, m=mode, p=padding: torch.nn.functional.embedding_bag(
                i, w, o, mode=m, padding_idx=p
            ),
        )
        for kind, make in (("even", _bags), ("uneven", _uneven))
        for mode in ("sum", "mean", "max")
        for padding in (None, 2)
    ),
    Case(
        "embedding_bag-weighted",
        lambda i, w, o, s: F.embedding_bag(i, w, o, mode="sum", per_sample_weights=s),
        _weighted,
        lambda torch, i, w, o, s: torch.nn.functional.embedding_bag(i, w, o, mode="sum", per_sample_weights=s),
    ),
    Case(
        "embedding_bag-last-offset",
        lambda i, w, o: F.embedding_bag(i, w, o, include_last_offset=True),
        lambda rng, dtype: (*_uneven(rng, dtype)[:2], np.array([0, 2, 2, 5, 9])),
        lambda torch, i, w, o: torch.nn.functional.embedding_bag(i, w, o, include_last_offset=True),
    ),
]


def _fractional(axes: int, shape: tuple[int, ...], kernel: Any, size: Any) -> Case:
    name, lead = f"fractional_max_pool{axes}d", (*((1,) if len(shape) == axes + 1 else ()), *shape[:-axes])

    def make(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
        return *away(shape)(rng, dtype), np.asarray(rng.random((*lead, axes)), dtype)

    return Case(
        f"{name}-{'x'.join(map(str, shape))}-{size}",
        lambda x, s: getattr(F, name)(x, kernel, size, None, True, s.detach() if hasattr(s, "detach") else s),
        make,
        lambda torch, x, s: getattr(torch.nn.functional, name)(
            x, kernel, size, return_indices=True, _random_samples=s.detach()
        ),
    )


FRACTIONAL = [
    _fractional(2, (2, 3, 9, 8), 2, (5, 4)),
    _fractional(2, (2, 3, 9, 8), (3, 2), (1, 7)),
    _fractional(2, (3, 9, 8), 2, 3),
    _fractional(3, (2, 2, 5, 6, 7), 2, (2, 3, 4)),
]

CASES = [*UNFOLDED, *POWERS, *SIZES, *PAIRS, *BAGS, *FRACTIONAL]
