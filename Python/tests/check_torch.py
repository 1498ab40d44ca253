"""The door with PyTorch; started under mpirun with any number of ranks."""

import sys

import check_mix
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import gyre
from gyre import _arrays

torch.set_num_threads(1)
torch.manual_seed(3)


def close(name, found, expected, tolerance):
    """Compares a gathered tensor."""
    worst = (found.float() - expected.float()).abs().max().item()
    assert worst <= tolerance, f"{name}: {worst} on rank {gyre.rank()}"


def sdpa(q, k, v, causal):
    """The peer, on whole tensors of [batch, tokens, heads, head_dim]."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    return o.transpose(1, 2)


def tensors(tokens, kind=torch.float32):
    shapes = [(2, tokens, h, 32) for h in (4, 2, 2, 4)]
    return [torch.randn(shape).to(kind) for shape in shapes]


def passes(function, q, k, v, do):
    """o and gradients."""
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    o = function(q, k, v)
    o.backward(do)
    return o.detach(), q.grad, k.grad, v.grad


def check_sdpa():
    """Equal to SDPA on gathered tensors: forward 1e-5, gradients 1e-4."""
    for causal in (True, False):
        for layout in ("zigzag", "contiguous"):
            whole = tensors(403)
            expected = passes(lambda q, k, v: sdpa(q, k, v, causal), *whole)
            own = [gyre.shard(x, layout=layout) for x in whole]
            before = _arrays.copies
            found = passes(
                lambda q, k, v: gyre.attention(q, k, v, causal=causal, layout=layout), *own
            )
            assert _arrays.copies == before, "contiguous inputs were copied"
            for name, x, y in zip(("o", "dq", "dk", "dv"), found, expected):
                close(name, gyre.gather(x, layout=layout), y, 1e-5 if name == "o" else 1e-4)


def check_types():
    """BF16 and F16 within their rounding, and heads before tokens in memory."""
    for kind, tolerance in ((torch.bfloat16, 2e-2), (torch.float16, 4e-3)):
        whole = tensors(130, kind)
        expected = passes(
            lambda q, k, v: sdpa(q, k, v, True), *(x.float() for x in whole)
        )
        found = passes(gyre.attention, *(gyre.shard(x) for x in whole))
        assert all(x.dtype == kind for x in found)
        for name, x, y in zip(("o", "dq", "dk", "dv"), found, expected):
            close(f"{kind} {name}", gyre.gather(x), y, tolerance * max(1, y.abs().max().item()))
    whole = tensors(130)
    own = [gyre.shard(x).transpose(1, 2).contiguous().transpose(1, 2) for x in whole]
    found = passes(gyre.attention, *own)
    for x, y in zip(found, passes(lambda q, k, v: sdpa(q, k, v, True), *whole)):
        close("not contiguous", gyre.gather(x), y, 1e-4)


def check_differences():
    """The gradient is the slope of the loss along a direction, for all options that change it."""
    tokens = 37
    ids = gyre.shard((torch.arange(tokens) // 11).expand(2, tokens))
    slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625])
    cases = [
        {"softcap": 3.0}, {"window": 8, "sinks": 2}, {"segment_ids": ids},
        {"alibi_slopes": slopes}, {"learned_sinks": slopes.flip(0), "window": 8}, {"causal": False, "scale": 0.4}, {"reproducible": True},
    ]
    for options in cases:
        cut = {"reproducible": True} if options.get("reproducible") else {}
        q, k, v, do = (gyre.shard(x, **cut) for x in tensors(tokens))
        ways = [gyre.shard(x, **cut) for x in tensors(tokens)[:3]]

        def loss(step):
            moved = [x + step * way for x, way in zip((q, k, v), ways)]
            return (gyre.attention(*moved, **options).double() * do).sum()

        gradients = passes(lambda *x: gyre.attention(*x, **options), q, k, v, do)[1:]
        sums = torch.stack([
            sum((g.double() * way).sum() for g, way in zip(gradients, ways)),
            (loss(5e-3) - loss(-5e-3)) / 1e-2,
        ])
        gyre.all_reduce(sums)
        assert abs(sums[0] - sums[1]) <= 2e-3 * max(1, abs(sums[1])), (options, sums)


def check_bias():
    """A bias that is learned, as of relative positions, and sinks: gradients as those of SDPA."""
    tokens = 70
    q, k, v, do = tensors(tokens)
    table, sinks = torch.randn(1, 4, 2 * tokens), torch.randn(4)
    i, j = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]

    def whole(table, sinks):
        q_, k_, v_ = (x.transpose(1, 2) for x in (q, k, v))
        bias = table[:, :, i - j + tokens].masked_fill(j > i, -torch.inf).expand(2, -1, -1, -1)
        # A key more, whose value is 0.
        own = sinks[None, :, None, None].expand(2, -1, tokens, -1)
        k_, v_ = (F.pad(x, (0, 0, 0, 1)) for x in (k_, v_))
        return F.scaled_dot_product_attention(
            q_, k_, v_, attn_mask=torch.cat([bias, own], 3), enable_gqa=True).transpose(1, 2)

    held, rows = torch.from_numpy(gyre.positions(tokens)), [gyre.shard(x) for x in (q, k, v)]

    def cut(table, sinks):
        bias = table[:, :, i[held] - j + tokens]
        return gyre.attention(*rows, bias=bias, learned_sinks=sinks)

    for form in (cut, torch.compile(cut, fullgraph=True, backend="aot_eager"))[: 2 if gyre.size() <= 2 else 1]:
        own = [x.clone().requires_grad_() for x in (table, sinks)]
        form(*own).backward(gyre.shard(do))
        expected = [x.clone().requires_grad_() for x in (table, sinks)]
        whole(*expected).backward(do)
        for x, y in zip(own, expected):
            close("bias and sinks", gyre.all_reduce(x.grad), y.grad, 1e-4)


def check_dilated():
    """Dilated attention with rate 1 is attention of each segment."""
    whole = tensors(96)

    def segments(q, k, v):
        return torch.cat([sdpa(*(x[:, i : i + 32] for x in (q, k, v)), True) for i in (0, 32, 64)], 1)

    found = passes(
        lambda q, k, v: gyre.dilated_attention(q, k, v, [32], [1]), *(gyre.shard(x) for x in whole)
    )
    for x, y in zip(found, passes(segments, *whole)):
        close("dilated", gyre.gather(x), y, 1e-4)


def check_checkpointing():
    """Checkpointed activations: the forward pass twice, the same gradients."""
    own = [gyre.shard(x) for x in tensors(90)]
    found = passes(
        lambda q, k, v: checkpoint(gyre.attention, q, k, v, use_reentrant=False), *own
    )
    for x, y in zip(found, passes(gyre.attention, *own)):
        assert torch.equal(x, y)


def check_compile():
    """torch.compile takes it as one operator, without a break of its graph."""
    own = [gyre.shard(x) for x in tensors(90)]
    compiled = torch.compile(lambda q, k, v: gyre.attention(2 * q, k, v) + q, fullgraph=True,
                             backend="aot_eager")
    found = passes(compiled, *own)
    for x, y in zip(found, passes(lambda q, k, v: gyre.attention(2 * q, k, v) + q, *own)):
        close("compiled", x, y, 1e-5)


gyre.init(threads=1)
check_sdpa()
check_types()
check_differences()
check_bias()
check_dilated()
check_checkpointing()
if gyre.size() <= 2:
    check_compile()
check_mix.check_torch(torch, 37, np.random.default_rng(11))
check_mix.check_operator(torch, np.random.default_rng(13))
o, lse = gyre.attention(*(gyre.shard(x) for x in tensors(20)[:3]), return_lse=True)
assert not lse.requires_grad and lse.shape[:2] == (2, 4)
if gyre.rank() == 0:
    print(f"torch {gyre.size()}: passed")
sys.stdout.flush()
