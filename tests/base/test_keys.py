"""Keys are equal where their tuples are, and hash them once."""

from __future__ import annotations

from lucid.base.keys import Key


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
