"""Checks and measures Gyre on this host within some minutes; Launch/measure-host checks the
arguments.

A step is a function that measures one thing. Steps come in the order of their importance; one that
would not be done in time is left out.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import host
import table
from torch_rates import SCRIPT as TORCH

LOCAL = str(Path(__file__).resolve().parent.parent / "local")
GYRE = os.environ["GYRE_BINARY"]

# Flops a second of a core, for estimates until they are measured.
FLOPS_OF_CORE = 30e9

# What a step may take of the time that is left, and of that what it should not expect to exceed.
SHARE = 0.5


class Late(Exception):
    """There is no time for it."""


class Failed(Exception):
    """A command ended badly, in a sentence."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        # 64 (EX_USAGE) where gyre refuses to do it here.
        self.is_refusal = code == 64


def flops(tokens: int, heads: int, head_dim: int, causal: bool) -> float:
    """Useful flops of both passes: 4 a pair and head dim forward, 10 backward."""
    return tokens * tokens / (2 if causal else 1) * heads * head_dim * 14


def end(process: subprocess.Popen) -> str:
    """Ends a command with all that it has started, mpirun's ranks by mpirun, and returns what it
    has printed."""
    for name in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, name)
            return process.communicate(timeout=10)[0]
        except ProcessLookupError:
            return process.communicate()[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


class Measurement:
    """All steps, and what they have found out."""

    def __init__(self, minutes: float, output: str) -> None:
        self._end = self._step_end = time.monotonic() + 60 * minutes
        self._output = output
        self._flops_of_core = FLOPS_OF_CORE
        self.cores = len(os.sched_getaffinity(0))
        self.options = host.Options(GYRE)
        self.result: dict = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "minutes": minutes, "host": host.describe(), "gyre": self.options.version,
            "answers": [], "kernels": [], "splits": [], "fewRows": [], "strong": [], "cores": [],
            "torch": [], "seconds": {}, "leftOut": [], "failed": []}
        # Pairs of instructions and arithmetic that this processor has; None where gyre has no option.
        self._sets: list[tuple[str | None, str]] = [(None, "f32")]

    # -- Running

    @property
    def left(self) -> float:
        """Seconds that this step may still take."""
        return self._step_end - time.monotonic()

    def _run(self, line: list[str], expected: float = 0, partly: bool = False) -> tuple[str, bool]:
        """What a command prints, and whether it came to its end.

        - partly: take what it has printed where time is over before its end.
        """
        if self.left < max(1, expected):
            raise Late
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True)
        try:
            printed, said = process.communicate(timeout=self.left)
        except subprocess.TimeoutExpired:
            printed = end(process)
            if not partly or not printed:
                raise Late from None
            return printed, False
        except KeyboardInterrupt:
            end(process)
            raise
        if process.returncode:
            lines = said.strip().splitlines()
            raise Failed(
                lines[-1] if lines else f"exit code {process.returncode}", process.returncode)
        return printed, True

    def _chosen(self, chosen: tuple[str | None, str]) -> list[str]:
        instructions, arithmetic = chosen
        line = [] if instructions is None else ["--instructions", instructions]
        return line + (["--arithmetic", arithmetic] if self.options.arithmetic else [])

    def _bench(
        self, words: list[str], expected: float, into: str, name: str = "", **more: str
    ) -> None:
        """Adds the rows of `gyre bench` in this process to a part of the result, as far as there is
        time, and keeps its results file under a name."""
        text, is_whole = self._run(
            [GYRE, "bench", *words, "--format", "jsonl"], expected, partly=True)
        lines = [line for line in text.splitlines() if line.endswith("}")]
        for line in lines:
            for row in (report := json.loads(line)).get("results", [report]):
                self.result[into].append({**more, **row})
        if name:
            self._keep(name, "\n".join(lines) + "\n")
        if not is_whole:
            raise Late

    def _keep(self, name: str, text: str) -> None:
        """A results file that gyre itself reads."""
        Path(f"{self._output}.{name}.json").write_text(text)

    def run(self) -> bool:
        steps = [
            self.answers, self.one_core, self.all_cores, self.splits, self.torch, self.few_rows,
            self.cores_at_once, self.strong, self.lower_sets]
        for step in steps:
            name = step.__name__.replace("_", " ")
            began = time.monotonic()
            left = self._end - began
            self._step_end = began + (left if step == steps[-1] else SHARE * left)
            say(f"{name}; {left:.0f} s left")
            try:
                step()
            except Late:
                self.result["leftOut"].append(name)
                say(f"{name}: no time for all of it")
            except Failed as reason:
                self.result["failed"].append({"what": name, "why": str(reason)})
                say(f"{name}: {reason}")
            self.result["seconds"][name] = round(time.monotonic() - began, 1)
            self._write()
        return bool(self.result["answers"]) and all(row["right"] for row in self.result["answers"])

    def _write(self) -> None:
        Path(f"{self._output}.json").write_text(json.dumps(self.result, indent=1))
        Path(f"{self._output}.md").write_text(table.formatted(self.result))

    # -- Steps

    def answers(self) -> None:
        """Sampled rows against double precision, with all that the processor has."""
        found = []
        for instructions in self.options.instructions:
            for arithmetic in self.options.arithmetic or ["f32"]:
                for threads in sorted({1, self.cores}):
                    line = [
                        GYRE, "attend", "--random", "1x1021x4x2x80", "--causal", "--gradients",
                        "--verify", "--threads", str(threads), "--report", "json",
                        *self._chosen((instructions, arithmetic))]
                    row = {
                        "instructions": instructions or "default", "arithmetic": arithmetic,
                        "threads": threads, "right": True, "refused": False, "said": ""}
                    try:
                        report = json.loads(self._run(line)[0])
                        row["said"] = report.get("instructionSet", "")
                    except Failed as reason:
                        row["said"] = str(reason)
                        row["refused"] = row["right"] = reason.is_refusal
                    self.result["answers"].append(row)
                    if row["right"] and not row["refused"]:
                        found.append((instructions, arithmetic))
        if found:
            self._sets = list(dict.fromkeys(found))

    @property
    def _best(self) -> list[tuple[str | None, str]]:
        """The best instructions of each arithmetic: lists of options are in ascending order."""
        best = {arithmetic: (instructions, arithmetic) for instructions, arithmetic in self._sets}
        return list(best.values())

    def _kernels(
        self, chosen: tuple[str | None, str], threads: list[int], tokens: int, heads: int,
        head_dims: str, repeats: int, causal: str
    ) -> None:
        work = sum(flops(tokens, heads, int(dim), causal == "true") for dim in head_dims.split(","))
        alone = work * (1.5 if causal == "both" else 1) * (repeats + 1) / self._flops_of_core
        self._bench([
            "kernel", "--tokens", str(tokens), "--head-dim", head_dims, "--heads", str(heads),
            "--kv-heads", str(heads), "--threads", ",".join(map(str, threads)), "--repeats",
            str(repeats), "--causal", causal, *self._chosen(chosen)],
            alone / max(threads), "kernels", arithmetic=chosen[1],
            instructions=chosen[0] or "default")

    def one_core(self) -> None:
        for chosen in self._best:
            self._kernels(chosen, [1], 4096, 2, "64,128", 3, "both")
            if chosen[1] == "f32":
                self._flops_of_core = median(
                    row["flopsPerSecond"] for row in self.result["kernels"])

    def all_cores(self) -> None:
        counts = host.powers_of_two(self.cores)[1:]
        if counts:
            for chosen in self._best:
                self._kernels(chosen, counts[::-1], 2048 * min(4, self.cores), 8, "128", 3, "true")

    def splits(self) -> None:
        """Ranks against threads, and what is started by default."""
        speed = self._flops_of_core * self.cores
        # Some seconds each.
        tokens = next(
            (count for count in (32768, 16384, 8192) if flops(count, 8, 64, True) < 6 * speed), 4096)
        expected = flops(tokens, 8, 64, True) / speed
        problem = ["attend", "--random", f"1x{tokens}x8x8x64", "--causal", "--gradients"]
        splits = [(ranks, str(self.cores // ranks)) for ranks in host.powers_of_two(self.cores)]
        if self.options.automatic_threads:
            # What is started where nobody says anything.
            splits.insert(0, (0, "auto"))
        for _ in range(2):
            for ranks, threads in splits:
                started = ["-n", str(ranks)] if ranks else []
                text, _ = self._run(
                    [LOCAL, *started, *problem, "--report", "json", "--threads", threads], expected)
                report = json.loads(text)
                self.result["splits"].append({
                    "tokens": tokens, "ranks": ranks or f"default: {report['ranks']}", "threads": threads,
                    "forwardSeconds": report["forwardSeconds"],
                    "backwardSeconds": report["backwardSeconds"]})

    def torch(self) -> None:
        try:
            self._run([sys.executable, "-c", "import torch"])
        except Failed:
            raise Failed(f"{sys.executable} cannot import torch") from None
        for threads in sorted({1, self.cores}):
            for kind in ("f32", "bf16"):
                tokens, heads = (4096, 2) if threads == 1 else (8192, 8)
                line = [
                    "taskset", "--cpu-list", host.first_cores(threads), sys.executable, "-c", TORCH,
                    str(threads), kind, str(tokens), str(heads)]
                self.result["torch"] += json.loads(self._run(line, 5)[0])

    def few_rows(self) -> None:
        """Decoding: one query of a long sequence, against the bandwidth of memory."""
        self._bench([
            "kernel", "--pass", "forward", "--tokens", "65536", "--queries", "1", "--heads", "8",
            "--kv-heads", "8", "--head-dim", "128", "--causal", "true", "--dtype",
            "f32,f16,bf16,int8", "--threads", f"{'1,' if self.cores > 1 else ''}{self.cores}",
            "--repeats", "3"], 5, "fewRows")

    def cores_at_once(self) -> None:
        """What cores take from each other, for gyre predict."""
        if not self.options.copies:
            raise Failed("this gyre has no --copies")
        self._bench([
            "kernel", "--tokens", "2048", "--head-dim", "64", "--heads", "8", "--kv-heads", "8",
            "--causal", "true", "--copies", ",".join(map(str, host.powers_of_two(self.cores))),
            "--repeats", "5"], 5, "cores", name="cores")

    def strong(self) -> None:
        if self.cores == 1:
            return
        seconds = max(1, min(60, self.left - 5))
        text, _ = self._run([
            LOCAL, "-n", str(self.cores), "bench", "strong", "--tokens", "8192", "--heads", "8",
            "--threads", "1", "--transport", "ring,shared", "--seconds", f"{seconds:.0f}",
            "--format", "json"], 5)
        self._keep("strong", text)
        self.result["strong"] = json.loads(text)["results"]

    def lower_sets(self) -> None:
        """One core with what is not the best of the processor."""
        for chosen in self._sets:
            if chosen not in self._best:
                self._kernels(chosen, [1], 4096, 2, "64,128", 3, "true")


def say(sentence: str) -> None:
    print(f"Launch/measure-host: {sentence}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    measurement = Measurement(arguments.minutes, arguments.output)
    try:
        right = measurement.run()
    except KeyboardInterrupt:
        return 130
    print(table.formatted(measurement.result))
    if not right:
        say("some answers are wrong, or none was checked.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
