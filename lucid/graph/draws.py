"""What draws random numbers in the shape of a tensor, as people call it in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .drawing import drawing
from .opdef import AbstractTensor
from .ops import drawn
from .public import number, operand, public

Function: TypeAlias = Callable[..., AbstractTensor]

normal: Function = drawing(public(drawn.normal, "normal_", mean=number, std=number), "normal_")
log_normal: Function = drawing(public(drawn.log_normal, "log_normal_", mean=number, std=number), "log_normal_")
uniform: Function = drawing(public(drawn.uniform, "uniform_", a=number, b=number), "uniform_")
exponential: Function = drawing(public(drawn.exponential, "exponential_", lambd=number), "exponential_")
cauchy: Function = drawing(public(drawn.cauchy, "cauchy_", median=number, sigma=number), "cauchy_")
geometric: Function = drawing(public(drawn.geometric, "geometric_", p=number), "geometric_")
bernoulli: Function = drawing(public(drawn.bernoulli, "bernoulli_", p=operand), "bernoulli_")
random: Function = drawing(public(drawn.whole_numbers, "random_", low=None, high=None), "random_")
