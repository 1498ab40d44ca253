"""Attention and its gradients as they are defined, in double precision, without a line of Gyre."""

import numpy as np


def attention(q, k, v, bias, scale=None, softcap=0.0, sinks=None, gradient=None):
    """o and lse, and of the gradient of o dq, dk and dv, those of sinks and of the bias.

    bias: broadcasts to [batch, heads, queries, keys]; -inf hides.
    sinks: a logit of each head that no value belongs to.
    """
    group = q.shape[2] // k.shape[2]
    # [batch, heads, tokens, head_dim], for products of matrices.
    q, k, v = (np.asarray(x, dtype=np.float64).swapaxes(1, 2) for x in (q, k, v))
    keys, values = (np.repeat(x, group, axis=1) for x in (k, v))
    scale = 1 / np.sqrt(q.shape[3]) if scale is None else scale
    scores = q @ keys.swapaxes(2, 3) * scale
    slopes = 1.0
    if softcap:
        slopes = 1 - np.tanh(scores / softcap) ** 2
        scores = softcap * np.tanh(scores / softcap)
    scores = scores + bias
    if sinks is not None:
        # A key more, whose value is 0.
        own = np.broadcast_to(sinks[:, None, None], (*scores.shape[:3], 1))
        scores = np.concatenate([scores, own], axis=-1)
        slopes = np.broadcast_to(slopes, (*scores.shape[:3], scores.shape[3] - 1))
        slopes = np.concatenate([slopes, np.ones(own.shape)], axis=-1)
        zeros = ((0, 0), (0, 0), (0, 1), (0, 0))
        keys, values = np.pad(keys, zeros), np.pad(values, zeros)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    sums = weights.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.where(np.isfinite(top), top, 0) + np.log(sums))[..., 0]
    p = weights / np.where(sums > 0, sums, 1)
    o = p @ values
    if gradient is None:
        return o.swapaxes(1, 2), lse
    do = np.asarray(gradient, dtype=np.float64).swapaxes(1, 2)
    delta = (do * o).sum(axis=-1, keepdims=True)
    changed = p * (do @ values.swapaxes(2, 3) - delta)
    ds = changed * slopes * scale

    def of_groups(x):
        return x.reshape(x.shape[0], -1, group, *x.shape[2:]).sum(axis=2).swapaxes(1, 2)

    count = k.shape[2]
    dq, dk, dv = ds @ keys, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ do
    dk, dv = (of_groups(x[:, :, :count]) for x in (dk, dv))
    of_sinks = None if sinks is None else changed[..., -1].sum(axis=(0, 2))
    return o.swapaxes(1, 2), lse, dq.swapaxes(1, 2), dk, dv, of_sinks, changed[..., :count]


def hidden(visible):
    """The bias of a table of what is visible."""
    return np.where(visible, 0.0, -np.inf)
