"""A small Llama trained on sequences that are sharded among ranks:

    mpirun -n 3 python3 Examples/PythonTraining/train.py --tokens 2000

The losses are the same on any number of ranks. Docs/Python.md goes through it.
"""

import argparse
import resource

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import gyre
import gyre.transformers

parser = argparse.ArgumentParser()
parser.add_argument("--tokens", type=int, default=500)
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--checkpointing", action="store_true")
options = parser.parse_args()

gyre.init()
torch.set_num_threads(gyre.threads())
torch.manual_seed(0)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=64, hidden_size=options.hidden, intermediate_size=2 * options.hidden,
        num_hidden_layers=options.layers, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=options.tokens,
    )
)
gyre.transformers.enable(model)
if options.checkpointing:
    model.gradient_checkpointing_enable()
    model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

for step in range(options.steps):
    # Each token follows from the one before: whole sequences, the same on all ranks.
    start = torch.randint(0, 64, (1, 1))
    ids = (start + 3 * torch.arange(options.tokens) + torch.arange(options.tokens) // 7) % 64
    loss = model(input_ids=ids, labels=ids).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if gyre.rank() == 0:
        print(f"step {step + 1}: loss {loss.item():.6f}", flush=True)

peak = torch.tensor([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024], dtype=torch.float64)
gyre.all_reduce(peak)
if gyre.rank() == 0:
    print(f"{gyre.size()} ranks, peak memory of a rank {peak.item() / gyre.size():.0f} MiB")
