"""The function that a training step differentiates: the model, its loss, and further outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ..errors import GradientError, OptionError
from ..graph.types import is_float
from ..nn.module import Module
from ..nn.tables import ATTRIBUTES
from ..tensor.tensor import Tensor
from .arguments import Structure, leaf_names

Model: TypeAlias = "Callable[..., object]"
"""A model, loss or metric."""


class Objective(Module):
    """A model with its loss; it shares the model's parameters, buffers and children under the same names.

    Parameters
    ----------
    model
        Computes the outputs from all arguments but the target.
    loss
        ``loss(outputs, target)``, or ``loss(outputs)``; None if the model itself returns the loss.
    outputs
        Whether the outputs are returned too.
    metrics
        Functions of outputs and target whose values are returned too.
    """

    def __init__(
        self,
        model: Model,
        loss: Model | None,
        outputs: bool,
        metrics: Mapping[str, Model],
    ) -> None:
        super().__init__()
        if isinstance(model, Module):
            for name in (*ATTRIBUTES, "_transient"):  # not the hooks, which are called with the model
                object.__setattr__(self, name, getattr(model, name))
        object.__setattr__(self, "called", (model, loss, outputs, dict(metrics)))
        object.__setattr__(self, "_alone", loss is None or not _takes_two(loss))

    @property
    def named(self) -> str:
        """The name of the model."""
        model = self.called[0]
        return str(getattr(model, "__name__", type(model).__name__))

    @property
    def training(self) -> bool:
        """The mode of the model."""
        model = self.__dict__["called"][0] if "called" in self.__dict__ else None
        return isinstance(model, Module) and model.training

    @training.setter
    def training(self, mode: bool) -> None:
        """Ignore the mode that ``Module`` sets at first; the model has its own."""

    def train(self, mode: bool = True) -> Objective:
        """Set the mode of the model."""
        model = self.called[0]
        if isinstance(model, Module):
            model.train(mode)
        return self

    def forward(self, /, *args: object, **kwargs: object) -> object:
        model, loss, outputs, metrics = self.called
        if loss is None:
            value = model(*args, **kwargs)
            return _scalar(value)
        if not args:
            raise OptionError("a training step takes the inputs of the model and then, for the loss, the target")
        inputs, target = (args[:-1], args[-1:]) if self.has_target(len(args)) else (args, ())
        made = model(*inputs, **kwargs)
        value = _scalar(loss(made, *target))
        also: list[object] = [made] if outputs else []
        if metrics:
            also.append({name: metric(made, *target) for name, metric in metrics.items()})
        return (value, *also) if also else value

    def has_target(self, count: int) -> bool:
        """Whether the last of ``count`` positional arguments is the target, rather than an input of the model."""
        return count > 1 and not self._alone

    def metrics_in(self, structure: Structure) -> int:
        """How many of the last results in this structure are metrics."""
        return len(list(leaf_names(structure[-1], ""))) if self.called[3] else 0

    called: tuple[Model, Model | None, bool, dict[str, Model]]
    _alone: bool
    """Whether there never is a target, since the loss takes the outputs alone or the model returns the loss."""


def _takes_two(loss: Model) -> bool:
    """Whether a loss can be called with outputs and target."""
    try:
        inspect.signature(loss.forward if isinstance(loss, Module) else loss).bind_partial(None, None)
    except TypeError:
        return False
    except ValueError:  # of a built-in function that does not say
        return True
    return True


def _scalar(value: object) -> Tensor:
    """The loss, checked to be a single number."""
    if not isinstance(value, Tensor):
        raise GradientError(f"a training step: the loss is a tensor of one number, got a {type(value).__name__}")
    if any(dim != 1 for dim in value.type.shape) or not is_float(value.type.dtype):
        raise GradientError(
            f"a training step: the loss is one floating-point number, got {value.type}; take its mean() or sum(), or "
            f"leave the loss its reduction"
        )
    return value
