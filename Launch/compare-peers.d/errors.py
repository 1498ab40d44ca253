"""The errors of bf16 attention by Gyre and by PyTorch, on the same tensors.

    PYTHON Launch/compare-peers.d/errors.py [GYRE [OPTION …]]

PYTHON has PyTorch and NumPy: Launch/compare-peers makes one in .build/peers/torch/bin/python. OPTIONs go
to gyre attend, for example --instructions avx2.

Inputs are standard-normal numbers rounded to bf16, so that neither side loses anything of them; the
exact result is PyTorch's plain formula in float64. An error is the largest difference, over
1 + the largest exact number. PyTorch's results are bf16 numbers, as its interface has it: the column
`rounded` is the error that this alone would make.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch


def exact(q, k, v, grad, causal):
    """Outputs and gradients in float64, of [heads, tokens, headDim]."""
    q, k, v = (x.double().requires_grad_() for x in (q, k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    o = torch.softmax(scores, -1) @ v
    o.backward(grad.double())
    return [x.detach() for x in (o, q.grad, k.grad, v.grad)]


def pytorch(q, k, v, grad, causal):
    """The same by scaled_dot_product_attention in bf16."""
    q, k, v = (x.bfloat16()[None].requires_grad_() for x in (q, k, v))
    o = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    o.backward(grad.bfloat16()[None])
    return [x.detach()[0].double() for x in (o, q.grad, k.grad, v.grad)]


def gyre(command, q, k, v, grad, causal):
    """The same by gyre attend --arithmetic bf16."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        line = [command[0], "attend", "--arithmetic", "bf16", "--gradients", *command[1:]]
        for name, tensor in zip(("q", "k", "v", "do"), (q, k, v, grad)):
            path = folder / f"{name}.npy"
            np.save(path, tensor.transpose(0, 1)[None].contiguous().numpy())
            line += [f"--{name}", str(path)]
        output = folder / "out.safetensors"
        line += ["--output", str(output), "--causal" if causal else "--no-causal"]
        subprocess.run([x for x in line if x != "--no-causal"], check=True, stdout=subprocess.DEVNULL)
        return read(output)


def read(path):
    """o, dq, dk and dv of a .safetensors file, as [heads, tokens, headDim] in float64."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = []
    for name in ("o", "dq", "dk", "dv"):
        begin, end = header[name]["data_offsets"]
        numbers = np.frombuffer(data[8 + size + begin : 8 + size + end], np.float32)
        tensor = torch.from_numpy(numbers.reshape(header[name]["shape"]).copy())
        tensors.append(tensor[0].transpose(0, 1).double())
    return tensors


def error(actual, expected):
    """The largest difference, over 1 + the largest expected number."""
    return ((actual - expected).abs().max() / (1 + expected.abs().max())).item()


def main():
    """Prints a table."""
    command = sys.argv[1:] or [".build/release/gyre"]
    print("| head dim | mask | logits | tensor | Gyre | PyTorch | rounded |")
    print("|---|---|---|---|---|---|---|")
    for dim in (64, 128):
        for causal in (False, True):
            for logits in (1, 4):
                generator = torch.Generator().manual_seed(dim + logits)
                shape = (2, 1024, dim)
                q, k, v, grad = (
                    torch.randn(shape, generator=generator).bfloat16().float() for _ in range(4)
                )
                q *= logits
                inputs = (q, k, v, grad, causal)
                expected = exact(*inputs)
                sides = zip(
                    ("o", "dq", "dk", "dv"), expected, gyre(command, *inputs), pytorch(*inputs)
                )
                for name, wanted, own, peer in sides:
                    rounded = error(wanted.bfloat16().double(), wanted)
                    print(
                        f"| {dim} | {'causal' if causal else 'full'} | × {logits} | {name} "
                        f"| {error(own, wanted):.1e} | {error(peer, wanted):.1e} | {rounded:.1e} |"
                    )


main()
