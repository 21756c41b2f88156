"""Kernels of attention, and of its gradient."""

from . import backward as backward
from . import forward as forward
