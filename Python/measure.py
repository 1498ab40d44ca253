"""Attention over ranks beside SDPA of one process on the same cores, in turn:

    mpirun -n 2 --bind-to none python3 Python/measure.py --tokens 16384 --heads 4 --head-dim 64

SDPA has as many threads as all ranks together, and they sleep meanwhile.
"""

import argparse
import statistics
import time

import torch

import gyre

parser = argparse.ArgumentParser()
parser.add_argument("--tokens", type=int, default=16384)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--head-dim", type=int, default=64)
parser.add_argument("--repeats", type=int, default=3)
options = parser.parse_args()

gyre.init()
cores = torch.tensor([float(gyre.threads())])
gyre.all_reduce(cores)
torch.manual_seed(0)
shape = (1, options.tokens, options.heads, options.head_dim)
whole = [torch.randn(shape) for _ in range(4)]
own = [gyre.shard(x) for x in whole]


def seconds(function, tensors):
    """Of a forward and a backward pass; over ranks, until all have ended."""
    q, k, v = (x.detach().requires_grad_() for x in tensors[:3])
    start = time.perf_counter()
    o = function(q, k, v)
    if function is gyre.attention:
        gyre.agree()
    middle = time.perf_counter()
    o.backward(tensors[3])
    if function is gyre.attention:
        gyre.agree()
    return middle - start, time.perf_counter() - middle


def sdpa(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


turned = [x.transpose(1, 2).contiguous() for x in whole] if gyre.rank() == 0 else None
found = {"gyre": [], "sdpa": []}
for repeat in range(options.repeats + 1):
    gyre.agree()
    torch.set_num_threads(gyre.threads())
    times = {"gyre": seconds(gyre.attention, own)}
    if gyre.rank() == 0:
        torch.set_num_threads(int(cores.item()))
        times["sdpa"] = seconds(sdpa, turned)
    if repeat > 0:
        for name, pair in times.items():
            found[name].append(pair)
    gyre.agree()
if gyre.rank() == 0:
    print(f"{gyre.size()} ranks of {gyre.threads()} threads, {options.tokens} tokens, causal; medians")
    medians = {
        name: [statistics.median(pair[i] for pair in pairs) for i in (0, 1)]
        for name, pairs in found.items()
    }
    for i, what in enumerate(("forward", "backward")):
        ours, theirs = medians["gyre"][i], medians["sdpa"][i]
        print(f"{what:8}  gyre {ours:.3f} s  SDPA {theirs:.3f} s  {theirs / ours:.2f} times")
