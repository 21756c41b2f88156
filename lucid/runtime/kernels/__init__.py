"""The kernels, file by file as the ops in ``lucid.graph.ops``. Importing this package registers them."""

from . import elementwise as elementwise
from . import linalg as linalg
from . import pool as pool
from . import reduce as reduce
from . import shape as shape
from . import source as source
