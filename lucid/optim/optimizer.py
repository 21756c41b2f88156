"""Optimizer: parameter groups, state, and the step that applies an update rule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np

from ..base import changes, checks
from ..base.checks import flag as flag
from ..base.checks import shown
from ..errors import DTypeError, GradientError, OptionError, ShapeError
from ..graph.opdef import AbstractTensor
from ..graph.ops.elementwise import maximum, minimum, where
from ..graph.public import as_array
from ..graph.types import float64
from ..tensor.grad_mode import enable_grad, no_grad
from ..tensor.tensor import Tensor
from .hooks import Hooked

Group: TypeAlias = "dict[str, Any]"
Params: TypeAlias = "Iterable[Any]"
"""Tensors, pairs (name, tensor), or groups (dicts); what is inferred for a list of dicts fits no narrower type."""

Shape: TypeAlias = "tuple[int, ...]"

State: TypeAlias = "dict[str, Tensor]"
"""The state of a parameter, by slot."""

Values: TypeAlias = "Mapping[str, AbstractTensor]"
"""The state as an update rule sees it, as tensors or symbols."""

Update: TypeAlias = "tuple[AbstractTensor, dict[str, AbstractTensor]]"
"""A new parameter, and its new state."""

Hyper: TypeAlias = "Mapping[str, Any]"
"""The coefficients of a rule, as numbers, tensors or symbols, and its flags."""


Coefficient: TypeAlias = "AbstractTensor | float"
"""A coefficient, before it is converted to the parameter's type."""


