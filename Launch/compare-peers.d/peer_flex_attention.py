"""PyTorch's FlexAttention, compiled, in one process. Argument: how many threads."""

import sys
from pathlib import Path

import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import tensorfile
import worker
from peer_torch import instructions, load
from problem import SOFT_CAP, WINDOW, alibi_slopes


class FlexPeer:
    def answer(self, request: dict) -> dict:
        if request["action"] == "measure":
            return {"seconds": worker.timed(self._run)}
        self._prepare(request)
        return {"setting": "torch.compile, block mask"}

    def _prepare(self, request: dict) -> None:
        torch.compiler.reset()
        q, k, v = (load(request["input"], name, torch.float32) for name in "qkv")
        tokens, causal, variant = q.shape[2], request["causal"], request["variant"]
        mask = None
        if causal or variant in ("window", "documents"):
            mask = create_block_mask(
                visible(causal, variant, request["input"], tokens), None, None, tokens, tokens,
                device="cpu")
        change = changed(variant, q.shape[1])
        compiled = torch.compile(flex_attention, dynamic=False)

        def run() -> torch.Tensor:
            with torch.no_grad():
                return compiled(q, k, v, score_mod=change, block_mask=mask)

        self._run = run
        output = run().transpose(1, 2).contiguous().numpy()
        Path(request["output"]).write_bytes(bytes(output))


def visible(causal: bool, variant: str, source: str, tokens: int):
    """Whether a query sees a key, of indices as tensors."""
    starts = tensorfile.read(Path(source), "cu_seqlens")[1]
    lengths = torch.tensor([end - start for start, end in zip(starts, starts[1:])])
    document = torch.repeat_interleave(torch.arange(len(lengths)), lengths)

    def sees(b, h, query, key):
        seen = query >= key if causal else query >= 0
        if variant == "window":
            near = query - key < WINDOW
            seen = seen & near if causal else near & (key - query < WINDOW)
        if variant == "documents":
            seen = seen & (document[query] == document[key])
        return seen

    return sees


def changed(variant: str, heads: int):
    """What becomes of a scaled score; nothing for most."""
    slopes = torch.tensor(alibi_slopes(heads))
    if variant == "alibi":
        return lambda score, b, h, query, key: score - slopes[h] * torch.abs(query - key)
    if variant == "softcap":
        return lambda score, b, h, query, key: SOFT_CAP * torch.tanh(score / SOFT_CAP)
    return None


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    worker.serve(
        {"version": torch.__version__, "details": instructions()}, FlexPeer().answer)
