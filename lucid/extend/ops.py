"""Registering third-party ops."""

from __future__ import annotations

import dataclasses
import inspect
import re

from ..base.checks import flag, shown
from ..errors import GraphError, OptionError
from ..graph.attrs import Attrs
from ..graph.opdef import A, NoGradient, OpDef, add

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)


def register_op(op: OpDef[A], *, replace: bool = False) -> OpDef[A]:
    """Register an op, so that graphs, text and files may contain it.

    Register its kernels and its reference as well, by :func:`~lucid.extend.kernel` and :func:`~lucid.extend.reference`;
    an op that decomposes into others needs neither.

    Parameters
    ----------
    op
        Its definition.
    replace
        Whether it may replace another third-party op of that name, as when a notebook cell runs again; kernels and
        references must then be registered again. Graphs that hold the old op are no longer valid.

    Returns
    -------
    The op.

    Raises
    ------
    GraphError
        If the name is taken or invalid, or the definition is inconsistent.
    """
    if not isinstance(op, OpDef):
        raise OptionError(f"register_op: takes an OpDef, got {shown(op)}")
    name: object = op.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GraphError(f"register_op: an op's name has letters, digits and underscores, got {shown(name)}")
    _check(op)
    return add(op, replace=flag("register_op", "replace", replace))


def _check(op: OpDef) -> None:
    """Raise if the definition is inconsistent, since it would otherwise fail far from here."""
    if not callable(op.infer):
        raise GraphError(f"{op.name}: its type rule is a function of attributes and input types, got {shown(op.infer)}")
    if op.gradient is not None and not isinstance(op.gradient, NoGradient) and not callable(op.gradient):
        raise GraphError(f"{op.name}: its gradient is a rule, NO_GRADIENT, or None, got {shown(op.gradient)}")
    if op.decompose is not None and not callable(op.decompose):
        raise GraphError(f"{op.name}: its decomposition is a function of attributes and symbols")
    if not (isinstance(op.attrs, type) and issubclass(op.attrs, Attrs)):
        raise GraphError(f"{op.name}: its attributes are a subclass of Attrs, got {shown(op.attrs)}")
    if not _has_fields(op.attrs):
        raise GraphError(
            f"{op.name}: {op.attrs.__name__} has fields that are none: decorate it with @lucid.extend.attributes"
        )
    if not isinstance(op.inputs, tuple) or not all(isinstance(name, str) and name for name in op.inputs):
        raise GraphError(f"{op.name}: its inputs are a tuple of names, got {shown(op.inputs)}")
    unary = ("activation", "idempotent", "monotone", "root")
    for trait in unary if len(op.inputs) != 1 else ():
        if getattr(op, trait) not in (False, None):
            raise GraphError(f"{op.name}: {trait} is said of ops with one input, it has {', '.join(op.inputs)}")
    if op.activation and not op.elementwise:
        raise GraphError(f"{op.name}: an activation is element-wise")


def _has_fields(cls: type[Attrs]) -> bool:
    """Whether the declared attributes are fields: those of an undecorated subclass are not, and would be lost."""
    declared = {name for name, kind in inspect.get_annotations(cls).items() if "ClassVar" not in str(kind)}
    return declared <= {field.name for field in dataclasses.fields(cls)}
