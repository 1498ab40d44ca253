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

Outputs = dict[str, array]


@dataclass(frozen=True)
class Problem:
    """One attention problem, of one sequence."""

    attention_pass: str
    tokens: int
    heads: int
    head_dim: int
    causal: bool
    arithmetic: str = "f32"

    @property
    def flops(self) -> int:
        """Useful work: visible pairs only."""
        pairs = self.tokens * (self.tokens + 1) // 2 if self.causal else self.tokens**2
        return FLOPS[self.attention_pass] * self.head_dim * self.heads * pairs

    @property
    def outputs(self) -> tuple[str, ...]:
        return OUTPUTS[self.attention_pass]

    @property
    def allowed_error(self) -> float:
        return ALLOWED_ERROR[self.arithmetic][self.attention_pass]

    @property
    def mask(self) -> str:
        return "causal" if self.causal else "full"


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

    tensorfile.write(path, {name: (shape, numbers()) for name in ("q", "k", "v", "do")})


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
                visible = position + 1 if problem.causal else problem.tokens
                at = position * width + start
                scores = [sum(map(mul, q[at:at + dim], key)) for key in keys[:visible]]
                largest = max(scores)
                weights = [math.exp((score - largest) / math.sqrt(dim)) for score in scores]
                total = math.fsum(weights)
                if backward:
                    slopes = [sum(map(mul, do[at:at + dim], value)) for value in values[:visible]]
                    mean = math.fsum(map(mul, weights, slopes)) / total
                    weights = [
                        weight * (slope - mean) / math.sqrt(dim)
                        for weight, slope in zip(weights, slopes)
                    ]
                row += [math.fsum(map(mul, weights, column)) / total for column in columns]
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
