"""The problems that every contestant solves, and the answer in double precision."""

import math
import random
from array import array
from dataclasses import dataclass
from operator import mul
from pathlib import Path

import tensorfile

# Flops a visible pair and unit of head dim, for each pass that there is.
FLOPS = {"forward": 4, "backward": 10}

# The tensors that each pass makes, all [1, tokens, heads, headDim].
OUTPUTS = {"forward": ("o",), "backward": ("dq", "dk", "dv")}

# The largest error against double precision, and half the largest difference of two contestants,
# that still counts as the same answer; as a fraction of 1 + the tensor's largest number.
# Numbers of bf16 have eight bits: weights and results are rounded to one part in 512.
ALLOWED_ERROR = {
    "f32": {"forward": 5e-6, "backward": 1e-4},
    "bf16": {"forward": 1e-2, "backward": 3e-2},
}

# What a score or a mask may be beside plain or causal; sizes of both, in the words of gyre.
WINDOW, SOFT_CAP, DOCUMENTS = 1024, 50.0, 16
OPTIONS = {
    "plain": [], "window": ["--window", str(WINDOW)], "documents": ["--cu-seqlens"],
    "alibi": ["--alibi"], "softcap": ["--softcap", str(SOFT_CAP)],
}

Outputs = dict[str, array]


def alibi_slopes(heads: int) -> list[float]:
    """The published slopes: a geometric sequence, and every other one of the next between them."""
    power = 1 << heads.bit_length() - 1
    between = [2 ** (-8 * (head + 1) / (2 * power)) for head in range(0, 2 * power, 2)]
    return ([2 ** (-8 * (head + 1) / power) for head in range(power)] + between)[:heads]


def document_starts(tokens: int) -> list[int]:
    """Where documents of random lengths begin, and where the last one ends."""
    source = random.Random(tokens)
    count = min(DOCUMENTS, tokens)
    return [0, *sorted(source.sample(range(1, tokens), count - 1)), tokens]


@dataclass(frozen=True)
class Problem:
    """One attention problem, of one sequence."""

    attention_pass: str
    tokens: int
    heads: int
    head_dim: int
    causal: bool
    arithmetic: str = "f32"
    variant: str = "plain"

    @property
    def flops(self) -> int:
        """Useful work: visible pairs only."""
        pairs = sum(len(self.visible(query)) for query in range(self.tokens))
        return FLOPS[self.attention_pass] * self.head_dim * self.heads * pairs

    @property
    def outputs(self) -> tuple[str, ...]:
        return OUTPUTS[self.attention_pass]

    @property
    def allowed_error(self) -> float:
        return ALLOWED_ERROR[self.arithmetic][self.attention_pass]

    @property
    def mask(self) -> str:
        plain = "causal" if self.causal else "full"
        return plain if self.variant == "plain" else f"{plain}, {self.variant}"

    def visible(self, query: int) -> range:
        """The keys that a query sees."""
        start, end = 0, self.tokens
        if self.variant == "documents":
            starts = document_starts(self.tokens)
            after = next(index for index, start in enumerate(starts) if start > query)
            start, end = starts[after - 1], starts[after]
        if self.variant == "window":
            start, end = max(0, query - WINDOW + 1), min(self.tokens, query + WINDOW)
        return range(start, min(end, query + 1) if self.causal else end)

    def changed(self, score: float, distance: int, head: int) -> float:
        """What becomes of a scaled score."""
        if self.variant == "alibi":
            return score - alibi_slopes(self.heads)[head] * distance
        return SOFT_CAP * math.tanh(score / SOFT_CAP) if self.variant == "softcap" else score


def write_input(path: Path, problem: Problem) -> None:
    """Writes standard-normal q, k, v and do [1, tokens, heads, headDim], the same on every call.

    For bf16 arithmetic they are numbers of that type, so that all contestants start from the same.
    """
    source = random.Random(problem.head_dim)
    shape = [1, problem.tokens, problem.heads, problem.head_dim]
    count = math.prod(shape)

    def numbers() -> array:
        values = array("f", (source.gauss(0, 1) for _ in range(count)))
        return tensorfile.rounded_to_bf16(values) if problem.arithmetic == "bf16" else values

    starts = array("i", document_starts(problem.tokens))
    tensorfile.write(
        path, {name: (shape, numbers()) for name in ("q", "k", "v", "do")}
        | {"cu_seqlens": ([len(starts)], starts)})


class Reference:
    """Rows of o or dq in double precision, each straight from the definition.

    A row of dk or dv would take all rows of the problem: these are only compared with each other.
    """

    def __init__(self, problem: Problem, path: Path, rows: int) -> None:
        step = max(1, (problem.tokens - 1) // max(1, rows - 1))
        self.positions = sorted({*range(0, problem.tokens, step), problem.tokens - 1})
        self._width = problem.heads * problem.head_dim
        self._rows = self._compute(problem, path)

    def error(self, outputs: Outputs) -> float:
        """The largest error in these rows, as a fraction of 1 + the tensor's largest number."""
        output = next(iter(outputs.values()))
        return max(
            difference(output[position * self._width:(position + 1) * self._width], row)
            for position, row in zip(self.positions, self._rows)
        ) / (1 + max(map(abs, output)))

    def _compute(self, problem: Problem, path: Path) -> list[list[float]]:
        q, k, v, do = (tensorfile.read(path, name)[1] for name in ("q", "k", "v", "do"))
        rows: list[list[float]] = [[] for _ in self.positions]
        for head in range(problem.heads):
            start, width, dim = head * problem.head_dim, self._width, problem.head_dim
            keys = [k[at:at + dim] for at in range(start, len(k), width)]
            values = [v[at:at + dim] for at in range(start, len(v), width)]
            backward = problem.attention_pass == "backward"
            columns = [(k if backward else v)[start + column::width] for column in range(dim)]
            for position, row in zip(self.positions, rows):
                seen = problem.visible(position)
                part = slice(seen.start, seen.stop)
                at = position * width + start
                scores = [
                    problem.changed(
                        sum(map(mul, q[at:at + dim], keys[index])) / math.sqrt(dim),
                        abs(position - index), head)
                    for index in seen
                ]
                largest = max(scores)
                weights = [math.exp(score - largest) for score in scores]
                total = math.fsum(weights)
                if backward:
                    slopes = [sum(map(mul, do[at:at + dim], value)) for value in values[part]]
                    mean = math.fsum(map(mul, weights, slopes)) / total
                    weights = [
                        weight * (slope - mean) / math.sqrt(dim)
                        for weight, slope in zip(weights, slopes)
                    ]
                row += [
                    math.fsum(map(mul, weights, column[part])) / total for column in columns]
        return rows


def apart(first: Outputs, second: Outputs) -> float:
    """The largest difference of two contestants, over 1 + the largest number of the tensor."""
    return max(
        difference(one, second[name]) / (1 + max(map(abs, second[name])))
        for name, one in first.items()
    )


def difference(first: array | list[float], second: array | list[float]) -> float:
    """The largest difference of two tensors; infinite if either has a number that is not finite."""
    if len(first) != len(second):
        return math.inf
    differences = [abs(one - other) for one, other in zip(first, second)]
    return max(differences) if math.isfinite(sum(differences)) else math.inf
