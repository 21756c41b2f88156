"""The operations. Importing this package registers them all."""

from . import elementwise as elementwise
from . import indexing as indexing
from . import linalg as linalg
from . import reduce as reduce
from . import shape as shape
from . import source as source
