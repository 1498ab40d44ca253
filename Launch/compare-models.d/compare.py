"""Compares what models say in gyre with what they say in transformers and in llama.cpp.

Small random models of every architecture are written by transformers and read by gyre, and models in
GGUF files are widened to F32 and run by transformers. llama.cpp's greedy text is compared token by
token where xllamacpp is installed; it quantises activations, so that where it differs the widened
model is asked who is right.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

import small_models

transformers.utils.logging.disable_progress_bar()

# Apart from rounding, whose order differs.
TOLERANCE = 1e-4
# Nats between two tokens within which either may come first.
NEAR = 0.05


class Failure(Exception):
    pass


def gyre(local, ranks, *arguments):
    """Runs gyre on ranks of this machine."""
    result = subprocess.run([local, "-n", str(ranks), *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"gyre {arguments[0]} on {ranks} ranks: {result.stderr.strip()}")
    return result.stdout


def error(local, ranks, model, tokens, expected, folder):
    """The largest difference of logits, over the largest logit."""
    output = Path(folder) / "logits.safetensors"
    output.unlink(missing_ok=True)
    gyre(local, ranks, "logits", model, "--ids", ",".join(map(str, tokens)), "--output", output)
    found = load_file(output)["logits"]
    if found.shape != expected.shape:
        raise Failure(f"logits of {found.shape}, not {expected.shape}")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def row(name, tokens, ranks, errors):
    print(f"{name:24} {tokens:6}  " + "  ".join(f"{e:.1e}" for e in errors)
          + ("" if max(errors) <= TOLERANCE else "  too far"), flush=True)
    return max(errors) <= TOLERANCE


def compare_small(local, ranks):
    right = True
    print(f"{'architecture':24} {'tokens':>6}  largest error over the largest logit on {', '.join(map(str, ranks))} ranks")
    for name, configuration in small_models.configurations():
        model = small_models.model_of(name, configuration)
        expected = small_models.logits_of(model, small_models.TOKENS)
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stderr(io.StringIO()):
                model.save_pretrained(folder)
            errors = [error(local, count, folder, small_models.TOKENS, expected, folder) for count in ranks]
        right = row(name, len(small_models.TOKENS), ranks, errors) and right
    return right


class Widened:
    """A GGUF file's model, its weights widened to F32, in transformers."""

    def __init__(self, path):
        path = Path(path).resolve()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            self.model = transformers.AutoModelForCausalLM.from_pretrained(
                str(path.parent), gguf_file=path.name, dtype=torch.float32, attn_implementation="eager").eval()

    def logits(self, tokens):
        return small_models.logits_of(self.model, tokens)


def tokens_of(program, model, file):
    result = subprocess.run([program, "tokenize", model, "--file", file], capture_output=True, text=True)
    if result.returncode:
        raise Failure(f"gyre tokenize: {result.stderr.strip()}")
    return [int(number) for number in result.stdout.split(",")]


def compare_greedy(local, path, widened, prompt, file, count):
    """Greedy tokens of gyre on two ranks and of llama.cpp after the same tokens."""
    try:
        import xllamacpp
    except ImportError:
        print("  llama.cpp is left out: xllamacpp is not installed")
        return True
    report = json.loads(gyre(local, 2, "generate", path, "--prompt-file", file, "--max-tokens", count,
                             "--report", "json"))
    ours = report["tokens"]
    done, near, differing = 0, 0, []
    with quiet():
        server = llama_server(xllamacpp, path, len(prompt) + count + 16)
        while done < len(ours):
            answer = server.handle_completions({
                "prompt": prompt + ours[:done], "n_predict": len(ours) - done, "temperature": 0,
                "cache_prompt": False, "n_probs": 2})
            answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
            steps = answer["choices"][0]["logprobs"]["content"]
            pairs = zip((step["id"] for step in steps), ours[done:])
            same = next((place for place, (theirs, mine) in enumerate(pairs) if theirs != mine), None)
            if same is None:
                break
            place, step = done + same, steps[same]
            best, second = step["top_logprobs"][:2]
            gap = best["logprob"] - second["logprob"]
            if gap < NEAR:
                near += 1
            else:
                differing.append((place, ours[place], step["id"], gap, widened.logits(prompt + ours[:place])[-1]))
            # On from gyre's token.
            done = place + 1
    right = True
    print(f"  greedy: {len(ours)} tokens, {len(differing)} differ from llama.cpp's beside {near} within {NEAR} nats")
    for place, mine, other, gap, row in differing:
        best = int(row.argmax())
        right = right and best == mine
        print(f"    token {place}: gyre {mine}, llama.cpp {other} by {gap:.3f} nats; widened weights say {best}, "
              f"{float(row[mine] - row[other]):+.3f} nats for gyre's")
    return right


