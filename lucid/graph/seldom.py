"""The functions that are seldom called, as people call them: this module is read when the first of them is asked for.

They are the methods of :mod:`.seldom_methods`, and functions of ``lucid``.
"""

from __future__ import annotations

from collections.abc import Callable

from .opdef import AbstractTensor
from .ops import bitwise
from .public import public

bitwise_left_shift: Callable[..., AbstractTensor] = public(bitwise.shift_left, "bitwise_left_shift")
bitwise_right_shift: Callable[..., AbstractTensor] = public(bitwise.shift_right, "bitwise_right_shift")
