"""Data-parallel training: processes that ``mpiexec`` starts train one model, each on its own part of every batch."""

from typing import TYPE_CHECKING

from ..base.absent import DISTRIBUTED, face
from .group import Group as Group
from .group import get_rank as get_rank
from .group import get_world_size as get_world_size
from .group import group as group
from .group import is_available as is_available

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), DISTRIBUTED)
