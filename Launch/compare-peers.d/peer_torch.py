"""PyTorch's scaled_dot_product_attention in one process. Argument: how many threads."""

import sys
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

import tensorfile
import worker


def load(path: str, name: str) -> torch.Tensor:
    """A tensor [1, tokens, heads, headDim] as [1, heads, tokens, headDim] without gaps."""
    shape, values = tensorfile.read(Path(path), name)
    return torch.frombuffer(values, dtype=torch.float32).reshape(shape).transpose(1, 2).contiguous()


class TorchPeer:
    def answer(self, request: dict) -> dict:
        if request["action"] == "measure":
            return {"seconds": worker.timed(self._run)}
        self._prepare(request)
        return {"setting": "contiguous [batch, heads, tokens, head dim]"}

    def _prepare(self, request: dict) -> None:
        q, k, v = inputs = [load(request["input"], name) for name in "qkv"]
        causal = request["causal"]

        def forward() -> tuple[torch.Tensor, ...]:
            with torch.inference_mode():
                return (scaled_dot_product_attention(q, k, v, is_causal=causal),)

        if request["pass"] == "forward":
            self._run = forward
        else:
            gradient = load(request["input"], "do")
            for tensor in inputs:
                tensor.requires_grad_()
            output = scaled_dot_product_attention(q, k, v, is_causal=causal)
            # The graph is kept, so that what is timed is the backward pass alone.
            self._run = lambda: torch.autograd.grad(output, inputs, gradient, retain_graph=True)
        outputs = [tensor.transpose(1, 2).contiguous().numpy() for tensor in self._run()]
        Path(request["output"]).write_bytes(b"".join(map(bytes, outputs)))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    worker.serve(
        {
            "version": torch.__version__,
            "details": f"CPU capability {torch.backends.cpu.get_cpu_capability()}",
        },
        TorchPeer().answer)
