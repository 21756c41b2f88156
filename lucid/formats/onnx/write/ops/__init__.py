"""The writers of ops, by family. Importing this package registers them."""

from . import attention as attention
from . import control as control
from . import data_dependent as data_dependent
from . import elementwise as elementwise
from . import images as images
from . import indexing as indexing
from . import moves as moves
from . import norms as norms
from . import pooling_gradients as pooling_gradients
from . import products as products
from . import random as random
from . import recurrent as recurrent
from . import reductions as reductions
from . import windows as windows
