"""Measures gyre mix side by side with PyTorch; Launch/compare-mixers checks the arguments."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "compare-peers.d"))

import torch

import references
import tensorfile

# The sizes of each operator's tensors, without tokens, and how their numbers are made.
HEADS = {"q": "thd", "k": "thd", "v": "thd"}
TENSORS: dict[str, dict[str, str]] = {
    "sima": HEADS, "cosformer": HEADS, "linformer": HEADS | {"e": "tk", "f": "tk"},
    "gla": HEADS | {"g": "thd"}, "mamba2": HEADS | {"g": "th"},
    "rwkv5": {"r": "thd", "k": "thd", "v": "thd", "w": "hd", "u": "hd"},
    "rwkv6": {"r": "thd", "k": "thd", "v": "thd", "w": "thd", "u": "hd"},
    "rwkv4": {"r": "tc", "k": "tc", "v": "tc", "w": "c", "u": "c"},
    "mamba": {
        "x": "tc", "delta": "tc", "a": "cn", "b": "tn", "c": "tn", "d": "c", "z": "tc"},
    "led": {"x": "tc", "e": "ck", "d": "kc"},
}
OPTIONS = {"mamba": ["--softplus"]}
# Names whose numbers are negative exponents, and those that are shares.
EXPONENTS = {("gla", "g"), ("mamba2", "g"), ("rwkv4", "w"), ("rwkv5", "w"), ("rwkv6", "w"),
             ("mamba", "a")}
WEIGHTS = {("linformer", "e"), ("linformer", "f"), ("led", "e"), ("led", "d")}
# What outputs and gradients may differ by, over 1 + the largest number: sums of many in another
# order.
ALLOWED = 1e-4


def make(operator: str, sizes: dict[str, int]) -> references.Tensors:
    """Random tensors of an operator, with one sequence where there are tokens."""
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, letters in TENSORS[operator].items():
        shape = [sizes[letter] for letter in letters]
        # Projections of Linformer are of all sequences.
        if letters[0] == "t" and (operator, name) not in WEIGHTS:
            shape = [1, *shape]
        numbers = torch.randn(shape, generator=generator)
        if (operator, name) in EXPONENTS:
            numbers = -numbers.exp() / (1 if operator == "mamba" else 16)
        if (operator, name) in WEIGHTS:
            numbers = numbers / 8
        tensors[name] = numbers
    return tensors


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Gyre:
    """gyre mix on one file."""

    def __init__(self, binary: str, operator: str, folder: Path, threads: int, gradients: bool):
        self._output = folder / f"{operator}-out.safetensors"
        self._line = [
            binary, "mix", operator, str(folder / f"{operator}.safetensors"), "--threads",
            str(threads), "--warm-ups", "1", "--report", "json", "--output", str(self._output),
            *OPTIONS.get(operator, []), *(["--gradients"] if gradients else [])]

    def seconds(self) -> tuple[float, float]:
        """Of both passes, as the program measures them."""
        done = subprocess.run(self._line, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"compare-mixers: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        return report["forwardSeconds"], report["backwardSeconds"]

    def tensor(self, name: str) -> torch.Tensor:
        shape, values = tensorfile.read(self._output, name)
        return torch.frombuffer(values, dtype=torch.float32).reshape(shape)


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    scale = 1 + theirs.abs().max().item()
    return (ours.reshape(theirs.shape) - theirs).abs().max().item() / scale


def compare(
    operator: str, peer: references.References, arguments: argparse.Namespace, folder: Path
) -> Iterator[dict]:
    """The rows of an operator: forward, and backward where the peer has a derivative."""
    name, run, differentiates = peer.all[operator]
    tensors = make(operator, arguments.sizes)
    gradients = differentiates and "backward" in arguments.passes
    with torch.no_grad():
        output = run(tensors)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(8))
    stored = tensors | ({"do": gradient} if gradients else {})
    tensorfile.write(folder / f"{operator}.safetensors", {
        key: (list(value.shape), array("f", value.contiguous().numpy().tobytes()))
        for key, value in stored.items()})
    gyre = Gyre(arguments.gyre, operator, folder, arguments.threads, gradients)
    inputs = list(tensors)
    for value in tensors.values():
        value.requires_grad_(gradients)

    def forward() -> object:
        with torch.no_grad():
            return run(tensors)

    if gradients:
        graph = run(tensors)
        back = lambda: torch.autograd.grad(  # noqa: E731
            graph, list(tensors.values()), gradient, retain_graph=True)
        theirs_of_inputs = back()
    gyre.seconds()
    times: list[tuple[float, float, float, float]] = []
    for _ in range(arguments.repeats):
        own = gyre.seconds()
        times.append((*own, timed(forward), timed(back) if gradients else 0.0))
    differences = {"forward": apart(gyre.tensor("o"), output)}
    if gradients:
        differences["backward"] = max(
            apart(gyre.tensor(f"d{key}"), value)
            for key, value in zip(inputs, theirs_of_inputs))
    for index, which in enumerate(("forward", "backward")):
        if which not in differences or which not in arguments.passes:
            continue
        yield {
            "mixer": operator, "pass": which, "tokens": arguments.sizes["t"], "peer": name,
            "threads": arguments.threads,
            "gyreSeconds": statistics.median(row[index] for row in times),
            "peerSeconds": statistics.median(row[index + 2] for row in times),
            "ratio": statistics.median(row[index + 2] / row[index] for row in times),
            "difference": differences[which], "agrees": differences[which] <= ALLOWED}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gyre", required=True)
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--mixer", type=lambda text: text.split(","))
    parser.add_argument("--pass", dest="passes", type=lambda text: text.split(","), required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--format", choices=["text", "markdown", "json"], required=True)
    arguments = parser.parse_args()
    references.threads(arguments.threads)
    arguments.sizes = {"t": arguments.tokens, "h": 4, "d": 64, "c": 256, "n": 16, "k": 64}
    peer = references.References(arguments.archives)
    unknown = set(arguments.mixer or []) - set(peer.all)
    if unknown:
        sys.exit(f"compare-mixers: no peer has {', '.join(sorted(unknown))}; name some of "
                 f"{', '.join(peer.all)}.")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for operator in arguments.mixer or list(peer.all):
            print(f"compare-mixers: {operator}", file=sys.stderr)
            rows += compare(operator, peer, arguments, Path(folder))
    if arguments.format == "json":
        print(json.dumps({"torch": torch.__version__, "results": rows}))
    else:
        header = ["operator", "pass", "in PyTorch", "Gyre", "PyTorch", "ratio", "difference"]
        cells = [header] + [[
            row["mixer"], row["pass"], row["peer"], f"{row['gyreSeconds'] * 1e3:.1f} ms",
            f"{row['peerSeconds'] * 1e3:.1f} ms", f"{row['ratio']:.1f}",
            f"{row['difference']:.0e}{'' if row['agrees'] else ' DIFFERS'}"] for row in rows]
        if arguments.format == "markdown":
            cells.insert(1, ["---"] * len(header))
            print("\n".join(f"| {' | '.join(line)} |" for line in cells))
        else:
            widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
            for line in cells:
                print("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip())
    return 0 if rows and all(row["agrees"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
