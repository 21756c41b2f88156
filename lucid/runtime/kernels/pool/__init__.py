"""Lowerings of pooling."""

from . import average as average
from . import max as max
from . import max_grad as max_grad
from . import max_runs as max_runs
