"""The script that measures PyTorch: scaled_dot_product_attention, causal, both passes.

Arguments: threads, f32 or bf16, tokens, heads. It prints rows in JSON.
"""

SCRIPT = """
import json, statistics, sys, time
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

threads, kind, tokens, heads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[kind]

def median(run):
    run()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)

rows = []
for dim in (64, 128):
    q, k, v, do = (torch.randn(1, heads, tokens, dim).to(dtype) for _ in range(4))
    with torch.inference_mode():
        forward = median(lambda: attention(q, k, v, is_causal=True))
    for tensor in (q, k, v):
        tensor.requires_grad_()
    o = attention(q, k, v, is_causal=True)
    backward = median(lambda: torch.autograd.grad(o, (q, k, v), do, retain_graph=True))
    work = heads * tokens * (tokens + 1) / 2 * dim
    for name, seconds, flops in (("forward", forward, 4), ("backward", backward, 10)):
        rows.append({
            "pass": name, "arithmetic": kind, "threads": threads, "headDim": dim,
            "tokens": tokens, "heads": heads, "seconds": seconds,
            "flopsPerSecond": flops * work / seconds, "version": torch.__version__,
            "capability": torch.backends.cpu.get_cpu_capability()})
print(json.dumps(rows))
"""
