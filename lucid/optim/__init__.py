"""Optimisers, and schedules for their learning rates."""

from typing import TYPE_CHECKING

from ..base.absent import OPTIM, face
from . import lr_scheduler as lr_scheduler
from . import swa_utils as swa_utils
from .adam import Adagrad as Adagrad
from .adam import Adam as Adam
from .adam import AdamW as AdamW
from .adam import NAdam as NAdam
from .adam import RMSprop as RMSprop
from .optimizer import Optimizer as Optimizer
from .sgd import SGD as SGD

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), OPTIM, ("lr_scheduler", "swa_utils"))
