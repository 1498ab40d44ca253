"""ring-attention-pytorch over gloo. Argument: how many processes, each with one thread.

The first process starts the others, and hands every request on to them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from ring_attention_pytorch import ring_flash_attn
from torch import distributed

import tensorfile
import worker


def load(path: str, name: str, rank: int, share: int) -> torch.Tensor:
    """This process's tokens of a tensor [1, tokens, heads, headDim]."""
    shape, values = tensorfile.read(Path(path), name)
    whole = torch.frombuffer(values, dtype=torch.float32).reshape(shape)
    return whole[:, rank * share:(rank + 1) * share].contiguous()


class RingPeer:
    def __init__(self, rank: int, processes: int) -> None:
        self._rank = rank
        self._processes = processes
        self._run: Callable[[], torch.Tensor]

    def lead(self, request: dict) -> dict:
        """Answers a request together with the other processes."""
        if request["action"] == "prepare":
            worker.share_of(request["tokens"], self._processes)
            if request["pass"] != "forward":
                raise worker.Unable("its dk and dv are wrong between processes.")
        distributed.broadcast_object_list([request])
        return self._answer(request)

    def follow(self) -> None:
        """Does what the first process does, until it says that there is no more."""
        while True:
            requests: list = [None]
            distributed.broadcast_object_list(requests)
            if requests[0] is None:
                return
            self._answer(requests[0])

    def _answer(self, request: dict) -> dict:
        if request["action"] == "measure":
            return {"seconds": self._timed(self._run)}
        share = request["tokens"] // self._processes
        q, k, v = (load(request["input"], name, self._rank, share) for name in "qkv")
        causal = request["causal"]

        def candidate(block: int) -> Callable[[], torch.Tensor]:
            return lambda: ring_flash_attn(
                q, k, v, causal=causal, bucket_size=block, ring_reduce_col=True)

        candidates = {f"blocks of {block}": candidate(block) for block in worker.blocks_of(share)}
        # The slowest process's times, so that all choose the same.
        chosen = worker.fastest(candidates, self._timed)
        self._run = candidates[chosen]
        output = self._run()
        parts = [torch.empty_like(output) for _ in range(self._processes)]
        distributed.all_gather(parts, output)
        if self._rank == 0:
            Path(request["output"]).write_bytes(torch.cat(parts, 1).numpy().tobytes())
        return {"setting": chosen}

    def _timed(self, run: Callable[[], torch.Tensor]) -> float:
        """The seconds of the slowest process, right after a run that is not counted."""
        run()
        distributed.barrier()
        start = time.perf_counter()
        run()
        seconds = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
        distributed.all_reduce(seconds, distributed.ReduceOp.MAX)
        return seconds.item()


def join(rank: int, processes: int, meeting: str) -> RingPeer:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    return RingPeer(rank, processes)


def main(processes: int, rank: int, meeting: str) -> None:
    with torch.no_grad():
        if rank:
            join(rank, processes, meeting).follow()
            return
        with tempfile.TemporaryDirectory() as folder:
            meeting = f"{folder}/meeting"
            others = [
                subprocess.Popen(
                    [sys.executable, __file__, str(processes), str(other), meeting],
                    stdin=subprocess.DEVNULL, stdout=sys.stderr)
                for other in range(1, processes)
            ]
            peer = join(rank, processes, meeting)
            introduction = {
                "version": version("ring-attention-pytorch"),
                "details": f"PyTorch {torch.__version__}, gloo",
            }
            worker.serve(introduction, peer.lead)
            distributed.broadcast_object_list([None])
            for other in others:
                other.wait()


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["0", ""]
    main(int(arguments[0]), int(arguments[1]), arguments[2])
