"""Attention with a matrix as memory (LinearAttention), and attention modified by graphs (FlexAttention)."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import GraphError
from ....graph.dims import exact_quotient
from ....graph.opdef import AbstractTensor
from ....graph.ops import attention_scores as at
from ....graph.ops.attention import attend
from ....graph.ops.elementwise import exp
from ....graph.ops.linalg import matmul
from ....graph.ops.loops import scan
from ....graph.ops.norm import softmax
from ....graph.ops.promotion import cast
from ....graph.ops.shape import permute, reshape, transpose, unsqueeze
from ....graph.ops.source import full
from ..model import GraphDef
from ..registry import Call, Value, converter
from .attention import heads_of, precision_of

RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}
"""For each rule, whether the memory decays, and whether a value is first compared with the memory for its key."""


@converter("LinearAttention", since=27)
def linear_attention(
    call: Call, q: Value, k: Value, v: Value, past: Value = None, decay: Value = None, beta: Value = None
) -> list[AbstractTensor]:
    """At each time, add a key and its value to a matrix that the query reads (Katharopoulos et al., 2020)."""
    rule = call.attribute("update_rule", "gated_delta")
    if rule not in RULES:
        raise GraphError(f"unknown update_rule {rule!r}")
    if RULES[rule] != (decay is not None, beta is not None):
        raise GraphError(f"update_rule {rule} goes with {' and '.join(_needed(rule)) or 'neither decay nor beta'}")
    query = heads_of(call, call.tensor(q), "q_num_heads")
    key, value = (heads_of(call, call.tensor(x), "kv_num_heads") for x in (k, v))
    batch, heads, times, features = key.type.shape
    group = exact_quotient(query.type.shape[1], heads)
    if group is None:
        raise GraphError(f"{heads} heads of keys do not divide the {query.type.shape[1]} of the queries")
    scale = call.attribute("scale", 0.0) or at.scale_for("LinearAttention", query)
    grouped = reshape(query * scale, (batch, heads, group, times, features))
    xs = [permute(grouped, 3, 0, 1, 2, 4), *(permute(x, 2, 0, 1, 3) for x in (key, value))]
    xs += [_of_times(call.tensor(x), heads) for x in (decay, beta) if x is not None]
    size = (batch, heads, features, value.type.shape[3])
    state = full(query, 0.0, size) if past is None else call.tensor(past)

    def iterate(memory: AbstractTensor, *slices: AbstractTensor) -> Sequence[AbstractTensor]:
        asked, now, kept, *rest = slices
        row = unsqueeze(now, 2)
        if decay is not None:
            memory = memory * exp(unsqueeze(rest.pop(0), 3))
        if beta is not None:
            kept = rest.pop(0) * (kept - reshape(matmul(row, memory), kept.type.shape))
        memory = memory + unsqueeze(now, 3) * unsqueeze(kept, 2)
        return [memory, matmul(asked, memory)]

    state, read = scan(iterate, [state], xs, times)
    y = permute(read, 1, 0, 2, 3, 4)
    return [reshape(y, (batch, times, heads * group * value.type.shape[3])), state]


def _needed(rule: str) -> list[str]:
    return [name for name, needed in zip(("decay", "beta"), RULES[rule], strict=True) if needed]


def _of_times(x: AbstractTensor, heads: object) -> AbstractTensor:
    """(B, T, H D) as (T, B, H, D); a single head serves all."""
    batch, times, features = x.type.shape
    own = 1 if features == 1 else heads
    return transpose(reshape(x, (batch, times, own, -1)), 0, 1)


@converter("FlexAttention", domain="ai.onnx.preview")
def flex_attention(call: Call, q: Value, k: Value, v: Value) -> AbstractTensor:
    """Attention whose scores and shares pass through graphs of the node; without these, plain attention."""
    query, key, value = call.tensors(q, k, v)
    scale, dtype = call.attribute("scale"), query.type.dtype
    made = precision_of(call, dtype)
    changes = [call.attribute(name) for name in ("score_mod", "prob_mod")]
    if changes == [None, None] and made == dtype:
        return attend("FlexAttention", query, key, value, scale=scale)
    scores = _changed(call, changes[0], cast(at.scores("FlexAttention", query, key, scale), made))
    shares = _changed(call, changes[1], softmax(scores, -1))
    return cast(at.per_head("FlexAttention", shares, cast(value, made)), dtype)


def _changed(call: Call, graph: GraphDef | None, x: AbstractTensor) -> AbstractTensor:
    if graph is None:
        return x
    (y,) = call.run(graph, [x])
    return cast(call.tensor(y), x.type.dtype)
