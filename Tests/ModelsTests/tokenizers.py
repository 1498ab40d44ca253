"""Writes tokenizers.json beside it: small tokenizers, texts, and what the reference packages make of them.

    pip install gguf numpy tokenizers sentencepiece protobuf
    python3 Tests/ModelsTests/tokenizers.py

The numbers of real models' tokens are added for those that Launch/model has fetched.
"""

import io
import json
import os
import sys
from pathlib import Path

here = Path(__file__).resolve()
# This file's own name is that of a package.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != here.parent]
sys.path.append(str(here.parents[2] / "Launch/compare-tokenizers.d"))

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import compare

PROSE = """The ring turns, and every rank sees what the others hold; blocks go round, and round again.
She said that she'd read the whole book, hadn't she? They've read it, I'm sure, and we'll read it too.
def attend(query, key, value):
    return softmax(query @ key.T) @ value  # rows of scores
for index in range(10):
    print(index, "tokens", 3.14159, 2 ** 10)
Der Ring dreht sich weiter, größer und schöner. Où est la bibliothèque?
"""
TEXTS = [
    "", " ", "a", "  a", "\n", " \n ", "Hello, world!", "don't DON'T we'LL 'S 's's 'ſ'ſa x'RE'", "I'm 'm'mm 're 've 'llama",
    "abc123def 4567 89", "12345678901 ١٢٣٤٥ Ⅻ½²", "a  b   c    d\n\n  e\t\tf \r\n g", "x = [1,2,3];\n\n\n    return x\n",
    "!?..., -- (a) {b}\n\n", "...\r\n\r\n...", " !\n", "日本語の文 北京欢迎你 한국어 ", "😀👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 👍🏽", "e\u0301cole Ame\u0301lie \u1112\u1161\u11ab A\u030a",
    "Grüße, Привет, مرحبا नमस्ते สวัสดี", "\u00a0\u00a0x\u3000y\u2028z\u0085w", "tab\there\u000bvt \u200b zero", "▁ a▁▁b ▁", " " * 40 + "deep",
    "def f(x):\n    if x:\n        return 'yes'\n", "CamelCase snake_case kebab-case", "a\u0000b\u0001c", "’s “quoted” — dash",
    "<s>hello</s> <|end|> <|end|><|end|>\n", "the ring turns and the ring turns", "round\n\nround\n \n\n round", "x'ſ ＇s 'S",
    "HTMLParser isHTML McDonald's ABC'LL i'M", "日本A日a A日 ÀÉ\u0301x \u0301 !\u0301a !!\u0301 \u0301\u0301B", "a!/\n/ b//\n\n //x ./y \n/z",
    "ǅungla ʰa ª Ⓐ Aʰ!", " \tA\u00a0b_c_ D'd'S",
]
CODE = compare.CODE
CASED = compare.CASED
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def words():
    result = []
    splits = {
        "gpt-2": [pre_tokenizers.Split(Regex(GPT2), "isolated")],
        "mpt": [pre_tokenizers.Split(Regex(GPT2), "isolated")],
        "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex(GPT2), "isolated")],
        "qwen2": [pre_tokenizers.Split(Regex(CODE % r"\p{N}"), "isolated")],
        "llama-bpe": [pre_tokenizers.Split(Regex(CODE % r"\p{N}{1,3}"), "isolated")],
        "gpt-4o": [pre_tokenizers.Split(Regex(CASED), "isolated")],
    }
    for name, steps in splits.items():
        cut = pre_tokenizers.Sequence(steps)
        result.append({"pre": name, "words": [[word for word, _ in cut.pre_tokenize_str(text)] for text in TEXTS]})
    return result


