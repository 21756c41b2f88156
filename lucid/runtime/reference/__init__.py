"""The oracle: every op computed straight from its definition, slow and obviously right, file by file as the ops."""

from . import elementwise as elementwise
from .evaluator import evaluate_reference as evaluate_reference
from .evaluator import reference_of as reference_of
