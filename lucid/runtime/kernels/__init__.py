"""The kernels, file by file as the ops in ``lucid.graph.ops``. Importing this package registers them."""

from . import avgpool as avgpool
from . import conv as conv
from . import conv_grad as conv_grad
from . import conv_pool as conv_pool
from . import depthwise as depthwise
from . import depthwise_rows as depthwise_rows
from . import elementwise as elementwise
from . import fused as fused
from . import indexing as indexing
from . import linalg as linalg
from . import linear_blocks as linear_blocks
from . import loss as loss
from . import norm as norm
from . import pad as pad
from . import pointwise as pointwise
from . import pool as pool
from . import pool_grad as pool_grad
from . import pool_runs as pool_runs
from . import random as random
from . import reduce as reduce
from . import shape as shape
from . import source as source
from . import split_channels as split_channels
from . import toeplitz as toeplitz
from . import toeplitz_planes as toeplitz_planes
from . import winograd as winograd
