"""A dictionary of what was used last."""

from __future__ import annotations

from lucid.base.recent import Recent


def test_what_was_not_used_for_longest_goes() -> None:
    recent: Recent[str, int] = Recent(2)
    assert recent.keep("a", 1) == recent.keep("b", 2) == []
    assert recent.use("a") == 1
    assert recent.keep("c", 3) == [2]
    assert recent.use("b") is None
    assert recent.keep("a", 4) == []
    assert recent.keep("d", 5) == [3]
    assert dict(recent) == {"a": 4, "d": 5}
