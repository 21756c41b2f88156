"""Adds to Lucid: the op Snake, the pass ``merge_branches``, the back end ``tally``."""

from . import kernels as kernels
from .branches import merge_branches as merge_branches
from .op import SNAKE as SNAKE
from .op import Snake as Snake
from .op import SnakeAttrs as SnakeAttrs
from .op import snake as snake
from .tally import Tally as Tally
