"""The operations. Importing this package registers them all."""

from . import avgpool as avgpool
from . import conv as conv
from . import conv_pool as conv_pool
from . import elementwise as elementwise
from . import indexing as indexing
from . import linalg as linalg
from . import pool as pool
from . import reduce as reduce
from . import shape as shape
from . import source as source
