"""Gyre: exact attention over sequences too long for one machine, under mpirun.

    import gyre
    gyre.init()
    q, k, v = (gyre.shard(x) for x in (q, k, v))     # [batch, tokens, heads, head_dim]
    o = gyre.gather(gyre.attention(q, k, v, causal=True))
"""

from . import mix
from ._attention import attention, attention_vjp, dilated_attention
from ._job import (
    agree, finalize, init, is_initialized, rank, release, size, threads, version,
)
from ._library import Error
from ._shards import all_reduce, gather, positions, shard

__all__ = [
    "Error", "agree", "all_reduce", "attention", "attention_vjp", "dilated_attention", "finalize",
    "gather", "init", "is_initialized", "mix", "positions", "rank", "release", "shard", "size", "threads",
    "version",
]
