"""Compares the token numbers of gyre tokenize with those of reference tokenizers.

Of a GGUF file it builds what the model was trained with: the tokenizer of Hugging Face's package
tokenizers for byte pairs, and Google's sentencepiece for the rest. llama.cpp's own are asked too
where xllamacpp is installed; where llama.cpp differs it is said, since it leaves steps out.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from pathlib import Path

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

CODE = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BOTH, ENDING = r"\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{BOTH}*[\p{{Ll}}{BOTH}+{ENDING}"
         rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}{BOTH}+[\p{{Ll}}{BOTH}*{ENDING}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# Names of GPT-NeoX's pre-tokenizer in GGUF files.
NEOX = ("mpt", "olmo")


def mixed_text(size, seed):
    """Code, prose in several scripts, emoji, odd white space and characters at random."""
    generator = random.Random(seed)
    library = Path(sysconfig.get_paths()["stdlib"])
    pieces = []
    for path in sorted(library.glob("test/cjkencodings/*-utf8.txt")):
        pieces.append(path.read_text("utf-8", "replace"))
    for path in sorted(library.glob("*.py")):
        pieces.append(path.read_text("utf-8", "replace"))
    emoji = "😀👩‍👩‍👧‍👦🏳️‍🌈🇩🇪👍🏽❤️"
    spaces = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2028", " \n ", "\v", " " * 40]
    words = ["don't", "I'LL", "we'Ve", "'s", "x'S", "ſ", "'ſ", "1234567", "٣٤٥", "Ⅻ", "½", "e\u0301", "ﬁ",
             "Grüße", "Привет", "مرحبا", "नमस्ते", "สวัสดี", "日本語の文", "北京欢迎你", "한국어", "a\u0308\u0323", "▁", "▁▁",
             "\u0000", "\u200b", "\ufeff", "<|im_start|>", "<|endoftext|>", "<bos>", "<0x41>", "(){};//", "===", "...", "!?"]
    text, length = [], 0
    while length < size:
        kind = generator.randrange(6)
        if kind < 2:
            piece = generator.choice(pieces)
            start = generator.randrange(max(1, len(piece) - 400))
            part = piece[start:start + generator.randrange(20, 400)]
        elif kind == 2:
            part = "".join(generator.choice(emoji) for _ in range(generator.randrange(1, 9)))
        elif kind == 3:
            # No surrogates, and no characters that Unicode versions may differ on.
            part = "".join(chr(generator.choice([generator.randrange(0x20, 0x250), generator.randrange(0x370, 0x500),
                                                generator.randrange(0x4E00, 0x9000), generator.randrange(0xAC00, 0xD000)]))
                           for _ in range(generator.randrange(1, 30)))
        else:
            part = "".join(generator.choice(words) + generator.choice(spaces) for _ in range(generator.randrange(1, 12)))
        text.append(part)
        length += len(part.encode())
    return "".join(text)


def field(reader, name, default=None):
    found = reader.fields.get(f"tokenizer.{name}")
    return default if found is None else found.contents()


def byte_pairs(reader):
    tokens, kinds = field(reader, "ggml.tokens"), field(reader, "ggml.token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field(reader, "ggml.merges")]
    name = field(reader, "ggml.pre")
    tokenizer = Tokenizer(models.BPE(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges,
        ignore_merges=name == "llama-bpe"))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in (*NEOX, "gpt-2", "smollm"))
    if name in (*NEOX, "qwen2"):
        tokenizer.normalizer = normalizers.NFC()
    first = {
        "gpt-2": [], "mpt": [], "olmo": [], "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "qwen2": [pre_tokenizers.Split(Regex(CODE % r"\p{N}"), "isolated")],
        "llama-bpe": [pre_tokenizers.Split(Regex(CODE % r"\p{N}{1,3}"), "isolated")],
        "gpt-4o": [pre_tokenizers.Split(Regex(CASED), "isolated")],
    }[name]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(first + [level])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds) if kind in (2, 3)]
    own = [token for token, kind in zip(tokens, kinds) if kind == 4]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in own])

    def encode(text, special):
        if special:
            tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
        return tokenizer.encode(text, add_special_tokens=False).ids

    return encode


def sentence_piece(reader):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()
    model.trainer_spec.model_type = 2 if field(reader, "ggml.model") == "llama" else 1
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = bool(field(reader, "ggml.add_space_prefix", True))
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    model.trainer_spec.unk_id = int(field(reader, "ggml.unknown_token_id", 0))
    model.trainer_spec.bos_id = int(field(reader, "ggml.bos_token_id", 1))
    model.trainer_spec.eos_id = int(field(reader, "ggml.eos_token_id", 2))
    tokens, scores = field(reader, "ggml.tokens"), field(reader, "ggml.scores")
    kinds = field(reader, "ggml.token_type")
    names = {}
    for number, (token, score, kind) in enumerate(zip(tokens, scores, kinds)):
        if kind == 4:
            # llama.cpp's converter has put spaces there.
            token = token.replace(" ", "\u2581")
        # A name that is there twice would be refused; the second can never be found.
        if token in names:
            token = f"<twice {number}>"
        names[token] = number
        model.pieces.add(piece=token, score=score, type=kind)
    model.trainer_spec.unk_piece = tokens[model.trainer_spec.unk_id]
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return lambda text, special: None if special else processor.encode(text)


def llama_cpp(path, text, special):
    import xllamacpp

    # It says much on standard error, from threads that outlive this function.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = 256
    parameters.n_gpu_layers = 0
    server = xllamacpp.Server(parameters)
    request = urllib.request.Request(
        server.listening_address + "/tokenize",
        json.dumps({"content": text, "add_special": False, "parse_special": special}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["tokens"]


def gyre(binary, model, data, special):
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(data)
        file.flush()
        command = [binary, "tokenize", model, "--file", file.name, "--report", "json", "--no-beginning"]
        start = time.perf_counter()
        done = subprocess.run(command + ["--special"] * special, capture_output=True, check=True)
        return json.loads(done.stdout)["tokens"], time.perf_counter() - start


def difference(found, expected, text_of):
    if found == expected:
        return None
    place = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    return (f"token {place} differs: {[text_of(t) for t in found[max(0, place - 2):place + 4]]} "
            f"instead of {[text_of(t) for t in expected[max(0, place - 2):place + 4]]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failures = 0
    for path in options.models:
        reader = gguf.GGUFReader(path)
        tokens = field(reader, "ggml.tokens")
        is_bytes = field(reader, "ggml.model") == "gpt2"
        reference = byte_pairs(reader) if is_bytes else sentence_piece(reader)
        text = mixed_text(options.bytes, options.seed)
        data = text.encode()
        # Bytes that are no UTF-8, which Python replaces as Unicode recommends.
        generator = random.Random(options.seed)
        broken = bytearray(data[:1 << 18])
        for _ in range(2000):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        for name, content, special in [("text", data, False), ("broken UTF-8", bytes(broken), False),
                                       ("special tokens", data, True)]:
            decoded = content.decode("utf-8", "replace")
            found, seconds = gyre(options.binary, path, content, special)
            peers = [("tokenizers" if is_bytes else "sentencepiece", lambda: reference(decoded, special), True)]
            peers.append(("llama.cpp", lambda: llama_cpp(path, decoded, special), False))
            for peer, ask, counts in peers:
                try:
                    expected = ask()
                except ImportError:
                    continue
                if expected is None:
                    continue
                problem = difference(found, expected, lambda t: tokens[t])
                failures += problem is not None and counts
                print(f"{Path(path).name}: {name}, {len(content):,} bytes, {len(found):,} tokens in {seconds:.2f} s: "
                      f"{'equal to' if problem is None else 'unlike'} {peer}{'' if problem is None else ': ' + problem}")
    sys.stdout.flush()
    # Not by way of llama.cpp's threads, which would take their time to end.
    os._exit(failures > 0)


if __name__ == "__main__":
    main()
