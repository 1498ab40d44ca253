"""Attention as an operator of torch: opaque to torch.compile, with gradients."""

import numpy as np
import torch
from torch import Tensor

from . import _attention
from ._attention import Extras, Options
from ._library import check, library


# What both passes are told besides tensors of rows: those of Extras and Options, in their order.
OPTIONS = (
    "Tensor? segment_ids, Tensor? key_segment_ids, Tensor? alibi_slopes, Tensor? learned_sinks, "
    "Tensor? bias, bool causal, int? window, int sinks, float softcap, float? scale, str layout, "
    "str route, str arithmetic, bool reproducible, int[] segment_lengths, int[] dilation_rates, "
    "int window_dilation"
)
EXTRAS = len(Extras._fields)


@torch.library.custom_op(
    "gyre::attend",
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def attend(q, k, v, *others):
    """o of the type of q, lse, and what rounding took from it."""
    extras, options = Extras(*others[:EXTRAS]), Options(*others[EXTRAS:])
    o, lse, rest = _attention.forward(options, q, k, v, extras)
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
        f"{OPTIONS}) -> Tensor[]"
    ),
)
def attend_backward(gradient, q, k, v, o, lse, rest, *others):
    """The gradients of what has any, of its type."""
    extras, options = Extras(*others[:EXTRAS]), Options(*others[EXTRAS:])
    made = _attention.backward(options, gradient, q, k, v, o, lse, rest, extras)
    return [torch.from_numpy(x).to(y.dtype) for x, y in zip(made, _inputs(q, k, v, extras))]


@attend_backward.register_fake
def _(gradient, q, k, v, o, lse, rest, *others):
    return [x.new_empty(x.shape) for x in _inputs(q, k, v, Extras(*others[:EXTRAS]))]


def _inputs(q, k, v, extras):
    """What has gradients."""
    return [x for x in (q, k, v, extras.learned_sinks, extras.bias) if x is not None]


def _remember(ctx, inputs, output):
    arrays, ctx.options = inputs[: 3 + EXTRAS], inputs[3 + EXTRAS :]
    o, lse, rest = output
    ctx.save_for_backward(*arrays[:3], o, lse, rest, *arrays[3:])
    ctx.mark_non_differentiable(lse, rest)


def _backward(ctx, gradient, *_):
    saved = ctx.saved_tensors
    extras = Extras(*saved[6:])
    found = iter(attend_backward(gradient, *saved, *ctx.options))
    own = [next(found) for _ in range(3)]
    sinks = next(found) if extras.learned_sinks is not None else None
    bias = next(found) if extras.bias is not None else None
    return (*own, None, None, None, sinks, bias, *[None] * len(ctx.options))


attend.register_autograd(_backward, setup_context=_remember)


def run(options, q, k, v, extras, return_lse):
    """Attention of tensors; what an operator cannot even be given, all ranks hear of."""
    if not torch.compiler.is_compiling():
        complaint = options.complaint()
        if not all(isinstance(x, Tensor) for x in (q, k, v)):
            complaint = "some of q, k and v are tensors of torch; give all three."
        if complaint:
            check(library.gyre_agree(b"computes attention", complaint.encode()))
    arrays = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in extras]
    o, lse, _ = attend(
        q, k, v, *arrays, options.causal, options.window, options.sinks, options.softcap,
        options.scale, options.layout, options.route, options.arithmetic, options.reproducible,
        list(options.segment_lengths), list(options.dilation_rates), options.window_dilation,
    )
    return (o, lse.detach()) if return_lse else o
