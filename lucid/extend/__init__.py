"""Third-party ops, passes, lowerings and back ends.

This package and :mod:`lucid.passes` are all that is needed; ``docs/extending.md`` is the tutorial, with a package that
has one of each. An installed distribution announces its plug-ins by entry points, whose name is that of the op, pass or
back end::

    [project.entry-points."lucid.ops"]
    Snake = "lucid_snake:SNAKE"                    # an OpDef; found when a file names an unknown op

    [project.entry-points."lucid.passes"]
    merge_branches = "lucid_snake:merge_branches"  # for lucid.passes.default().add("merge_branches")

    [project.entry-points."lucid.backends"]
    tally = "lucid_snake:Tally"                    # for lucid.compile(model, backend="tally")

Importing Lucid does not look for them: that happens when an unknown name is asked for, or by :func:`load`.
"""

from ..base.plugins import Plugin
from ..graph.attrs import Attrs, ConstArray, NoAttrs, attributes
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import NO_GRADIENT, AbstractTensor, GradContext, Gradients, OpDef, apply, apply_all, find_op
from ..graph.trace import Symbol
from ..graph.types import broadcast_shapes
from ..passes.editing import register_pass
from ..passes.rewrite import View
from ..reference.evaluator import reference
from ..runtime.backends import Backend
from ..runtime.eager import run_node
from ..runtime.planning.machine import Machine
from ..runtime.planning.registry import Way
from ..runtime.planning.work import Product, Work
from ..runtime.program.emitter import Emitter
from .installed import installed, load
from .kernels import kernel
from .ops import register_op

__all__ = [
    "NO_GRADIENT",
    "AbstractTensor",
    "Attrs",
    "Backend",
    "ConstArray",
    "Emitter",
    "GradContext",
    "Gradients",
    "Graph",
    "Machine",
    "NoAttrs",
    "Node",
    "OpDef",
    "Plugin",
    "Product",
    "Symbol",
    "Value",
    "View",
    "Way",
    "Work",
    "apply",
    "apply_all",
    "attributes",
    "broadcast_shapes",
    "find_op",
    "installed",
    "kernel",
    "load",
    "reference",
    "register_op",
    "register_pass",
    "run_node",
]