def llama_server(xllamacpp, path, context):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = context
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.cpuparams.n_threads = os.cpu_count()
    return xllamacpp.Server(parameters)


@contextlib.contextmanager
def quiet():
    """llama.cpp writes on the process's own standard error."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def compare_speed(options, path, file, tokens):
    """Tokens a second of a prompt and of what follows it, in turn; medians."""
    import xllamacpp

    def of_gyre(ranks, *more):
        report = json.loads(gyre(options.local, ranks, "generate", path, "--prompt-file", file, "--max-tokens", 32,
                                 "--report", "json", *more))
        return report["prefillTokensPerSecond"], report["decodeTokensPerSecond"]

    def of_llama():
        with quiet():
            server = llama_server(xllamacpp, path, len(tokens) + 64)
            answer = server.handle_completions({"prompt": tokens, "n_predict": 32, "temperature": 0,
                                                "cache_prompt": False})
            answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
            del server
        return answer["timings"]["prompt_per_second"], answer["timings"]["predicted_per_second"]

    cores = len(os.sched_getaffinity(0))
    contestants = {
        "llama.cpp": of_llama, "gyre, 1 rank": lambda: of_gyre(1), f"gyre, {cores} ranks": lambda: of_gyre(cores),
        "gyre, 1 rank, bf16": lambda: of_gyre(1, "--arithmetic", "bf16"),
        f"gyre, {cores} ranks, bf16": lambda: of_gyre(cores, "--arithmetic", "bf16"),
        "gyre, 1 rank, int8": lambda: of_gyre(1, "--arithmetic", "bf16", "--weight-products", "int8"),
        f"gyre, {cores} ranks, int8": lambda: of_gyre(cores, "--arithmetic", "bf16", "--weight-products", "int8")}
    rates = {name: [] for name in contestants}
    for _ in range(options.speed):
        for name, measure in contestants.items():
            try:
                rates[name].append(measure())
            except Failure as failure:
                print(f"  {name}: {failure}")
    print(f"  tokens a second, medians of {options.speed}: {len(tokens)} read, 32 written")
    for name, found in rates.items():
        if found:
            read, written = np.median(np.array(found), axis=0)
            print(f"    {name:22} {read:8.1f} {written:8.1f}")


def compare_file(options, path, ranks):
    right = True
    with tempfile.TemporaryDirectory() as folder:
        prompt = Path(folder) / "prompt"
        prompt.write_bytes(Path(options.text).read_bytes()[:options.bytes].decode("utf-8", "ignore").encode())
        tokens = tokens_of(options.gyre, path, prompt)
        if options.speed:
            print(Path(path).name)
            compare_speed(options, path, prompt, tokens)
            return True
        widened = Widened(path)
        expected = widened.logits(tokens)
        errors = [error(options.local, count, path, tokens, expected, folder) for count in ranks]
        right = row(Path(path).name[:24], len(tokens), ranks, errors) and right
        if options.greedy:
            right = compare_greedy(options.local, path, widened, tokens, prompt, options.greedy) and right
    return right


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", default="1,2,3,5")
    parser.add_argument("--bytes", type=int, default=600)
    parser.add_argument("--greedy", type=int, default=64)
    parser.add_argument("--speed", type=int, default=0)
    parser.add_argument("--text", required=True)
    parser.add_argument("local")
    parser.add_argument("gyre")
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    ranks = [int(number) for number in options.ranks.split(",")]
    right = options.speed > 0 or compare_small(options.local, ranks)
    for path in options.models:
        right = compare_file(options, path, ranks) and right
    return 0 if right else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"compare-models: {failure}")
