"""Special functions, under the names of ``torch.special``; those that ``lucid`` has too are the same.

All take tensors of any shape, element by element, and compute integers as float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .base.absent import SPECIAL, face
from .graph.ops import distributions, elementwise, nonelementary, norm, rare_elementwise, reduce
from .graph.ops import special as composed
from .graph.public import apart, operand, public, whole
from .tensor.tensor import Tensor

erf: Callable[..., Tensor] = public(elementwise.erf)
erfc: Callable[..., Tensor] = public(nonelementary.erfc)
erfcx: Callable[..., Tensor] = public(nonelementary.erfcx)
erfinv: Callable[..., Tensor] = public(nonelementary.erfinv)
ndtr: Callable[..., Tensor] = public(distributions.ndtr)
ndtri: Callable[..., Tensor] = public(nonelementary.ndtri)
log_ndtr: Callable[..., Tensor] = public(distributions.log_ndtr)

expit: Callable[..., Tensor] = public(elementwise.sigmoid, "expit")
logit: Callable[..., Tensor] = public(composed.logit)
entr: Callable[..., Tensor] = public(distributions.entr)
xlogy: Callable[..., Tensor] = public(composed.xlogy, a=operand, b=operand)
xlog1py: Callable[..., Tensor] = public(distributions.xlog1py, a=operand, b=operand)
exp2: Callable[..., Tensor] = public(composed.exp2)
expm1: Callable[..., Tensor] = public(elementwise.expm1)
log1p: Callable[..., Tensor] = public(elementwise.log1p)
sinc: Callable[..., Tensor] = public(composed.sinc)
round: Callable[..., Tensor] = apart(public(elementwise.round_))

gammaln: Callable[..., Tensor] = public(nonelementary.lgamma, "gammaln")
digamma: Callable[..., Tensor] = public(nonelementary.digamma)
psi: Callable[..., Tensor] = public(nonelementary.digamma, "psi")
polygamma: Callable[..., Tensor] = public(nonelementary.polygamma_at, "polygamma", n=whole)
multigammaln: Callable[..., Tensor] = public(rare_elementwise.mvlgamma, "multigammaln", p=whole)

i0: Callable[..., Tensor] = public(nonelementary.i0)
i0e: Callable[..., Tensor] = public(nonelementary.i0e)
i1: Callable[..., Tensor] = public(nonelementary.i1)
i1e: Callable[..., Tensor] = public(nonelementary.i1e)

softmax: Callable[..., Tensor] = public(norm.softmax)
log_softmax: Callable[..., Tensor] = public(norm.log_softmax)
logsumexp: Callable[..., Tensor] = public(reduce.logsumexp)

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e",
    "log1p", "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi",
    "round", "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip

if not TYPE_CHECKING:  # to the type checker a name that is not here is an error
    __getattr__, __dir__ = face(globals(), SPECIAL, __all__)
