"""PyTorch's scaled_dot_product_attention in one process. Argument: how many threads."""

import os
import re
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

import tensorfile
import worker


TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def load(path: str, name: str, kind: torch.dtype) -> torch.Tensor:
    """A tensor [1, tokens, heads, headDim] as [1, heads, tokens, headDim] without gaps."""
    shape, values = tensorfile.read(Path(path), name)
    whole = torch.frombuffer(values, dtype=torch.float32).reshape(shape)
    return whole.transpose(1, 2).contiguous().to(kind)


def instructions() -> str:
    """What PyTorch's own kernels are compiled for, and what oneDNN, which has its products of bf16,
    has chosen."""
    script = "import torch; a = torch.ones(64, 64, dtype=torch.bfloat16); a @ a"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=os.environ | {"ONEDNN_VERBOSE": "1"})
    chosen = re.search(r"isa:([^\n]*)", told.stdout)
    products = f", oneDNN {chosen.group(1).strip()}" if chosen else ""
    return f"CPU capability {torch.backends.cpu.get_cpu_capability()}{products}"


class TorchPeer:
    def answer(self, request: dict) -> dict:
        if request["action"] == "measure":
            return {"seconds": worker.timed(self._run)}
        self._prepare(request)
        return {"setting": "contiguous [batch, heads, tokens, head dim]"}

    def _prepare(self, request: dict) -> None:
        kind = TYPES[request["arithmetic"]]
        q, k, v = inputs = [load(request["input"], name, kind) for name in "qkv"]
        causal = request["causal"]

        def forward() -> tuple[torch.Tensor, ...]:
            with torch.inference_mode():
                return (scaled_dot_product_attention(q, k, v, is_causal=causal),)

        if request["pass"] == "forward":
            self._run = forward
        else:
            gradient = load(request["input"], "do", kind)
            for tensor in inputs:
                tensor.requires_grad_()
            output = scaled_dot_product_attention(q, k, v, is_causal=causal)
            # The graph is kept, so that what is timed is the backward pass alone.
            self._run = lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True)
        outputs = [tensor.float().transpose(1, 2).contiguous().numpy() for tensor in self._run()]
        Path(request["output"]).write_bytes(b"".join(map(bytes, outputs)))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    worker.serve(
        {"version": torch.__version__, "details": instructions()},
        TorchPeer().answer)