def byte_pairs(name):
    """A trained tokenizer as a tokenizer.json, with the pre-tokenizer of a model."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama-bpe"))
    first = {
        "gpt-2": [], "mpt": [], "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "qwen2": [pre_tokenizers.Split(Regex(CODE % r"\p{N}"), "isolated")],
        "llama-bpe": [pre_tokenizers.Split(Regex(CODE % r"\p{N}{1,3}"), "isolated")],
        "gpt-4o": [pre_tokenizers.Split(Regex(CASED), "isolated")],
    }[name]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name in ("gpt-2", "mpt", "smollm"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(first + [level]) if first else level
    if name in ("qwen2", "mpt"):
        tokenizer.normalizer = normalizers.NFC()
    # Without some of the bytes, as SmolLM2's is.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if name == "smollm":
        alphabet = [character for character in alphabet if character not in "ĀāĂ"]
    tokenizer.train_from_iterator(
        PROSE.splitlines(), trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_tokens([AddedToken("ring", normalized=False)])
    if name == "mpt":
        # As GPT-NeoX's have them.
        tokenizer.add_tokens([AddedToken(" " * count, normalized=True) for count in (8, 4, 3, 2)])
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    tokenizer.add_special_tokens([AddedToken("<|end|>", normalized=False)])
    special = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return {"pre": name, "file": json.loads(tokenizer.to_str()), "plain": plain, "special": special}


def sentence_piece(kind, prefix):
    """A trained model of SentencePiece: tokens, scores and kinds as GGUF has them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((PROSE * 4).splitlines()), model_writer=model, model_type=kind, vocab_size=360, hard_vocab_limit=False,
        byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=prefix,
        remove_extra_whitespaces=False, user_defined_symbols=["▁▁", "▁▁▁▁", "ring"], minloglevel=2,
        allow_whitespace_only_pieces=True)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    count = processor.get_piece_size()
    kinds = [6 if processor.is_byte(i) else 3 if processor.is_control(i) else 2 if processor.is_unknown(i) else
             4 if processor.id_to_piece(i) in ("▁▁", "▁▁▁▁", "ring") else 1 for i in range(count)]
    return {
        "model": "t5" if kind == "unigram" else "llama", "prefix": prefix,
        "tokens": [processor.id_to_piece(i) for i in range(count)],
        "scores": [processor.get_score(i) for i in range(count)], "kinds": kinds,
        "plain": [processor.encode(text) for text in TEXTS]}


def characters(prefix):
    """Pairs of characters as Llama 2's and Gemma's tokenizer.json have them, with bytes for the rest."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", "▁")])
    names = ["<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        PROSE.splitlines(), trainers.BpeTrainer(vocab_size=400, special_tokens=names, show_progress=False))
    file = json.loads(tokenizer.to_str())
    # Bytes are tokens like others there, and not found in texts by their names.
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] == "<unk>"]
    tokenizer = Tokenizer.from_str(json.dumps(file))
    return {"prefix": prefix, "file": file, "plain": [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]}


def unigrams():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.train_from_iterator(
        PROSE.splitlines(), trainers.UnigramTrainer(
            vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False))
    return {
        "prefix": False, "file": json.loads(tokenizer.to_str()),
        "plain": [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]}


def real():
    folder = Path(os.environ.get("GYRE_MODELS", Path.home() / ".cache/gyre/models"))
    result = []
    for path in sorted(folder.glob("*.gguf")):
        reader = gguf.GGUFReader(str(path))
        is_bytes = compare.field(reader, "ggml.model") == "gpt2"
        encode = compare.byte_pairs(reader) if is_bytes else compare.sentence_piece(reader)
        result.append({"name": path.name, "plain": [encode(text, False) for text in TEXTS]})
    return result


contents = {
    "texts": TEXTS, "words": words(), "bytePairs": [byte_pairs(name) for name in ("gpt-2", "mpt", "smollm", "qwen2", "llama-bpe", "gpt-4o")],
    "characters": [characters(False), characters(True), unigrams()],
    "sentencePiece": [sentence_piece(kind, prefix) for kind in ("bpe", "unigram") for prefix in (False, True)],
    "real": real()}
here.with_name("tokenizers.json").write_text(json.dumps(contents, ensure_ascii=True, separators=(",", ":")) + "\n")