def number(owner: str, name: str, value: object, low: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a float with ``low <= value < below``; raises for anything else."""
    return checks.number(owner, name, value, low, below=below)


def downhill(p: AbstractTensor, g: AbstractTensor, hyper: Hyper) -> AbstractTensor:
    """The gradient to descend: negated for "maximize", and with weight decay added if the rule "decays"."""
    g = -g if hyper["maximize"] else g
    return g + hyper["weight_decay"] * p if hyper["decays"] else g


def larger(a: Coefficient, b: float) -> Coefficient:
    """The larger of a coefficient (eagerly a number, in a graph a symbol) and a number."""
    return maximum(a, b) if isinstance(a, AbstractTensor) else max(a, b)


def smaller(a: Coefficient, b: Coefficient) -> Coefficient:
    """The smaller of two coefficients."""
    return minimum(a, b) if isinstance(a, AbstractTensor) or isinstance(b, AbstractTensor) else min(a, b)


def chosen(condition: AbstractTensor | bool, a: Coefficient, b: Coefficient) -> Coefficient:
    """``a`` if the condition holds, else ``b``."""
    if not isinstance(condition, AbstractTensor):
        return a if condition else b
    return where(condition, *(x if isinstance(x, AbstractTensor) else np.asarray(x, float64) for x in (a, b)))


IMPLEMENTATIONS: Final = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Options that choose among PyTorch's implementations of a rule; they are dropped from loaded states."""


def _options(group: Mapping[str, object]) -> Group:
    return deepcopy({name: value for name, value in group.items() if name != "params"})


class Optimizer(Hooked, ABC):
    """Base class of optimisers.

    A subclass says *what* one update computes, in methods without side effects that serve eager tensors and graph
    symbols alike, so that a whole training step can be one graph:

    - :meth:`scalars` and :meth:`flags` read a group: numbers that may change from step to step, and choices that
      decide which operations there are;
    - :meth:`slots_of` and :meth:`shape_of` give the names and shapes of the state tensors of a parameter;
    - :meth:`coefficients` computes, from the scalars and the number of the step, the factors that the update uses;
    - :meth:`update` is the rule.

    Parameters
    ----------
    params
        Parameters, or dicts with ``"params"`` and the options of that group.
    defaults
        Options of groups that do not set them.

    Attributes
    ----------
    param_groups
        One dict per group: ``"params"`` and its options, which may be changed between steps.
    state
        For each parameter its state tensors; ``"step"`` counts the updates.
    """

    evaluates: ClassVar[bool] = False
    """Whether a step evaluates the loss itself, by a closure, and so cannot be part of a compiled step."""

    numbers: ClassVar[tuple[str, ...]] = ()
    """Options that are numbers, at least 0: scalars of the same names."""

    choices: ClassVar[tuple[str, ...]] = ()
    """Options that are True or False."""

    carried: ClassVar[tuple[str, ...]] = ()
    """Scalars of the state besides "step", float64 like it: :meth:`coefficients` finds them among the scalars, and
    returns their new values under the same names."""

    def __init__(self, params: Params, defaults: Group) -> None:
        super().__init__()
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        listed = self._listed(params)
        if not listed:
            raise OptionError(f"{self._name}: there are no parameters to optimise")
        groups: list[Any] = listed if isinstance(listed[0], Mapping) else [{"params": listed}]
        for group in groups:
            self.add_param_group(group)

    def _listed(self, params: object) -> list[object]:
        """A list of parameters or groups; names are dropped from pairs of a name and a parameter."""
        if isinstance(params, set | frozenset):
            raise OptionError(f"{self._name}: params is a set, whose order is another in each run: give a list")
        if isinstance(params, Tensor | Mapping):
            raise OptionError(f"{self._name}: params is an iterable of parameters or of groups, not a single one")
        if hasattr(params, "parameters"):
            raise OptionError(f"{self._name}: params is {type(params).__name__}; give its .parameters()")
        listed = checks.several(self._name, "params", params)
        named = listed and all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in listed)
        return [p for _, p in listed] if named else listed

    @property
    def _name(self) -> str:
        return type(self).__name__

    # ------------------------------------------------------------ what subclasses define

    def check(self, group: Group) -> None:
        """Raise :class:`OptionError` if an option of the group is invalid."""
        for name in self.numbers:
            number(self._name, name, group[name])
        for name in self.choices:
            flag(self._name, name, group[name])

    def scalars(self, group: Group) -> dict[str, float]:
        """The group's numbers, by the names the rule uses."""
        return {name: float(group[name]) for name in self.numbers}

    @abstractmethod
    def flags(self, group: Group) -> Mapping[str, int]:
        """The choices that decide which operations the update consists of: most are True or False."""

    def coefficients(self, step: AbstractTensor | int, scalars: Hyper) -> Hyper:
        """The factors that the rule uses at update number ``step`` (from 1): float64 arithmetic on scalars."""
        return dict(scalars)

    @abstractmethod
    def slots_of(self, flags: Mapping[str, int]) -> tuple[str, ...]:
        """Names of the state tensors that an update with these flags needs."""

    def shape_of(self, slot: str, shape: Shape) -> Shape | None:
        """The shape of a state tensor for a parameter of this shape; None if such a parameter has none."""
        return shape

    def initial(self, slot: str, group: Group) -> float:
        """The value that a state tensor is filled with before the first update."""
        return 0.0

    @abstractmethod
    def update(self, p: AbstractTensor, g: AbstractTensor, state: Values, hyper: Hyper) -> Update:
        """The rule: new parameter and new state (without "step"), with unchanged shapes and the parameter's dtype.

        ``hyper`` holds the coefficients as 0-d tensors of the parameter's dtype, and the flags.
        """

    # ------------------------------------------------------------ the rule, applied

    def apply_rule(
        self, p: AbstractTensor, g: AbstractTensor, state: Values, scalars: Hyper, flags: Mapping[str, int]
    ) -> Update:
        """One update as pure operations on tensors or symbols.

        Parameters
        ----------
        p, g
            Parameter and gradient.
        state
            As :meth:`state_of` returns it: "step" and the ``carried`` scalars, as float64, and the slots.
        scalars
            :meth:`scalars` of the group as float64 scalars.
        flags
            :meth:`flags` of the group.
        """
        step = state["step"] + 1
        values = self.coefficients(step, {**scalars, **{name: state[name] for name in self.carried}})
        hyper = {name: c.to(p.type.dtype) for name, c in values.items()}
        new_p, new_state = self.update(p, g, state, {**hyper, **flags})
        return new_p, {"step": step, **{name: values[name] for name in self.carried}, **new_state}

    def state_of(self, p: Tensor, group: Group) -> State:
        """The state of a parameter, created at its first update, and extended if an option now needs more."""
        state = self.state.setdefault(p, {"step": Tensor(np.zeros((), float64))})
        for slot in self.carried:
            if slot not in state:
                state[slot] = Tensor(np.full((), self.initial(slot, group), float64))
        for slot, shape in self.shapes_of(self.flags(group), p.shape).items():
            if slot not in state:
                state[slot] = Tensor.wrap(np.full(shape, self.initial(slot, group), p.dtype))
        return state

    def shapes_of(self, flags: Mapping[str, int], shape: Shape) -> dict[str, Shape]:
        """The state tensors that a parameter of this shape has, and their shapes."""
        found = {slot: self.shape_of(slot, shape) for slot in self.slots_of(flags)}
        return {slot: own for slot, own in found.items() if own is not None}

    def step(self, closure: Callable[[], object] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure
            Computes the loss and its gradients; its result is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.check(group)
            for p in group["params"]:
                if p.grad is not None:
                    self.check_gradient(p)
        with no_grad():
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def check_gradient(self, p: Tensor) -> None:
        """Raise if the gradient of a parameter is not of its type."""
        grad = p.grad
        if not isinstance(grad, Tensor):
            raise GradientError(f"{self._name}: .grad is a Tensor or None, got {type(grad).__name__}")
        if grad.shape != p.shape:
            raise ShapeError(f"{self._name}: a parameter has shape {p.shape}, its gradient {grad.shape}")
        if grad.dtype != p.dtype:
            raise DTypeError(f"{self._name}: a parameter is {p.dtype.name}, its gradient {grad.dtype.name}")

    def _step_group(self, group: Group) -> None:
        scalars, flags = self.scalars(group), self.flags(group)
        known: dict[tuple[object, ...], tuple[Hyper, Hyper]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state_of(p, group)
            count = state["step"].item() + 1
            carried = {name: state[name].item() for name in self.carried}
            key = (count, p.dtype, *carried.values())
            if key not in known:
                values = self.coefficients(count, {**scalars, **carried})
                wrapped = {name: Tensor.wrap(np.asarray(value, p.dtype)) for name, value in values.items()}
                known[key] = {**wrapped, **flags}, values
            hyper, values = known[key]
            new, changed = self.update(p, p.grad, state, hyper)
            p.copy_(new)
            for slot, value in changed.items():
                state[slot].copy_(value)
            for slot in self.carried:
                state[slot].copy_(np.float64(values[slot]))
            state["step"].copy_(count)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters, or with ``set_to_none=False`` fill them with zeros."""
        checks.flag(f"{self._name}.zero_grad", "set_to_none", set_to_none)
        for group in self.param_groups:
            for p in group["params"]:
                p.clear_grad(not set_to_none)

    # ------------------------------------------------------------ groups

    def add_param_group(self, group: Mapping[str, object]) -> None:
        """Add parameters to optimise, with options of their own."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise OptionError(f"{self._name}: a parameter group is a dict with 'params', got {type(group).__name__}")
        given = group["params"]
        params = [given] if isinstance(given, Tensor) else self._listed(given)
        added: Group = {"params": params, **{k: v for k, v in group.items() if k != "params"}}
        unknown = sorted(set(added) - set(self.defaults) - {"params", "initial_lr", "name"})
        if unknown:
            raise OptionError(f"{self._name}: unknown options {unknown}; it has {sorted(self.defaults)}")
        for option, value in self.defaults.items():
            added.setdefault(option, value)
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            self._check_parameter(p, seen)
        self.check(added)
        self.param_groups.append(added)
        changes.of_models.note()

    def _check_parameter(self, p: object, seen: set[int]) -> None:
        if not isinstance(p, Tensor):
            raise OptionError(f"{self._name}: optimises tensors, got {type(p).__name__}")
        if not p.is_leaf:
            raise OptionError(f"{self._name}: a parameter was computed from others ({p.type}); optimise those")
        if p.dtype.kind != "f":
            raise OptionError(f"{self._name}: a parameter is floating-point, got {p.type}")
        if id(p) in seen:
            raise OptionError(f"{self._name}: a parameter ({p.type}) is given twice")
        seen.add(id(p))

    # ------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """Copies of options and state, with parameters numbered in order. Parameters in no group are left out."""
        numbers = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [
            {**_options(group), "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups
        ]
        state = {
            numbers[id(p)]: {slot: np.array(tensor.numpy()) for slot, tensor in slots.items()}
            for p, slots in self.state.items()
            if id(p) in numbers
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Restore what :meth:`state_dict` returned, here or in PyTorch; it is checked before anything is changed."""
        if not isinstance(state_dict, Mapping) or not {"param_groups", "state"} <= state_dict.keys():
            raise OptionError(f"{self._name}: a state is a dict with 'param_groups' and 'state', as state_dict() gives")
        groups = checks.several(self._name, "'param_groups' of a state", state_dict["param_groups"])
        states = checks.mapping(self._name, "'state' of a state", state_dict["state"])
        for group in groups:
            if "params" not in checks.mapping(self._name, "a group of a state", group):
                raise OptionError(f"{self._name}: a group of a state has 'params', got {shown(group)}")
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in groups] != sizes:
            raise OptionError(
                f"{self._name}: has groups of {sizes} parameters, "
                f"the state is of groups of {[len(group['params']) for group in groups]}"
            )
        merged = []
        for own, group in zip(self.param_groups, groups, strict=True):
            merged.append({**own, **{k: v for k, v in _options(group).items() if k not in IMPLEMENTATIONS}})
            self.check(merged[-1])
        params = [p for group in self.param_groups for p in group["params"]]
        indices = [index for group in groups for index in group["params"]]
        unknown = [index for index in states if index not in indices]
        if unknown:
            raise OptionError(f"{self._name}: there is state for {unknown}, but no such parameters")
        loaded = {
            p: self._load_slots(p, index, states[index])
            for index, p in zip(indices, params, strict=True)
            if index in states
        }
        for own, group in zip(self.param_groups, merged, strict=True):
            own.update(group)
        self.state = loaded
        changes.of_models.note()

    def _load_slots(self, p: Tensor, index: object, slots: Mapping[str, object]) -> State:
        loaded = {}
        for slot, value in slots.items():
            single = slot in ("step", *self.carried)
            shape, dtype = ((), float64) if single else (self.shape_of(slot, p.shape), p.dtype)
            array = as_array(f"{self._name}: {shown(slot)} of parameter {shown(index)}", value, dtype)
            if array.shape != shape:
                wanted = f"has shape {shape}" if shape is not None else f"is nothing that {p.type} has"
                raise ShapeError(f"{self._name}: {slot} of parameter {index} {wanted}, given {array.shape}")
            loaded[slot] = Tensor.wrap(array)
        updated = float(bool(loaded))  # in states without a count, any state means at least one update
        loaded.setdefault("step", Tensor(np.full((), updated, float64)))
        return loaded

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in sorted(group.items()) if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {options}")
        return f"{self._name}(\n" + "\n".join(lines) + "\n)"
