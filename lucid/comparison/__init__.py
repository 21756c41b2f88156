"""Finding where two models that should compute the same diverge: ``lucid.compare(a, b, *inputs)``."""

from .compare import Comparison as Comparison
from .compare import Pair as Pair
from .compare import compare as compare
