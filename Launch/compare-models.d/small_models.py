"""Small random models of every architecture, in the classes of Hugging Face's transformers.

Weights are a formula of their names, so that whoever knows it has the same ones:
Tests/ModelsTests/decoders.py writes what these models say, and no weights.
"""

import math

import torch
import transformers

VOCABULARY = 67
TOKENS = [(37 * place + 11 * place * place) % VOCABULARY for place in range(41)]
SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
         "rms_norm_eps": 1e-5}


def rotary(kind, **more):
    return {"rope_type": kind, "rope_theta": 500.0, **more}


def gpt_oss(**more):
    return transformers.GptOssConfig(**{**SHAPE, "num_hidden_layers": 3, **more}, head_dim=8, sliding_window=5,
                                     rope_parameters=rotary("yarn", factor=4.0, original_max_position_embeddings=16,
                                                            truncate=False))


def configurations():
    """(name, configuration) of each; between them they have all that architectures differ in."""
    t = transformers
    plain = rotary("default")
    return [
        ("llama", t.LlamaConfig(**SHAPE, head_dim=8, rope_parameters=plain, tie_word_embeddings=True)),
        ("llama-wide-heads", t.LlamaConfig(**{**SHAPE, "num_key_value_heads": 4}, head_dim=16, rope_parameters=plain,
                                           attention_bias=True)),
        ("llama-3", t.LlamaConfig(**SHAPE, head_dim=8, rope_parameters=rotary(
            "llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))),
        ("llama-yarn", t.LlamaConfig(**SHAPE, head_dim=16, rope_parameters=rotary(
            "yarn", factor=4.0, original_max_position_embeddings=16))),
        ("llama-linear", t.LlamaConfig(**SHAPE, head_dim=8, rope_parameters=rotary("linear", factor=2.5))),
        ("mistral", t.MistralConfig(**SHAPE, head_dim=8, rope_parameters=plain, sliding_window=6)),
        ("qwen2", t.Qwen2Config(**SHAPE, rope_parameters=plain)),
        ("qwen3", t.Qwen3Config(**SHAPE, head_dim=8, rope_parameters=plain)),
        ("qwen3-moe", t.Qwen3MoeConfig(**SHAPE, head_dim=8, rope_parameters=plain, num_experts=6, num_experts_per_tok=3,
                                       moe_intermediate_size=40, norm_topk_prob=True)),
        ("qwen3-moe-of-all", t.Qwen3MoeConfig(**SHAPE, head_dim=8, rope_parameters=plain, num_experts=5,
                                              num_experts_per_tok=2, moe_intermediate_size=24)),
        ("gpt-oss", gpt_oss(num_local_experts=7, num_experts_per_tok=3)),
        ("gpt-oss-four-bits", gpt_oss(num_local_experts=4, num_experts_per_tok=2, intermediate_size=64)),
        ("gemma3", t.Gemma3TextConfig(
            **{**SHAPE, "num_hidden_layers": 7}, head_dim=16, sliding_window=5, query_pre_attn_scalar=24,
            rope_parameters={"sliding_attention": rotary("default", rope_theta=100.0) | {"rope_theta": 100.0},
                             "full_attention": plain})),
        ("gpt2", t.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4,
                              activation_function="gelu_new", layer_norm_epsilon=1e-5)),
        ("mamba", t.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, state_size=5, num_hidden_layers=2,
                                time_step_rank=3)),
        ("mamba-with-biases", t.MambaConfig(vocab_size=VOCABULARY, hidden_size=24, state_size=8, num_hidden_layers=3,
                                            conv_kernel=3, expand=3, use_bias=True, tie_word_embeddings=False)),
        ("mamba-without-bias", t.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, state_size=16,
                                             num_hidden_layers=2, use_conv_bias=False)),
        ("mamba2", t.Mamba2Config(vocab_size=VOCABULARY, hidden_size=32, num_heads=8, head_dim=8, state_size=12,
                                  n_groups=2, num_hidden_layers=2, chunk_size=16)),
        ("mamba2-with-biases", t.Mamba2Config(
            vocab_size=VOCABULARY, hidden_size=24, num_heads=6, head_dim=12, expand=3, state_size=5, n_groups=1,
            num_hidden_layers=3, conv_kernel=3, use_bias=True, use_conv_bias=False, time_step_limit=(0.6, 0.9),
            tie_word_embeddings=True)),
        ("rwkv", t.RwkvConfig(vocab_size=VOCABULARY, context_length=64, hidden_size=32, num_hidden_layers=2)),
        ("rwkv-halving-rows", t.RwkvConfig(vocab_size=VOCABULARY, context_length=64, hidden_size=24,
                                           num_hidden_layers=5, attention_hidden_size=24, intermediate_size=56,
                                           rescale_every=2, tie_word_embeddings=True)),
    ]


