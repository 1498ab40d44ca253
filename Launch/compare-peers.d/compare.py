"""Measures Gyre and its peers side by side; Launch/compare-peers checks the arguments."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import report
from contestants import WORKERS, Failed, Gyre, Peer, Refused, Stopped, Unable
from problem import Problem, Reference, apart, write_input
from report import Report, Row

# How many rows are computed in double precision.
CHECKED_ROWS = 8

# The arithmetic of each peer.
ARITHMETIC = {
    "torch": ("f32", "bf16"), "flex-attention": ("f32",), "ringattention": ("f32",),
    "ring-attention-pytorch": ("f32",)}


def knows(peer: str, problem: Problem) -> bool:
    """Whether a peer has the arithmetic, the pass and the mask of a problem."""
    if peer == "flex-attention" and problem.attention_pass == "backward":
        return False
    return problem.arithmetic in ARITHMETIC[peer] and (
        peer == "flex-attention" or problem.variant == "plain")


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--skipped", action="append", default=[], metavar="NAME=SENTENCE")
    parser.add_argument("--pass", dest="passes", type=lambda text: text.split(","), required=True)
    parser.add_argument(
        "--arithmetic", type=lambda text: text.split(","), required=True)
    parser.add_argument("--head-dim", type=numbers, required=True)
    parser.add_argument("--threads", type=numbers, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--causal", choices=["both", "true", "false"], required=True)
    parser.add_argument("--variant", type=lambda text: text.split(","), required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--format", choices=report.FORMATS, required=True)
    parser.add_argument("--gyre", required=True)
    return parser.parse_args()


def opponents(peer: Peer) -> list[Gyre]:
    """The ways of running Gyre on as many cores as the peer has."""
    ring = Gyre(ranks=peer.cores, threads=1)
    threads = Gyre(ranks=1, threads=peer.cores)
    return [ring] if WORKERS[peer.name][1] or peer.cores == 1 else [threads, ring]


class Comparison:
    """One run of the comparison, with its files in a folder."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        self._sources: dict[tuple[int, str], Path] = {}
        self._references: dict[Problem, Reference] = {}

    def run(self) -> Report:
        result = Report.here(
            self._arguments.gyre, [skip.split("=", 1) for skip in self._arguments.skipped])
        for peer in self._arguments.peer:
            name, python = peer.split("=", 1)
            for cores in self._arguments.threads:
                if cores == 1 and WORKERS[name][1]:
                    continue
                try:
                    self._meet(name, python, cores, result)
                except Stopped as reason:
                    result.skip(f"{name} on {cores} cores", str(reason))
        return result

    def _meet(self, name: str, python: str, cores: int, result: Report) -> None:
        with closing(Peer(name, python, cores, self._folder)) as peer:
            for problem in self._problems():
                if not knows(name, problem):
                    continue
                say(f"{name}, {peer.what}: {problem.attention_pass}, {problem.mask}, "
                    f"head dim {problem.head_dim}, {problem.arithmetic}")
                try:
                    result.rows += self._rows(peer, problem)
                except Unable as reason:
                    result.skip(
                        f"{name} on {cores} cores, {problem.mask}, head dim {problem.head_dim}",
                        str(reason))

    def _problems(self) -> Iterator[Problem]:
        masks = {"both": [False, True], "true": [True], "false": [False]}
        for arithmetic in self._arguments.arithmetic:
            for attention_pass in self._arguments.passes:
                for head_dim in self._arguments.head_dim:
                    for causal in masks[self._arguments.causal]:
                        for variant in self._arguments.variant:
                            yield Problem(
                                attention_pass, self._arguments.tokens, self._arguments.heads,
                                head_dim, causal, arithmetic, variant)

    def _rows(self, peer: Peer, problem: Problem) -> Iterator[Row]:
        source = self._source(problem)
        reference = self._reference(problem, source)
        setting, theirs = peer.prepare(problem, source, self._folder)
        for gyre in opponents(peer):
            common = {
                "problem": problem, "cores": peer.cores, "peer": peer.name,
                "peer_runs_as": peer.what, "version": peer.version, "details": peer.details,
                "setting": setting}
            try:
                instructions, ours = gyre.outputs(problem, source, self._folder)
            except Refused as reason:
                say(f"gyre refuses {problem.arithmetic}: {reason}")
                seconds = [peer.seconds() for _ in range(self._arguments.repeats)]
                error = reference.error(theirs)
                yield Row(
                    gyre="refused", instructions="none", gyre_seconds=[], peer_seconds=seconds,
                    gyre_error=0, peer_error=error, difference=0,
                    agrees=error <= problem.allowed_error, **common)
                return
            pairs = [
                (gyre.seconds(problem, source), peer.seconds())
                for _ in range(self._arguments.repeats)
            ]
            distance = apart(ours, theirs)
            errors = reference.error(ours), reference.error(theirs)
            yield Row(
                gyre=gyre.name, instructions=instructions,
                gyre_seconds=[pair[0] for pair in pairs],
                peer_seconds=[pair[1] for pair in pairs],
                gyre_error=errors[0], peer_error=errors[1], difference=distance,
                agrees=max(*errors, distance / 2) <= problem.allowed_error, **common)

    def _source(self, problem: Problem) -> Path:
        key = problem.head_dim, problem.arithmetic
        if key not in self._sources:
            path = self._folder / f"qkv-{problem.head_dim}-{problem.arithmetic}.safetensors"
            write_input(path, problem)
            self._sources[key] = path
        return self._sources[key]

    def _reference(self, problem: Problem, source: Path) -> Reference:
        if problem not in self._references:
            self._references[problem] = Reference(problem, source, CHECKED_ROWS)
        return self._references[problem]


def say(sentence: str) -> None:
    print(f"Launch/compare-peers: {sentence}", file=sys.stderr, flush=True)


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="gyre-peers-") as folder:
        try:
            result = Comparison(arguments, Path(folder)).run()
        except Failed as reason:
            say(str(reason))
            return 1
        except KeyboardInterrupt:
            return 130
    if result.rows or arguments.format == "json":
        print(result.formatted(arguments.format))
    for what, why in result.skipped:
        say(f"skipped {what}: {why}")
    if not result.rows:
        say("nothing could be compared.")
        return 1
    if not all(row.agrees for row in result.rows):
        say("some answers differ by more than what is allowed from what they should be.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
