"""When a worker is left alone, and when it is tried again: by what runs of described lengths tell of it."""

from __future__ import annotations

import pytest

from lucid.runtime.workers.link import FIRST, LAST, Link


def runs(link: Link, count: int, took: float, waited: float, lost: float, begin: float = 0.0) -> int:
    """So many runs, each with so much of it; how many there were before the worker was left alone."""
    for n in range(count):
        now = begin + n * took
        link.waited += waited
        link.judge(took, lost, now)
        if link.trusted > now:
            return n + 1
    return count


@pytest.mark.parametrize(
    ("took", "waited", "lost", "trusted"),
    [
        (0.1, 0.004, 0.004, True),  # a slice now and then
        (0.02, 0.003, 0.008, True),  # its core is another's for two fifths of the time, and little is waited for
        (0.02, 0.01, 0.0, True),  # the program's work is not shared out evenly
        (0.02, 0.0, 0.02, True),  # it never comes, and nobody waits
        (0.02, 0.008, 0.01, False),
        (0.001, 0.0005, 0.0005, False),
        (0.3, 0.1, 0.1, False),
    ],
)
def test_a_worker_is_left_alone_where_it_is_waited_for_without_a_core(
    took: float, waited: float, lost: float, trusted: bool
) -> None:
    assert (runs(Link(1, 1), 100, took, waited, lost) == 100) == trusted


def test_a_worker_that_is_left_alone_is_tried_again_ever_later() -> None:
    link, pauses, now = Link(1, 1), [], 10.0
    for _ in range(9):
        runs(link, 10, 0.02, 0.02, 0.02, now)
        assert link.waits == link.losses == 0
        pauses.append(link.pause)
        now = link.trusted
    assert pauses == [FIRST, *(FIRST * 2**n for n in range(1, 7)), LAST, LAST]
    assert runs(link, 2000, 0.02, 0.0, 0.0, now) == 2000
    runs(link, 10, 0.02, 0.02, 0.02, now + 40)
    assert link.pause == FIRST
