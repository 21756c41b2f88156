"""Resizing against its definition, pixel by pixel, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.errors import LucidError, OptionError, ShapeError
from lucid.nn import functional as F
from lucid.tensor.tensor import Tensor

Array = np.ndarray[Any, Any]


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def nearest(x: Array, height: int, width: int) -> Array:
    rows, columns = x.shape[2:]
    y = np.empty((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            y[:, :, i, j] = x[:, :, i * rows // height, j * columns // width]
    return y


def bilinear(x: Array, height: int, width: int, corners: bool) -> Array:
    """Each pixel between the four around it."""

    def place(i: int, size: int, new: int) -> tuple[int, int, float]:
        at = i * (size - 1) / max(new - 1, 1) if corners else max((i + 0.5) * size / new - 0.5, 0.0)
        low = min(math.floor(at), size - 1)
        return low, min(low + 1, size - 1), at - low

    y = np.empty((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            top, bottom, down = place(i, x.shape[2], height)
            left, right, across = place(j, x.shape[3], width)
            upper = x[:, :, top, left] * (1 - across) + x[:, :, top, right] * across
            lower = x[:, :, bottom, left] * (1 - across) + x[:, :, bottom, right] * across
            y[:, :, i, j] = upper * (1 - down) + lower * down
    return y


@pytest.mark.parametrize("size", [(8, 10), (3, 7), (4, 5), (1, 1), (12, 5)])
def test_an_image_is_resized_as_defined(size: tuple[int, int]) -> None:
    x = noise(2, 3, 4, 5)
    for given in (x, np.asfortranarray(x)):
        np.testing.assert_allclose(F.interpolate(given, size).numpy(), nearest(x, *size))
        for corners in (False, True):
            layer = nn.Upsample(size, mode="bilinear", align_corners=corners)
            wanted = bilinear(x, *size, corners)
            np.testing.assert_allclose(layer(Tensor(given)).numpy(), wanted, atol=1e-12)
            np.testing.assert_allclose(lucid.compile(layer)(given).numpy(), wanted, atol=1e-12)


def test_scales_say_the_size_and_where_pixels_lie() -> None:
    x = noise(1, 2, 3, 4).astype(np.float32)
    assert F.interpolate(x, scale_factor=1.7, mode="bicubic").shape == (1, 2, 5, 6)
    assert F.interpolate(x, scale_factor=(2, 0.5)).shape == (1, 2, 6, 2)
    given = F.interpolate(x, scale_factor=1.7, mode="bilinear").numpy()
    rounded = F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True).numpy()
    np.testing.assert_allclose(rounded, bilinear(x, 5, 6, False), atol=1e-6)
    assert np.abs(given - rounded).max() > 1e-3


def test_one_trace_serves_every_size() -> None:
    net = lucid.compile(nn.Upsample(scale_factor=1.5, mode="bilinear"), lucid.spec("N", 2, "H", "W"))
    assert [str(dim) for dim in net.graph.output_types[0].shape[2:]] == ["H + ((H)//(2))", "W + ((W)//(2))"]
    for height, width in ((4, 6), (5, 3)):
        x = noise(1, 2, height, width).astype(np.float32)
        np.testing.assert_allclose(
            net(x).numpy(), F.interpolate(x, scale_factor=1.5, mode="bilinear").numpy(), atol=1e-6
        )


def test_a_pixel_that_is_no_number_stays_among_its_neighbours() -> None:
    x = noise(1, 1, 9, 9)
    x[0, 0, 4, 4] = np.nan
    for mode, most in (("nearest", 4), ("bilinear", 16), ("bicubic", 64)):
        assert 0 < np.isnan(F.interpolate(x, scale_factor=2, mode=mode).numpy()).sum() <= most


def test_blocks_of_pixels_are_channels() -> None:
    x = noise(2, 12, 3, 4)
    y = nn.PixelShuffle(2)(Tensor(x)).numpy()
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                np.testing.assert_array_equal(y[:, channel, i::2, j::2], x[:, 4 * channel + 2 * i + j])
    np.testing.assert_array_equal(nn.PixelUnshuffle(2)(Tensor(y)).numpy(), x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either size or scale_factor"), ({"size": 3, "scale_factor": 2}, "either size or scale_factor"),
        ({"size": 3, "mode": "cubic"}, "mode is one of"), ({"size": 3, "mode": "linear"}, "a tensor of 3 axes"),
        ({"size": 3, "align_corners": True}, "align_corners is for"), ({"size": 0, "mode": "area"}, "cannot be made"),
        ({"size": (1, 2, 3)}, "size is one number or 2"), ({"scale_factor": -1}, "scale_factor"),
        ({"scale_factor": float("inf")}, "at least 0 and finite"),
        ({"size": 3, "antialias": True}, "antialias is for"), ({"scale_factor": 0.1}, "cannot be made"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LucidError, match=words):
        F.interpolate(noise(1, 1, 4, 4), **options)


def test_layers_say_what_is_wrong() -> None:
    with pytest.raises(OptionError, match="Upsample: mode is one of"):
        nn.Upsample(2, mode="cubic")
    with pytest.raises(OptionError, match="UpsamplingNearest2d: size must be an int"):
        nn.UpsamplingNearest2d("x")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="UpsamplingBilinear2d: scale_factor is a number"):
        nn.UpsamplingBilinear2d(scale_factor=(2, "x"))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="UpsamplingNearest2d: give either"):
        nn.UpsamplingNearest2d()
    with pytest.raises(ShapeError, match=r"6 channels of .* do not divide into 2 x 2"):
        F.pixel_shuffle(noise(6, 2, 2), 2)
    with pytest.raises(OptionError, match="upscale_factor must be positive"):
        nn.PixelShuffle(0)
    with pytest.raises(ShapeError, match="needs images"):
        F.pixel_unshuffle(noise(4, 2), 2)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("axes", [2, 3])
def test_a_place_that_is_nan_gives_nan(axes: int, padding: str) -> None:
    image = np.ones((1, 2, *range(3, 3 + axes)), np.float32)
    places = np.zeros((1, 2, *[1] * (axes - 1), axes), np.float32)
    places[0, 0, ..., 0] = np.nan
    for sample in (F.grid_sample, lucid.compile(F.grid_sample)):
        found = sample(lucid.tensor(image), lucid.tensor(places), padding_mode=padding, align_corners=True).numpy()
        assert np.isnan(found[:, :, 0]).all() and (found[:, :, 1] == 1).all()


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [False, True])
def test_images_of_any_size_are_sampled_as_those_of_one_size(padding: str, corners: bool) -> None:
    def sample(image: Tensor, places: Tensor) -> Tensor:
        return F.grid_sample(image, places, padding_mode=padding, align_corners=corners)

    any_size = lucid.compile(sample, lucid.spec("N", 2, "H", "W"), lucid.spec("N", 3, 3, 2))
    rng = np.random.default_rng(4)
    for height, width in ((3, 4), (1, 5)):
        image = noise(2, 2, height, width).astype(np.float32)
        places = rng.choice([np.nan, np.inf, -np.inf, 1e30, -0.7, 0.4, 2.3], (2, 3, 3, 2)).astype(np.float32)
        found = []
        for function in (sample, any_size):
            x, at = lucid.tensor(image, requires_grad=True), lucid.tensor(places, requires_grad=True)
            y = function(x, at)
            y.backward(lucid.ones(y.shape))
            assert x.grad is not None and at.grad is not None
            found.append((y.numpy(), x.grad.numpy(), at.grad.numpy()))
        for eager, compiled in zip(*found, strict=True):
            np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)
