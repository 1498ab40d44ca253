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
        if request["pass"] != "forward":
            raise worker.Unable(f"there is no measurement of its {request['pass']} pass.")
        q, k, v = (load(request["input"], name) for name in "qkv")
        causal = request["causal"]
        self._run = lambda: scaled_dot_product_attention(q, k, v, is_causal=causal)
        output = self._run().transpose(1, 2).contiguous()
        Path(request["output"]).write_bytes(output.numpy().tobytes())


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    with torch.inference_mode():
        worker.serve(
            {
                "version": torch.__version__,
                "details": f"CPU capability {torch.backends.cpu.get_cpu_capability()}",
            },
            TorchPeer().answer)
