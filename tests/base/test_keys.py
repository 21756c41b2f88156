"""Keys are equal where their tuples are, and hash them once; contents where all bytes are the same."""

from __future__ import annotations

import numpy as np

from lucid.base.keys import SAMPLE, Content, Key


def test_keys_are_equal_where_their_tuples_are() -> None:
    assert Key((1, "a")) == Key((1, "a"))
    assert Key((1, "a")) != Key((1, "b"))
    assert Key((1,)) != (1,)
    assert len({Key((1, "a")), Key((1, "a")), Key(())}) == 2


def test_a_key_of_keys_hashes_none_of_them_again() -> None:
    class Counted:
        times = 0

        def __hash__(self) -> int:
            Counted.times += 1
            return 7

    inner = Key((Counted(),))
    for _ in range(3):
        hash(Key((inner, inner)))
    assert Counted.times == 1


def test_contents_are_equal_where_type_shape_and_bytes_are() -> None:
    zeros = np.zeros((3 * SAMPLE, 7), np.float32)
    assert Content(zeros) == Content(zeros.copy()) == Content(zeros)
    assert hash(Content(zeros)) == hash(Content(np.zeros((7, 3 * SAMPLE), np.float32).T))
    others = [zeros.reshape(7, -1), zeros.astype(np.int32), -zeros, zeros[1:], zeros[0, 0]]
    assert len({Content(one) for one in (zeros, *others)}) == 6
    assert Content(zeros) != zeros.tobytes()


def test_contents_that_differ_in_one_element_differ() -> None:
    made = [np.zeros(9 * SAMPLE, np.int8) for _ in range(50)]
    for place, one in enumerate(made):
        one[-place] = 1
    assert len(set(map(Content, made))) == 50
    nan = np.array([np.nan, 0.0])
    assert Content(nan) == Content(nan.copy()) and Content(nan) != Content(nan * -1)
