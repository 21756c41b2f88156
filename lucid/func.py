"""Derivatives as functions of functions, with PyTorch's interface: ``lucid.func``.

``jacfwd`` gives what :func:`jacrev` gives: all derivatives are taken backwards, those of :func:`jvp` twice.
"""

from typing import TYPE_CHECKING

from .base.absent import FUNC, face
from .compiler.mapping import vmap as vmap
from .compiler.transforms import grad as grad
from .compiler.transforms import grad_and_value as grad_and_value
from .compiler.transforms import hessian as hessian
from .compiler.transforms import jacrev as jacfwd
from .compiler.transforms import jacrev as jacrev
from .compiler.transforms import jvp as jvp
from .compiler.transforms import vjp as vjp
from .nn.utils.stateless import functional_call as functional_call
from .nn.utils.stateless import stack_module_state as stack_module_state

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state", "vjp",
    "vmap",
]  # fmt: skip

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), FUNC, __all__)
