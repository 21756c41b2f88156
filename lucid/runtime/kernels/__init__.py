"""The kernels, file by file as the ops in ``lucid.graph.ops``. Importing this package registers them."""

from . import attention as attention
from . import control as control
from . import conv as conv
from . import ctc as ctc
from . import determinant as determinant
from . import elementwise as elementwise
from . import exchange as exchange
from . import expect as expect
from . import fused as fused
from . import indexing as indexing
from . import linear as linear
from . import loops as loops
from . import loss as loss
from . import norm as norm
from . import order as order
from . import pad as pad
from . import pool as pool
from . import random as random
from . import recurrent as recurrent
from . import reduce as reduce
from . import resize as resize
from . import rounding as rounding
from . import shape as shape
from . import solving as solving
from . import source as source
from . import trees as trees
