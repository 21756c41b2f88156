"""PyTorch's ``torch.autograd``: gradients of computed tensors, custom gradients, and checks of gradients.

Within a model that is traced, gradients become part of its graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.absent import AUTOGRAD, face
from . import function as function
from .differences import gradcheck as gradcheck
from .differences import gradgradcheck as gradgradcheck
from .function import Function as Function
from .gradients import grad as grad

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), AUTOGRAD, ["function"])
