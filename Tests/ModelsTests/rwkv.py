"""Writes rwkv.json beside it: what the package rwkv says of a small model, and of texts.

    pip install torch numpy rwkv
    python3 Tests/ModelsTests/rwkv.py

The model is TinyModel's of rwkv6 in F32, whose numbers are a formula of the names of tensors. The
tokenizer has every byte and some longer tokens of the package's own vocabulary.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.pop(0)
LAYERS, WIDTH, HIDDEN, VOCABULARY = 3, 64, 96, 257
HEAD, FEW, DECAY, HALVING, ROWS = 16, 32, 32, 2, 4
TOKENS = [(place * 37 + place * place * 11) % VOCABULARY for place in range(41)]
os.environ |= {"RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": "0", "RWKV_RESCALE_LAYER": str(HALVING)}

import numpy
import torch
import rwkv
from rwkv.model import RWKV
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER


def numbers(name, count):
    """Numbers from -1 to 1 that a name stands for, two bytes each."""
    mask = (1 << 64) - 1
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & mask
    found = []
    for _ in range(2 * count):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        found.append(state >> 40 & 255)
    pairs = numpy.array(found, numpy.float32).reshape(-1, 2)
    return (pairs[:, 0] * numpy.float32(256) + pairs[:, 1]) / numpy.float32(32768) - numpy.float32(1)


def vector(name, *shape, around=0):
    values = numpy.float32(around) + numpy.float32(0.3) * numbers(name, int(numpy.prod(shape)))
    return torch.tensor(values.reshape(shape))


def matrix(name, *shape):
    size = numpy.float32(2) / numpy.sqrt(numpy.float32(shape[-1]))
    return torch.tensor((size * numbers(name, int(numpy.prod(shape)))).reshape(shape))


def norm(weights, name, own):
    weights[own + ".weight"] = vector(name + ".weight", WIDTH, around=1)
    weights[own + ".bias"] = vector(name + ".bias", WIDTH)


def model():
    """The tensors by the package's names, which has those that make rows smaller as they were trained."""
    weights = {"emb.weight": matrix("token_embd.weight", VOCABULARY, WIDTH),
               "head.weight": matrix("output.weight", VOCABULARY, WIDTH)}
    norm(weights, "output_norm", "ln_out")
    for layer in range(LAYERS):
        p, b = f"blk.{layer}.", f"blocks.{layer}."
        shrunk = 2.0 ** (layer // HALVING)
        if layer == 0:
            norm(weights, p + "token_embd_norm", b + "ln0")
        for name, own in (("attn_norm", "ln1"), ("attn_norm_2", "ln2"), ("time_mix_ln", "att.ln_x")):
            norm(weights, p + name, b + own)
        for name in ("receptance", "key", "value", "gate", "output"):
            weights[f"{b}att.{name}.weight"] = matrix(f"{p}time_mix_{name}.weight", WIDTH, WIDTH)
        weights[b + "att.output.weight"] *= shrunk
        weights[b + "att.time_maa_x"] = vector(p + "time_mix_lerp_x.weight", 1, 1, WIDTH, around=0.5)
        shares = vector(p + "time_mix_lerp_fused.weight", 5, 1, 1, WIDTH, around=0.5)
        for index, name in enumerate("wkvrg"):
            weights[f"{b}att.time_maa_{name}"] = shares[index].clone()
        weights[b + "att.time_maa_w1"] = matrix(p + "time_mix_w1.weight", 5 * FEW, WIDTH).T.contiguous()
        decisions = matrix(p + "time_mix_w2.weight", 5 * WIDTH, FEW).reshape(5, WIDTH, FEW)
        weights[b + "att.time_maa_w2"] = decisions.transpose(1, 2).contiguous()
        weights[b + "att.time_decay"] = vector(p + "time_mix_decay.weight", 1, 1, WIDTH, around=-1)
        weights[b + "att.time_decay_w1"] = matrix(p + "time_mix_decay_w1.weight", DECAY, WIDTH).T.contiguous()
        weights[b + "att.time_decay_w2"] = matrix(p + "time_mix_decay_w2.weight", WIDTH, DECAY).T.contiguous()
        weights[b + "att.time_faaaa"] = vector(p + "time_mix_first.weight", WIDTH // HEAD, HEAD)
        for name in "kr":
            weights[f"{b}ffn.time_maa_{name}"] = vector(
                f"{p}channel_mix_lerp_{name}.weight", 1, 1, WIDTH, around=0.5)
        weights[b + "ffn.key.weight"] = matrix(p + "channel_mix_key.weight", HIDDEN, WIDTH)
        weights[b + "ffn.value.weight"] = matrix(p + "channel_mix_value.weight", WIDTH, HIDDEN) * shrunk
        weights[b + "ffn.receptance.weight"] = matrix(p + "channel_mix_receptance.weight", WIDTH, WIDTH)
    return weights


TEXTS = ["The sea was calm, and the sailors slept.\n\n  \t\"Don't!\"", "0123 = 45.6e-7; // x\r\n",
         "naïve Fräulein Żółć 東京の海 🦀🦀 \u0000\\x41'", ""]


def tokenizer(folder):
    """Some lines of the package's vocabulary with new numbers, and what it makes of the texts."""
    lines = (Path(rwkv.__file__).parent / "rwkv_vocab_v20230424.txt").read_text("utf-8").splitlines()
    entries = [eval(line[line.index(" "):line.rindex(" ")]) for line in lines]
    entries = [entry.encode() if isinstance(entry, str) else entry for entry in entries]
    together = b"".join(text.encode() for text in TEXTS)
    kept = [entry for entry in entries if len(entry) == 1 or entry in together]
    path = Path(folder) / "vocabulary.txt"
    path.write_text("".join(f"{index + 1} {entry!r} {len(entry)}\n" for index, entry in enumerate(kept)), "utf-8")
    own = TRIE_TOKENIZER(str(path))
    return {"entries": [repr(entry)[2:-1] for entry in kept], "texts": TEXTS,
            "tokens": [own.encode(text) for text in TEXTS]}


with tempfile.TemporaryDirectory() as folder:
    torch.save(model(), folder + "/tiny.pth")
    logits, _ = RWKV(folder + "/tiny", "cpu fp32", verbose=False).forward(TOKENS, None, full_output=True)
    result = {"tokens": TOKENS, "largest": float(logits.abs().max()),
              "logits": logits[-ROWS:].float().numpy().astype("<f4").tobytes().hex(), "words": tokenizer(folder)}
Path(__file__).with_name("rwkv.json").write_text(json.dumps(result) + "\n")