def numbers(name, count):
    """Numbers from -1 to 1 that a name stands for: a linear congruential generator, seeded by FNV-1a."""
    mask = (1 << 64) - 1
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & mask
    result = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        result.append((state >> 40 & 0xFFFF) / 32768 - 1)
    return torch.tensor(result, dtype=torch.float32)


def scale_of(name, shape):
    """Powers of two, with which nothing is rounded."""
    if name.endswith("sinks"):
        return 2.0
    # So large that gates meet their clamps.
    more = 8.0 if name.endswith("gate_up_proj") else 1.0
    return 0.25 if len(shape) == 1 else more * 2.0 ** round(math.log2(2 / math.sqrt(shape[-1])))


def offset_of(name, shape, configuration):
    """Weights of norms are around one; Gemma's are what is added to one."""
    is_norm = len(shape) == 1 and name.endswith("weight")
    return 1.0 if is_norm and not configuration.model_type.startswith("gemma") else 0.0


class Tensor:
    """A tensor as models are published, its numbers a formula of its name; U8 are rounded down."""

    def __init__(self, name, shape, scale, offset=0.0, dtype="F32"):
        self.name, self.shape, self.scale, self.offset, self.dtype = name, tuple(shape), scale, offset, dtype

    def values(self):
        values = numbers(self.name, math.prod(self.shape)).reshape(self.shape) * self.scale + self.offset
        return values if self.dtype == "F32" else values.to(torch.uint8)


def tensors_of(case, model):
    """(tensors as published, parameter, how it is made of them) of each parameter of a model."""
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if case == "gpt-oss-four-bits" and name.endswith("_proj"):
            rows = (shape[0], shape[2], shape[1] // 32)
            yield [Tensor(name + "_blocks", (*rows, 16), 128, 128, "U8"),
                   Tensor(name + "_scales", rows, 2, 125, "U8")], parameter, widened
        elif model.config.model_type == "qwen3_moe" and ".experts." in name:
            prefix, kind = name.rsplit(".", 1)
            parts = ["gate_proj", "up_proj"] if kind == "gate_up_proj" else [kind]
            part = (shape[1] // len(parts), shape[2])
            yield [Tensor(f"{prefix}.{expert}.{one}.weight", part, scale_of(name, part))
                   for expert in range(shape[0]) for one in parts], parameter, lambda *all: torch.cat(all).reshape(shape)
        else:
            yield [Tensor(name, shape, scale_of(name, shape), offset_of(name, shape, model.config))], parameter, \
                lambda one: one


def widened(blocks, scales):
    """Numbers of four bits with a scale for 32 of them, by transformers."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    return convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)


def model_of(case, configuration):
    """The model in eager attention, with its weights."""
    configuration._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(configuration, dtype=torch.float32).eval()
    with torch.no_grad():
        for tensors, parameter, made in tensors_of(case, model):
            parameter.copy_(made(*(tensor.values() for tensor in tensors)).reshape(parameter.shape))
    return model


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()
