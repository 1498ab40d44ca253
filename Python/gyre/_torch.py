"""Attention as an operator of torch: opaque to torch.compile, with gradients."""

import numpy as np
import torch
from torch import Tensor

from . import _attention
from ._library import check, library


# What both passes are told besides tensors of rows: those of _attention.Options, in its order.
OPTIONS = (
    "Tensor? segment_ids, Tensor? key_segment_ids, Tensor? alibi_slopes, bool causal, int? window, "
    "int sinks, float softcap, float? scale, str layout, str route, str arithmetic, "
    "bool reproducible, int[] segment_lengths, int[] dilation_rates"
)


@torch.library.custom_op(
    "gyre::attend",
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def attend(q, k, v, segment_ids, key_segment_ids, alibi_slopes, *options):
    """o of the type of q, lse, and what rounding took from it."""
    o, lse, rest = _attention.forward(
        _attention.Options(*options), q, k, v, segment_ids, key_segment_ids, alibi_slopes
    )
    return torch.from_numpy(o).to(q.dtype), torch.from_numpy(lse), torch.from_numpy(rest)


@attend.register_fake
def _(q, k, v, *_):
    batch, tokens, heads, _ = q.shape
    rows = q.new_empty((batch, heads, tokens), dtype=torch.float32)
    return q.new_empty((batch, tokens, heads, v.shape[3])), rows, torch.empty_like(rows)


@torch.library.custom_op(
    "gyre::attend_backward",
    mutates_args=(),
    schema=(
        "(Tensor gradient, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor rest, "
        f"{OPTIONS}) -> (Tensor, Tensor, Tensor)"
    ),
)
def attend_backward(
    gradient, q, k, v, o, lse, rest, segment_ids, key_segment_ids, alibi_slopes, *options
):
    """dq, dk and dv, of the types of q, k and v."""
    made = _attention.backward(
        _attention.Options(*options), gradient, q, k, v, o, lse, rest, segment_ids,
        key_segment_ids, alibi_slopes,
    )
    return tuple(torch.from_numpy(x).to(y.dtype) for x, y in zip(made, (q, k, v)))


@attend_backward.register_fake
def _(gradient, q, k, v, *_):
    return tuple(x.new_empty(x.shape) for x in (q, k, v))


def _remember(ctx, inputs, output):
    arrays, ctx.options = inputs[:6], inputs[6:]
    o, lse, rest = output
    ctx.save_for_backward(*arrays[:3], o, lse, rest, *arrays[3:])
    ctx.mark_non_differentiable(lse, rest)


def _backward(ctx, gradient, *_):
    gradients = attend_backward(gradient, *ctx.saved_tensors, *ctx.options)
    return (*gradients, *[None] * (3 + len(ctx.options)))


attend.register_autograd(_backward, setup_context=_remember)


def run(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, return_lse):
    """Attention of tensors; what an operator cannot even be given, all ranks hear of."""
    if not torch.compiler.is_compiling():
        complaint = options.complaint()
        if not all(isinstance(x, Tensor) for x in (q, k, v)):
            complaint = "some of q, k and v are tensors of torch; give all three."
        if complaint:
            check(library.gyre_agree(b"computes attention", complaint.encode()))
    arrays = [
        torch.from_numpy(x) if isinstance(x, np.ndarray) else x
        for x in (segment_ids, key_segment_ids, alibi_slopes)
    ]
    o, lse, _ = attend(
        q, k, v, *arrays, options.causal, options.window, options.sinks, options.softcap,
        options.scale, options.layout, options.route, options.arithmetic, options.reproducible,
        list(options.segment_lengths), list(options.dilation_rates),
    )
    return (o, lse.detach()) if return_lse else o
