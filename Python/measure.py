"""Attention over ranks beside SDPA of one process on the same cores, in turn:

    mpirun -n 2 --bind-to none python3 Python/measure.py --tokens 16384 --heads 4 --head-dim 64

SDPA has as many threads as all ranks together, and they sleep meanwhile. With --ring the package
ring-attention-pytorch computes the same between the same ranks, over gloo, and the last line says how
far its outputs and gradients are from Gyre's.
"""

import argparse
import os
import statistics
import time

import torch

import gyre

parser = argparse.ArgumentParser()
parser.add_argument("--tokens", type=int, default=16384)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--head-dim", type=int, default=64)
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--ring", action="store_true", help="also ring-attention-pytorch")
parser.add_argument("--block", type=int, default=1024, help="its bucket_size")
options = parser.parse_args()

gyre.init()
cores = torch.tensor([float(gyre.threads())])
gyre.all_reduce(cores)
torch.manual_seed(0)
shape = (1, options.tokens, options.heads, options.head_dim)
whole = [torch.randn(shape) for _ in range(4)]


def sdpa(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


# What computes, of which tensors, and whether all ranks do.
contestants = {"Gyre": (gyre.attention, [gyre.shard(x) for x in whole], True)}
if gyre.rank() == 0:
    turned = [x.transpose(1, 2).contiguous() for x in whole]
    contestants["SDPA"] = (sdpa, turned, False)
if options.ring:
    from ring_attention_pytorch import ring_flash_attn
    from torch import distributed

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # All ranks are children of the same mpirun.
    distributed.init_process_group(
        "gloo", init_method=f"file:///tmp/gyre-measure-{os.getppid()}", rank=gyre.rank(),
        world_size=gyre.size())

    def ring(q, k, v):
        return ring_flash_attn(
            q, k, v, causal=True, bucket_size=options.block, ring_reduce_col=True)

    contestants["ring"] = (ring, [gyre.shard(x, layout="contiguous") for x in whole], True)


def passes(function, tensors, is_shared):
    """Seconds of a forward and a backward pass, over ranks until all have ended; what they give."""
    q, k, v = (x.detach().requires_grad_() for x in tensors[:3])
    torch.set_num_threads(gyre.threads() if is_shared else int(cores.item()))
    start = time.perf_counter()
    o = function(q, k, v)
    if is_shared:
        gyre.agree()
    middle = time.perf_counter()
    o.backward(tensors[3])
    if is_shared:
        gyre.agree()
    return (middle - start, time.perf_counter() - middle), (o.detach(), q.grad, k.grad, v.grad)


times, results = {name: [] for name in contestants}, {}
for repeat in range(options.repeats + 1):
    for name, contestant in contestants.items():
        if name != "SDPA":
            gyre.agree()
        seconds, results[name] = passes(*contestant)
        if repeat > 0:
            times[name].append(seconds)
if options.ring:
    found = [gyre.gather(x) for x in results["Gyre"]]
    theirs = [gyre.gather(x, layout="contiguous") for x in results["ring"]]
    distances = [float((x - y).abs().max()) for x, y in zip(found, theirs)]
    distributed.destroy_process_group()
if gyre.rank() == 0:
    print(f"{gyre.size()} ranks of {gyre.threads()} threads, {options.tokens} tokens, causal; medians")
    for i, what in enumerate(("forward", "backward", "both")):
        medians = {
            name: statistics.median(pair[i] if i < 2 else sum(pair) for pair in pairs)
            for name, pairs in times.items()
        }
        ours = medians.pop("Gyre")
        print(f"{what:8}  Gyre {ours:.3f} s" + "".join(
            f"  {name} {theirs:.3f} s, {theirs / ours:.2f} times" for name, theirs in medians.items()
        ))
    if options.ring:
        print("ring's largest differences from Gyre: " + ", ".join(
            f"{name} {x:.1e}" for name, x in zip(("o", "dq", "dk", "dv"), distances)))
