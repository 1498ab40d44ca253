"""Writes rope-tables.json beside it: frequencies as Hugging Face Transformers computes them.

    pip install torch transformers
    python3 Tests/AttentionTests/rope-tables.py
"""

import json
from pathlib import Path

from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def table(name, columns, base, tokens, numbers, parameters, length, short=None, long=None):
    parameters = {"rope_theta": base, **parameters}
    config = LlamaConfig(
        hidden_size=columns, num_attention_heads=1, head_dim=columns,
        max_position_embeddings=length, rope_theta=base,
    )
    config.rope_parameters = parameters
    config.rope_scaling = parameters
    if "original_max_position_embeddings" in parameters:
        config.original_max_position_embeddings = parameters["original_max_position_embeddings"]
    kind = parameters["rope_type"]
    if kind == "default":
        frequencies = [base ** (-2 * k / columns) for k in range(columns // 2)]
        magnitude = 1.0
    else:
        found, magnitude = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=tokens)
        frequencies = found.double().tolist()
    result = dict(
        name=name, columns=columns, base=base, tokens=tokens, numbers=numbers,
        magnitude=float(magnitude), frequencies=frequencies)
    if short:
        result |= {"short": short, "long": long}
    return result


short = [1 + k / 100 for k in range(48)]
long = [1 + k * k / 50 for k in range(48)]
longrope = dict(
    rope_type="longrope", factor=32.0, original_max_position_embeddings=4096,
    short_factor=short, long_factor=long)
yarn = dict(rope_type="yarn", factor=10.0, original_max_position_embeddings=2048)
llama3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=8192)
dynamic = dict(rope_type="dynamic", factor=10.0)
tables = [
    table("default", 128, 10000.0, 4096, [], dict(rope_type="default"), 4096),
    table("linear", 64, 10000.0, 4096, [4], dict(rope_type="linear", factor=4.0), 4096),
    table("dynamic-ntk", 128, 10000.0, 16384, [10, 2048], dynamic, 2048),
    table("dynamic-ntk", 128, 10000.0, 1000, [10, 2048], dynamic, 2048),
    table("yarn", 128, 10000.0, 20480, [10, 2048], yarn, 20480),
    table("llama3", 128, 500000.0, 65536, [8, 1, 4, 8192], llama3, 65536),
    table("longrope", 96, 10000.0, 100000, [32, 4096], longrope, 131072, short, long),
    table("longrope", 96, 10000.0, 4000, [32, 4096], longrope, 131072, short, long),
]
path = Path(__file__).parent / "rope-tables.json"
path.write_text(json.dumps(tables, indent=1) + "\n")
