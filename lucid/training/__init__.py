"""Metrics, callbacks and history for ``lucid.fit``."""

from typing import TYPE_CHECKING

from ..base.absent import TRAINING, face
from .callbacks import Callback as Callback
from .callbacks import EarlyStopping as EarlyStopping
from .callbacks import LRScheduler as LRScheduler
from .callbacks import ModelCheckpoint as ModelCheckpoint
from .checkpoint import Checkpoint as Checkpoint
from .history import History as History
from .loop import evaluate as evaluate
from .metrics import Accuracy as Accuracy
from .metrics import Average as Average
from .metrics import BinaryAccuracy as BinaryAccuracy
from .metrics import MeanAbsoluteError as MeanAbsoluteError
from .metrics import MeanSquaredError as MeanSquaredError
from .metrics import Metric as Metric
from .metrics import RootMeanSquaredError as RootMeanSquaredError
from .metrics import TopKAccuracy as TopKAccuracy
from .run import Run as Run

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), TRAINING)
