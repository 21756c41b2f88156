"""What draws random numbers in the shape of a tensor, as people call it in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .opdef import AbstractTensor
from .ops import drawn
from .public import number, operand, public

Function: TypeAlias = Callable[..., AbstractTensor]

normal: Function = public(drawn.normal, "normal_", mean=number, std=number)
log_normal: Function = public(drawn.log_normal, "log_normal_", mean=number, std=number)
uniform: Function = public(drawn.uniform, "uniform_", a=number, b=number)
exponential: Function = public(drawn.exponential, "exponential_", lambd=number)
cauchy: Function = public(drawn.cauchy, "cauchy_", median=number, sigma=number)
geometric: Function = public(drawn.geometric, "geometric_", p=number)
bernoulli: Function = public(drawn.bernoulli, "bernoulli_", p=operand)
random: Function = public(drawn.whole_numbers, "random_", low=None, high=None)
