"""Loading a state dict: either all parameters and buffers are set, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..base import checks
from ..errors import DTypeError, OptionError, ShapeError
from ..graph.public import as_array
from ..tensor.tensor import Tensor
from .parameter import Unsettled


class LoadedKeys(NamedTuple):
    """Names of the model that had no value, and names of values that the model does not have."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(
    own: Mapping[str, Tensor], given: Mapping[str, object], strict: bool, older: Mapping[str, str]
) -> LoadedKeys:
    """Copy given values into a model's ``own`` tensors; see :meth:`lucid.nn.Module.load_state_dict`.

    ``older`` maps names from earlier versions of PyTorch to the current ones.
    """
    checks.mapping("load_state_dict", "state_dict", given)
    now = {name: older[name] for name in given if name in older and older[name] not in given and name not in own}
    given = {now.get(name, name): value for name, value in given.items()}
    checks.flag("load_state_dict", "strict", strict)
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    if strict and (missing or unexpected):
        raise OptionError(f"load_state_dict: missing {missing}, unexpected {unexpected}; strict=False ignores both")
    arrays = {name: as_array("load_state_dict", value) for name, value in given.items() if name in own}
    for name, array in arrays.items():
        if array.shape != own[name].shape and not isinstance(own[name], Unsettled):
            raise ShapeError(f"load_state_dict: {name} has shape {own[name].shape}, the given array {array.shape}")
        if not np.can_cast(array.dtype, own[name].dtype, "same_kind"):
            raise DTypeError(f"load_state_dict: {name} is {own[name].dtype.name}, the array {array.dtype.name}")
    for name, array in arrays.items():
        own[name].copy_(array)
    return LoadedKeys(missing, unexpected)
