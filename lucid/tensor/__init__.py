"""Eager tensors: creation, functions, printing, tracing and in-place changes."""

from .tensor import Tensor as Tensor
