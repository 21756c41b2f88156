"""Folds per-channel factors and summands into the layers before or after them.

``conv(x, w, b) * s + t`` is ``conv(x, w * s, b * s + t)``, and ``conv(x * s + t, w)`` is a convolution of ``x`` whose
weights and bias include ``s`` and ``t``. Imported models often contain batch normalisations in this form, or what
quantisation has left of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from ...graph.facts import parameter_only
from ...graph.ir import Graph
from ...graph.opdef import NoAttrs, OpDef, apply
from ...graph.ops import elementwise as ew
from ...graph.ops.conv import CONV
from ...graph.ops.linalg import LINEAR
from ...graph.ops.norm import BATCH_NORM
from ...graph.ops.source import full
from ...graph.trace import Symbol
from ...graph.types import TensorType, is_float
from ..rewrite import Declined, Site, View, fixed_point, rebuild
from ..simplify import fill_value
from .batch_norm import IN_GROUPS, SCALED, norm_scale, norm_shift

CHANNELS = 1
"""The channel axis of an image."""


def fold_scales(graph: Graph, *, exact: bool = False) -> Graph:
    """Fold factors and summands of channels into an adjacent convolution or normalisation.

    Values in between must have no other reader. Remaining normalisations with fixed statistics are rewritten as a
    product and a sum, which fuse with what follows. ``exact`` leaves out summands before a convolution: if they are
    much larger than the sum, its digits are lost.
    """

    def step(graph: Graph) -> Graph:
        folded = rebuild(graph, _Folder(graph, exact).rule, "fold_scales", at=_AFFINE.keys() | {CONV})
        return rebuild(folded, partial(_spelled, fixed=parameter_only(folded)), "fold_scales", at={BATCH_NORM})

    if BATCH_NORM not in graph.ops and graph.ops.isdisjoint(SCALED):  # there is nothing to fold into
        return graph
    return fixed_point(step, graph, label="fold_scales")


class _Folder:
    """The rule, with facts about the graph."""

    def __init__(self, graph: Graph, exact: bool) -> None:
        self.graph, self.fixed, self.exact = graph, parameter_only(graph), exact
        self.layers: dict[str, str] = {}  # the name of the layer that a new node stands for

    def rule(self, site: Site) -> Symbol | Declined | None:
        if site.name in self.fixed or not is_float(site.type.dtype):
            return None
        return self._before(site) if site.op is CONV else self._behind(site)

    def _behind(self, site: Site) -> Symbol | Declined | None:
        """Fold a factor or summand of a layer's result into the layer."""
        declined: Declined | None = None
        made_by = [site.made_by(x) for x in site.inputs]
        if not any(made.op in SCALED or made.op is BATCH_NORM for made in made_by):
            return None
        for slot, vector in self._vectors(site):
            layer, made = site.producer(slot), made_by[slot]
            if made.op not in SCALED and made.op is not BATCH_NORM:
                continue
            declined = self._not_behind(layer, made)
            inputs = None if declined else _folded(made, site.op, vector)
            if inputs is not None:
                site.absorb(layer)
                y: Symbol = apply(made.op, made.attrs, *inputs)
                name = self.layers[y.value.node] = self.layers.get(made.name, made.name)
                site.call(y, name)
                return y
            declined = declined or Declined(IN_GROUPS, layer)
        return declined

    def _not_behind(self, layer: View, made: View) -> Declined | None:
        """Why nothing that follows a layer can be folded into it."""
        if not layer.single_use:
            return layer.shared()
        return None if self._is_fixed(made) else Declined(f"the weights of {layer.name} depend on the input", layer)

    def _not_before(self, site: Site, view: View, vector: Symbol | None) -> Declined | None:
        """Why a factor or summand of a convolution's input cannot be folded into it."""
        if vector is None or (view.op is ew.MUL and view.single_use):
            return None
        if not view.single_use:
            return view.shared()
        if self.exact:
            return Declined(f"{view.name} may be much larger than the sum, whose digits would be lost", view)
        if any(site.attrs.padding):
            return Declined(f"the padding of {site.name} holds zeros, to which {view.name} adds nothing", view)
        return None

    def _before(self, site: Site) -> Symbol | Declined | None:
        """Fold factors and summands of a convolution's input, however many follow one another, into it."""
        x, weight, *bias = site.inputs
        parts, view, groups = list[View](), site.producer(0), site.attrs.groups
        while view.name == x.value.node and view.op in _AFFINE:
            slot, vector = next(self._vectors(view), (0, None))
            declined = self._not_before(site, view, vector)
            if vector is not None and not self._is_fixed(site):
                declined = Declined(f"the weights of {site.name} depend on the input", view)
            site.leave(declined)
            if vector is None or declined:
                break
            if view.op is ew.MUL:
                weight = _of_channels(weight, vector, groups)
            else:
                added = of_constant(weight, -vector if view.op is ew.SUB else vector, groups)
                bias = [bias[0] + added if bias else added]
            parts.append(view)
            x, view = view.inputs[slot], view.producer(slot)
        if not parts:
            return None
        site.absorb(*reversed(parts))
        y: Symbol = apply(CONV, site.attrs, x, weight, *bias)
        site.call(y, site.name)
        return y

    def _is_fixed(self, layer: View) -> bool:
        """Whether all inputs but the first depend on parameters only; so do those of nodes that this pass makes."""
        feeds = self.graph.inputs_of(layer.name)[1:] if layer.name in self.graph else ()
        return all(value.node in self.fixed for value in feeds)

    def _vectors(self, view: View) -> Iterator[tuple[int, Symbol]]:
        """For each operand that is an image: its slot, and the other operand as a vector over channels, if fixed."""
        for slot in _AFFINE[view.op]:
            value, image = view.inputs[1 - slot], view.inputs[slot].type
            if view.producer(1 - slot).name not in self.fixed or image.shape != view.type.shape:
                continue
            number = fill_value(view, value)
            if _is_by_channel(value.type, image) and (number is None or math.isfinite(number)):
                channels = image.shape[CHANNELS]
                yield slot, (value.reshape(1) if value.type.size == 1 else value.reshape(channels)).expand(channels)


