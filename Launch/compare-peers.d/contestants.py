"""What is compared: Gyre, started anew for each measurement, and peers, kept running."""

import json
import os
import subprocess
import time
from array import array
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tensorfile
from problem import OPTIONS, Outputs, Problem

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# The worker of each peer, and whether it needs more than one process or device.
WORKERS = {
    "torch": ("peer_torch.py", False),
    "flex-attention": ("peer_flex_attention.py", False),
    "ringattention": ("peer_ringattention.py", True),
    "ring-attention-pytorch": ("peer_ring_attention_pytorch.py", True),
}


class Failed(Exception):
    """Something went wrong, in a sentence."""


class Unable(Failed):
    """A peer cannot solve a problem."""


class Refused(Failed):
    """Gyre does not know an arithmetic, or this processor does not."""


class Stopped(Failed):
    """The process of a peer has ended."""


def on_cores(count: int) -> list[str]:
    """The start of a command line that confines what follows to the first cores."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


@dataclass(frozen=True)
class Gyre:
    """`gyre attend` on a number of ranks with a number of threads each."""

    ranks: int
    threads: int

    @property
    def name(self) -> str:
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return ranks if self.threads == 1 else f"{ranks} × {self.threads} threads"

    def outputs(self, problem: Problem, source: Path, folder: Path) -> tuple[str, Outputs]:
        """The instructions that it used, as far as it says so, and its outputs."""
        target = folder / "gyre.safetensors"
        report = json.loads(self._run(problem, source, "--output", str(target)))
        return report.get("instructionSet") or "not said", {
            name: tensorfile.read(target, name)[1] for name in problem.outputs
        }

    def seconds(self, problem: Problem, source: Path) -> float:
        return json.loads(self._run(problem, source))[f"{problem.attention_pass}Seconds"]

    def _run(self, problem: Problem, source: Path, *more: str) -> str:
        line = on_cores(self.ranks * self.threads) + [
            str(ROOT / "Launch/local"), "-n", str(self.ranks), "attend", str(source),
            "--threads", str(self.threads), "--report", "json", *more]
        if problem.causal:
            line.append("--causal")
        line += OPTIONS[problem.variant]
        if problem.attention_pass == "backward":
            line.append("--gradients")
        if problem.arithmetic != "f32":
            line += ["--arithmetic", problem.arithmetic]
        done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode and problem.arithmetic != "f32":
            said = done.stderr.splitlines()
            raise Refused(
                next((line for line in said if "arithmetic" in line), last_line(done.stderr)))
        if done.returncode:
            raise Failed(f"gyre attend failed: {last_line(done.stderr)}")
        return done.stdout


class Peer:
    """The process of a peer on a number of cores."""

    def __init__(self, name: str, python: str, cores: int, folder: Path) -> None:
        self.name = name
        self.cores = cores
        self._log = folder / f"{name}-{cores}.log"
        script = HERE / WORKERS[name][0]
        # A pool of threads would else wait by spinning on the cores that Gyre then measures on.
        environment = os.environ | {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                on_cores(cores) + [python, str(script), str(cores)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=environment)
        introduction = self._reply()
        self.version: str = introduction["version"]
        self.details: str = introduction["details"]

    @property
    def what(self) -> str:
        if not WORKERS[self.name][1]:
            return "1 thread" if self.cores == 1 else f"{self.cores} threads"
        return f"{self.cores} {'devices' if self.name == 'ringattention' else 'processes'}"

    def prepare(self, problem: Problem, source: Path, folder: Path) -> tuple[str, Outputs]:
        """Gets the peer ready for a problem: the settings that it uses, and its outputs."""
        target = folder / "peer.f32"
        target.unlink(missing_ok=True)
        reply = self._ask({
            "action": "prepare", "input": str(source), "output": str(target),
            "pass": problem.attention_pass, "causal": problem.causal, "tokens": problem.tokens,
            "arithmetic": problem.arithmetic, "variant": problem.variant,
            "heads": problem.heads, "headDim": problem.head_dim})
        values = array("f", target.read_bytes())
        share = len(values) // len(problem.outputs)
        return reply["setting"], {
            name: values[index * share:(index + 1) * share]
            for index, name in enumerate(problem.outputs)
        }

    def seconds(self) -> float:
        return self._ask({"action": "measure"})["seconds"]

    def close(self) -> None:
        """Ends the process, by asking it first."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, request: dict) -> dict:
        with suppress(BrokenPipeError):  # Its log says why.
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._reply()

    def _reply(self) -> dict:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            time.sleep(0.1)
            raise Stopped(f"it stopped: {last_line(self._log.read_text())}")
        reply = json.loads(line)
        if "unable" in reply:
            raise Unable(reply["unable"])
        return reply


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing."
