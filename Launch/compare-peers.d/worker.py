"""How a peer's process is spoken with: one JSON object a line, on standard input and output.

The first line out says what runs: {"version", "details"}. After that

    {"action": "prepare", "input", "output", "pass", "causal", ...}   ->  {"setting"}
    {"action": "measure"}                                             ->  {"seconds"}

and {"unable": sentence} where the peer cannot do what was asked.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

# Block sizes that are tried where a peer wants to be told one.
BLOCKS = (128, 256, 512, 1024, 2048)


class Unable(Exception):
    """What a peer cannot do, in a sentence."""


def blocks_of(tokens: int) -> list[int]:
    """The block sizes to try for so many tokens in one process."""
    return [block for block in BLOCKS if tokens % block == 0] or [tokens]


def share_of(tokens: int, processes: int) -> int:
    """How many tokens each of the processes holds, which has to come out even."""
    if tokens % processes:
        raise Unable(f"{tokens} tokens do not divide by {processes}, which it needs.")
    return tokens // processes


def timed(run: Callable[[], Any]) -> float:
    """The seconds of a run, right after one that is not counted."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def fastest(candidates: dict[str, Callable[[], Any]], time_of: Callable = timed) -> str:
    """The candidate with the best of two times."""
    times = {name: min(time_of(run), time_of(run)) for name, run in candidates.items()}
    return min(times, key=times.__getitem__)


def serve(introduction: dict, answer: Callable[[dict], dict]) -> None:
    """Answers requests until standard input ends."""
    # Whatever a library prints must not come between the answers.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(message: dict) -> None:
        print(json.dumps(message), file=replies, flush=True)

    reply(introduction)
    for line in sys.stdin:
        try:
            reply(answer(json.loads(line)))
        except Unable as reason:
            reply({"unable": str(reason)})
