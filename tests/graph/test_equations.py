"""What symbols must be for two sizes to be the same."""

from __future__ import annotations

import random

import pytest

from lucid.graph.dims import Dim, evaluate, substitute, symbol
from lucid.graph.equations import line, solution

H, W, N, M, T = map(symbol, ("H", "W", "N", "M", "T"))
ORDER = ("W", "H", "T", "M", "N")


def halved(size: Dim, times: int) -> Dim:
    """What convolutions of stride 2 leave of a size."""
    for _ in range(times):
        size = (size - 1) // 2 + 1
    return size


CASES: dict[str, tuple[Dim, Dim, dict[str, Dim] | None]] = {
    "two names of one size": (N * 672, M * 672, {"M": N}),
    "a number": (N, 5, {"N": 5}),
    "a number times a size": (N * T * 80, T * 80, {"N": 1}),
    "what another size makes": (T, halved(W, 2), {"T": halved(W, 2)}),
    "halved and doubled": (2 * halved(H, 5), halved(H, 4), {"H": 32 * symbol("H_by_32")}),
    "of both axes": (
        halved(H, 4) * halved(W, 4), 4 * halved(H, 5) * halved(W, 5),
        {"H": 32 * symbol("H_by_32"), "W": 32 * symbol("W_by_32")},
    ),
    "a multiple": (N * T, N * T // 5 * 5, {"T": 5 * symbol("T_by_5")}),
    "a multiple and more": (T, (T - 4) // 16 * 16 + 4, {"T": 16 * symbol("T_by_16") + 4}),
    "one of several numbers": (halved(H, 5), 7, {"H": 224}),
    "numbers for both axes": (512 * (H // 32) * (W // 32), 25088, {"H": 224, "W": 224}),
    "what no size is": (2 * N, 5, None),
    "what is negative": (N + 3, 1, None),
    "what is different for all": (N, N + 1, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_equation_is_solved(name: str) -> None:
    a, b, wanted = CASES[name]
    found = solution(a, b, ORDER)
    assert found == wanted
    if found is not None:
        assert substitute(a, found) == substitute(b, found)


def test_what_is_the_same_needs_nothing() -> None:
    assert solution(halved(H, 2), (H + 3) // 4, ORDER) == {}


def test_a_line_is_read_backwards() -> None:
    found = line(32 * H + 4)
    assert found is not None
    assert (found.size(100), found.size(101), found.size(0)) == (3, None, None)
    assert line(H * W) is None and line(H // 2) is None and line(H + W) is None and line(7) is None


def test_quotients_that_are_equal_are_written_alike() -> None:
    assert halved(H, 5) == (H + 31) // 32 and str(halved(H, 5)) == "((H + 31)//(32))"
    assert (H - 1) // 2 + 1 == (H + 1) // 2 and (2 * H + 1) // 4 == H // 2
    assert (3 * H + 5) // 2 == H + (H + 1) // 2 + 2 and (H // 3 + 1) // 4 == (H + 3) // 12
    assert (4 * H + 2 * W + 3) // 6 == (2 * H + W + 1) // 3


def test_random_quotients_agree_with_integers() -> None:
    rng = random.Random(0)
    for _ in range(500):
        sizes = {name: rng.randrange(60) for name in "HW"}
        dim: Dim = symbol(rng.choice("HW"))
        value = evaluate(dim, sizes)
        for _ in range(rng.randrange(1, 7)):
            factor, shift, by = rng.randint(1, 6), rng.randint(-9, 9), rng.randint(1, 6)
            dim, value = (dim * factor + shift - W) // by, (value * factor + shift - sizes["W"]) // by
        assert evaluate(dim, sizes) == value
