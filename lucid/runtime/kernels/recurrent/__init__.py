"""Kernels of recurrent layers, and of their gradients."""

from . import backward as backward
from . import forward as forward
