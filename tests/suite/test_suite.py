"""No fewer cases of the backend suite pass than the table says, and none fails that is not listed there."""

from __future__ import annotations

from collections import Counter

from .cases import KINDS, results
from .table import TABLE, passed


def test_no_fewer_cases_pass_than_the_table_says() -> None:
    found, wanted = results(), passed()
    counts = Counter(one.kind for one in found if one.state == "passed")
    fewer = {kind: (counts[kind], wanted[kind]) for kind in KINDS if counts[kind] < wanted[kind]}
    assert not fewer, "fewer cases pass than the table says (now, in the table)"
    listed = TABLE.read_text("utf-8").partition("## Failed")[2].partition("## Unsupported")[0]
    new = [one for one in found if one.state in ("failed", "other") and one.name.removeprefix("test_") not in listed]
    assert not new
