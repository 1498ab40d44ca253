"""Models over ranks beside the same models whole: losses and gradients of all parameters."""

import copy
import sys

import torch
import transformers

import gyre
import gyre.transformers

gyre.init(threads=1)
torch.set_num_threads(1)
SIZES = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "attn_implementation": "eager",
}
IDS = torch.randint(0, 50, (2, 61), generator=torch.Generator().manual_seed(5))


def check(name, config, **given):
    """Compares a model with itself; the one over ranks is given the same."""
    torch.manual_seed(1)
    plain = transformers.AutoModelForCausalLM.from_config(config)
    model = gyre.transformers.enable(copy.deepcopy(plain))
    # With a cache the whole model would not look for documents.
    given = {"labels": IDS, "use_cache": False} | given
    losses = [m(input_ids=IDS, **given).loss for m in (plain, model)]
    assert abs(losses[0] - losses[1]) < 1e-4, (name, losses)
    for loss in losses:
        loss.backward()
    for (parameter, x), y in zip(plain.named_parameters(), model.parameters()):
        worst = (x.grad - y.grad).abs().max().item()
        assert worst < 1e-4, f"{name}: {parameter}: {worst} on rank {gyre.rank()}"


check("llama", transformers.LlamaConfig(**SIZES))
check("mistral", transformers.MistralConfig(**SIZES, sliding_window=17))
check("qwen", transformers.Qwen3Config(**SIZES, head_dim=16))
check(
    "gemma",
    transformers.Gemma2Config(**SIZES, head_dim=16, sliding_window=20, query_pre_attn_scalar=16),
)
if hasattr(transformers, "GptOssConfig"):
    # Learned sinks, and a window in every other layer.
    sizes = SIZES | {"head_dim": 16, "sliding_window": 20, "num_local_experts": 2}
    check("gpt-oss", transformers.GptOssConfig(**sizes, num_experts_per_tok=1))
documents = torch.cat([torch.arange(20), torch.arange(30), torch.arange(11)]).expand(2, 61)
check("documents", transformers.LlamaConfig(**SIZES), position_ids=documents)
padded = torch.ones(2, 61, dtype=torch.long)
padded[1, 40:] = 0
hidden = IDS.masked_fill(padded == 0, -100)
check("padding", transformers.LlamaConfig(**SIZES), attention_mask=padded, labels=hidden)
if gyre.rank() == 0:
    print(f"transformers {gyre.size()}: passed")
sys.stdout.flush()
