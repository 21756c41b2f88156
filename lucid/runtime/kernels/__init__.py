"""The kernels, in files named like those of the ops in ``lucid.graph.ops``. Importing this package registers them.

Some families have many kernels; their packages are imported when the first of their ops is met (:data:`HOMES`).
"""

from typing import Final

from ...base.lazy import LazyModule
from ..planning.registry import kernel_homes
from . import control as control
from . import ctc as ctc
from . import data_dependent as data_dependent
from . import decompositions as decompositions
from . import determinant as determinant
from . import elementwise as elementwise
from . import exchange as exchange
from . import expect as expect
from . import fused as fused
from . import indexing as indexing
from . import linear as linear
from . import loops as loops
from . import loss as loss
from . import matrix_exponential as matrix_exponential
from . import nonelementary as nonelementary
from . import norm as norm
from . import pad as pad
from . import random as random
from . import reduce as reduce
from . import resize as resize
from . import rounding as rounding
from . import shape as shape
from . import solving as solving
from . import source as source
from . import top_k as top_k
from . import trees as trees

_CONV = LazyModule("lucid.runtime.kernels.conv")
_POOL = LazyModule("lucid.runtime.kernels.pool")

HOMES: Final = {
    "lucid.graph.ops.attention_op": LazyModule("lucid.runtime.kernels.attention"),
    "lucid.graph.ops.avgpool": _POOL,
    "lucid.graph.ops.conv": _CONV,
    "lucid.graph.ops.conv_pool": _CONV,
    "lucid.graph.ops.pool": _POOL,
    "lucid.graph.ops.recurrent_types": LazyModule("lucid.runtime.kernels.recurrent"),
}
"""Module that declares the attributes of ops -> package with their kernels."""

kernel_homes.update(HOMES)
