"""The oracle: every op computed straight from its definition, slow and obviously right, file by file as the ops."""

from . import conv as conv
from . import elementwise as elementwise
from . import linalg as linalg
from . import pool as pool
from . import reduce as reduce
from .evaluator import evaluate_reference as evaluate_reference
from .evaluator import reference_of as reference_of
from .evaluator import reference_values as reference_values
