"""Attention and its gradients as they are defined, in double precision, without a line of Gyre."""

import numpy as np


def attention(q, k, v, bias, scale=None, softcap=0.0, gradient=None):
    """o and lse, and dq, dk and dv of the gradient of o.

    bias: broadcasts to [batch, heads, queries, keys]; -inf hides.
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
    ds = p * (do @ values.swapaxes(2, 3) - delta) * slopes * scale

    def of_groups(x):
        return x.reshape(x.shape[0], -1, group, *x.shape[2:]).sum(axis=2).swapaxes(1, 2)

    dq, dk, dv = ds @ keys, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ do
    return o.swapaxes(1, 2), lse, dq.swapaxes(1, 2), of_groups(dk), of_groups(dv)


def hidden(visible):
    """The bias of a table of what is visible."""
    return np.where(visible, 0.0, -np.inf)