_AFFINE: dict[OpDef, tuple[int, ...]] = {ew.MUL: (0, 1), ew.ADD: (0, 1), ew.SUB: (0,)}
"""Which operands may be the image."""


def _is_by_channel(value: TensorType, image: TensorType) -> bool:
    """Whether it is one number for each channel of an image, or one for all."""
    lead = image.rank - value.rank
    if lead < 0 or image.rank < 2 or not isinstance(image.shape[CHANNELS], int):
        return False
    return all(
        dim == 1 or (axis + lead == CHANNELS and dim == image.shape[CHANNELS]) for axis, dim in enumerate(value.shape)
    )


# ---------------------------------------------------------------- layers that scale and shift


def _folded(layer: View, op: OpDef, vector: Symbol) -> list[Symbol] | None:
    """The inputs of a layer that multiplies its result with the vector, or adds it, or subtracts it."""
    x, *rest = layer.inputs
    norm = layer.op is BATCH_NORM
    statistics, affine = (rest[:2], rest[2:]) if norm else ([], rest)
    if op is ew.MUL:
        weight = (affine[0] * vector if affine else vector) if norm else SCALED[layer.op](layer, vector)
        return None if weight is None else [x, *statistics, weight, *(bias * vector for bias in affine[1:])]
    shift = -vector if op is ew.SUB else vector
    weight = affine[0] if affine else full(vector, 1.0)
    return [x, *statistics, weight, affine[1] + shift if len(affine) > 1 else shift]


# ---------------------------------------------------------------- layers that read what is scaled and shifted


def _of_channels(weight: Symbol, scale: Symbol, groups: int) -> Symbol:
    """Weights that multiply each channel with its number first."""
    outputs, size, *kernel = weight.type.shape
    if groups == 1:
        return weight * scale.reshape(1, -1, 1, 1)
    parted = weight.reshape(groups, outputs // groups, size, *kernel) * scale.reshape(groups, 1, size, 1, 1)
    return parted.reshape(outputs, size, *kernel)


def of_constant(weight: Symbol, values: Symbol, groups: int) -> Symbol:
    """What a convolution, or a linear layer, makes of an input that holds the value of each channel everywhere."""
    outputs, channels = weight.type.shape[0], values.type.shape[0]
    if weight.type.rank == 2:
        features, matrix = weight.type.shape[1], weight
    else:
        features, alone = channels, weight.type.shape[2:] == (1, 1)
        matrix = (weight if alone else weight.sum((2, 3))).reshape(outputs, channels // groups)
    if groups > 1:
        size = channels // groups
        y: Symbol = (matrix.reshape(groups, outputs // groups, size) * values.reshape(groups, 1, size)).sum(-1)
        return y.reshape(outputs)
    row = values.reshape(channels, 1).expand(channels, features // channels).reshape(1, features)
    y = apply(LINEAR, NoAttrs(), row, matrix)
    return y.reshape(outputs)


# ---------------------------------------------------------------- what is left of normalisations


def _spelled(site: Site, fixed: set[str]) -> Symbol | None:
    """A normalisation with fixed statistics as a product and a sum."""
    if site.name in fixed:
        return None
    if any(site.producer(slot).name not in fixed for slot in range(1, len(site.inputs))):
        return None
    x, *vectors = site.inputs
    scale = norm_scale(vectors, site.attrs.eps)
    image = (scale.type.shape[0], *(1,) * (x.type.rank - 2))
    return x * scale.reshape(*image) + norm_shift(vectors, scale).reshape(*image)
