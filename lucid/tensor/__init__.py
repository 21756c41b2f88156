"""Eager tensors: what they are, how they are made, printed, traced and changed in place."""

from .tensor import Tensor as Tensor
