"""Optimisers, and schedules for their learning rates."""

from typing import TYPE_CHECKING

from ..base.absent import OPTIM, face
from . import lr_scheduler as lr_scheduler
from . import swa_utils as swa_utils
from .adafactor import Adafactor as Adafactor
from .adam import Adam as Adam
from .adam import Adamax as Adamax
from .adam import AdamW as AdamW
from .adam import NAdam as NAdam
from .adam import RAdam as RAdam
from .asgd import ASGD as ASGD
from .lbfgs import LBFGS as LBFGS
from .muon import Muon as Muon
from .optimizer import Optimizer as Optimizer
from .rprop import Rprop as Rprop
from .sgd import SGD as SGD
from .squares import Adadelta as Adadelta
from .squares import Adagrad as Adagrad
from .squares import RMSprop as RMSprop

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), OPTIM, ("lr_scheduler", "swa_utils"))
