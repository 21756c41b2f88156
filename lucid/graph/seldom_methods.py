"""Tensor methods that are seldom called: the functions of :mod:`.seldom`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from ..base.lazy import LazyModule
from .late import late
from .opdef import AbstractTensor

R = TypeVar("R", bound=AbstractTensor)
G = TypeVar("G")
Method: TypeAlias = "Callable[..., G]"

seldom = LazyModule("lucid.graph.seldom")


class SeldomMethods(AbstractTensor, Generic[R]):
    """What tensors and symbols have besides."""

    __slots__ = ()

    bitwise_left_shift: Method[R] = late(seldom)
    bitwise_right_shift: Method[R] = late(seldom)
