"""Attention as an operator of torch: opaque to torch.compile, with gradients."""

from typing import Optional

import numpy as np
import torch
from torch import Tensor

from . import _attention
from ._library import check, library


@torch.library.custom_op("gyre::attend", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    segment_ids: Optional[Tensor],
    key_segment_ids: Optional[Tensor],
    alibi_slopes: Optional[Tensor],
    options: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """o of the type of q, lse, and what rounding took from it."""
    o, lse, rest = _attention.forward(
        _attention.Options.read(options), q, k, v, segment_ids, key_segment_ids, alibi_slopes
    )
    return (
        torch.from_numpy(o).to(q.dtype),
        torch.from_numpy(lse),
        torch.from_numpy(rest),
    )


@attend.register_fake
def _(q, k, v, segment_ids, key_segment_ids, alibi_slopes, options):
    batch, tokens, heads, _ = q.shape
    rows = q.new_empty((batch, heads, tokens), dtype=torch.float32)
    return q.new_empty((batch, tokens, heads, v.shape[3])), rows, torch.empty_like(rows)


@torch.library.custom_op("gyre::attend_backward", mutates_args=())
def attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    rest: Tensor,
    segment_ids: Optional[Tensor],
    key_segment_ids: Optional[Tensor],
    alibi_slopes: Optional[Tensor],
    options: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv, of the types of q, k and v."""
    made = _attention.backward(
        _attention.Options.read(options), gradient, q, k, v, o, lse, rest, segment_ids,
        key_segment_ids, alibi_slopes,
    )
    dq, dk, dv = (torch.from_numpy(x).to(y.dtype) for x, y in zip(made, (q, k, v)))
    return dq, dk, dv


@attend_backward.register_fake
def _(gradient, q, k, v, o, lse, rest, segment_ids, key_segment_ids, alibi_slopes, options):
    return tuple(x.new_empty(x.shape) for x in (q, k, v))


def _remember(ctx, inputs, output):
    *arrays, ctx.options = inputs
    o, lse, rest = output
    ctx.save_for_backward(*arrays[:3], o, lse, rest, *arrays[3:])
    ctx.mark_non_differentiable(lse, rest)


def _backward(ctx, gradient, *_):
    gradients = attend_backward(gradient, *ctx.saved_tensors, ctx.options)
    return (*gradients, None, None, None, None)


attend.register_autograd(_backward, setup_context=_remember)


def run(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, return_lse):
    """Attention of tensors; where some are none, all ranks hear of it."""
    if not all(isinstance(x, Tensor) for x in (q, k, v)):
        check(library.gyre_agree(
            b"computes attention", b"some of q, k and v are tensors of torch; give all three."
        ))
    arrays = [
        torch.from_numpy(x) if isinstance(x, np.ndarray) else x
        for x in (segment_ids, key_segment_ids, alibi_slopes)
    ]
    o, lse, _ = attend(q, k, v, *arrays, options.text())
    return (o, lse.detach()) if return_lse else o
