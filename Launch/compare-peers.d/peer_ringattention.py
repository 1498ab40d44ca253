"""The Ring Attention authors' package, on JAX. Argument: how many devices.

All devices are in one process, as JAX has it on CPUs, and share one pool of threads.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

DEVICES = int(sys.argv[1])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after the settings that it reads
import numpy as np  # noqa: E402
from jax import numpy as jnp  # noqa: E402
from jax.experimental.shard_map import shard_map  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402
from ringattention import ringattention  # noqa: E402

import tensorfile  # noqa: E402
import worker  # noqa: E402

MESH = Mesh(np.array(jax.devices()), ("ring",))
BY_TOKENS = PartitionSpec(None, "ring", None, None)


def load(path: str, name: str) -> jax.Array:
    """A tensor [1, tokens, heads, headDim], its tokens dealt out to the devices."""
    shape, values = tensorfile.read(Path(path), name)
    whole = np.frombuffer(values, np.float32).reshape(shape)
    return jax.device_put(whole, NamedSharding(MESH, BY_TOKENS))


def compiled(block: int, unmasked: int) -> Callable:
    """The forward pass with blocks of so many queries and keys.

    A query sees all keys of its own run of `unmasked` tokens and of those before it: 1 is the
    causal mask, all tokens are none. (With no mask at all it does not compile for CPUs.)
    """
    settings = {
        "causal_block_size": unmasked,
        "query_chunk_size": block, "key_chunk_size": block,
        "deterministic": True, "dropout_rng": None, "attn_pdrop": 0.0,
        "dtype": jnp.float32, "policy": jax.checkpoint_policies.nothing_saveable,
        "precision": None, "prevent_cse": False,
    }

    def forward(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return ringattention(q, k, v, None, None, None, "ring", True, settings)

    return jax.jit(shard_map(
        forward, mesh=MESH, in_specs=(BY_TOKENS,) * 3, out_specs=BY_TOKENS, check_rep=False))


class RingAttentionPeer:
    def answer(self, request: dict) -> dict:
        if request["action"] == "measure":
            return {"seconds": worker.timed(self._run)}
        return {"setting": self._prepare(request)}

    def _prepare(self, request: dict) -> str:
        blocks = worker.blocks_of(worker.share_of(request["tokens"], DEVICES))
        tensors = [load(request["input"], name) for name in "qkv"]

        def candidate(block: int) -> Callable[[], tuple[jax.Array, ...]]:
            forward = compiled(block, 1 if request["causal"] else request["tokens"])
            if request["pass"] == "forward":
                return lambda: jax.block_until_ready((forward(*tensors),))
            _, pullback = jax.vjp(forward, *tensors)
            # Compiled as one, with what the forward pass has kept as an argument.
            backward = jax.jit(lambda pullback, gradient: pullback(gradient))
            gradient = load(request["input"], "do")
            return lambda: jax.block_until_ready(backward(pullback, gradient))

        candidates = {f"blocks of {block}": candidate(block) for block in blocks}
        chosen = worker.fastest(candidates)
        self._run = candidates[chosen]
        Path(request["output"]).write_bytes(
            b"".join(np.asarray(tensor).tobytes() for tensor in self._run()))
        return chosen


if __name__ == "__main__":
    worker.serve(
        {"version": version("ringattention"), "details": f"JAX {jax.__version__}"},
        RingAttentionPeer().answer)
