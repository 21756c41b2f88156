"""The operations. Importing this package registers them all."""

from . import avgpool as avgpool
from . import bounds as bounds
from . import conv as conv
from . import conv_pool as conv_pool
from . import einsum as einsum
from . import elementwise as elementwise
from . import expect as expect
from . import fused as fused
from . import fused_linear as fused_linear
from . import indexing as indexing
from . import linalg as linalg
from . import loss as loss
from . import norm as norm
from . import order as order
from . import pad as pad
from . import pool as pool
from . import put as put
from . import random as random
from . import recurrent as recurrent
from . import reduce as reduce
from . import resize as resize
from . import shape as shape
from . import slices as slices
from . import source as source
from . import subscript as subscript
from . import trigonometry as trigonometry
