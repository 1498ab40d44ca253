"""The measurements, and the ways of printing them."""

import json
import os
import platform
import subprocess
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from contestants import ROOT
from problem import Problem

FORMATS = ("text", "markdown", "json")

COLUMNS = (
    "type", "pass", "mask", "head dim", "cores", "Gyre", "GFLOP/s", "spread", "peer", "as",
    "GFLOP/s", "spread", "Gyre/peer", "apart", "errors")


@dataclass(frozen=True)
class Row:
    """Gyre and a peer on one problem; times are in the order in which they were taken.

    Gyre has none where it refuses the arithmetic."""

    problem: Problem
    cores: int
    gyre: str
    instructions: str
    peer: str
    peer_runs_as: str
    version: str
    details: str
    setting: str
    gyre_seconds: list[float]
    peer_seconds: list[float]
    gyre_error: float
    peer_error: float
    difference: float
    agrees: bool

    @property
    def ratios(self) -> list[float]:
        """How many times as fast Gyre is, in each pair of runs."""
        return [peer / gyre for gyre, peer in zip(self.gyre_seconds, self.peer_seconds)]

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    def rate(self, seconds: list[float]) -> float | None:
        return self.problem.flops / median(seconds) if seconds else None

    @property
    def cells(self) -> list[str]:
        mark = "" if self.agrees else " DISAGREES"
        ours = bool(self.gyre_seconds)
        return [
            self.problem.arithmetic, self.problem.attention_pass, self.problem.mask,
            str(self.problem.head_dim), str(self.cores), self.gyre,
            *self._speed(self.gyre_seconds), self.peer, self.peer_runs_as,
            *self._speed(self.peer_seconds), f"{self.ratio:.2f}" if ours else "",
            (f"{self.difference:.1e}" if ours else "") + mark,
            (f"{self.gyre_error:.1e} " if ours else "") + f"{self.peer_error:.1e}"]

    def _speed(self, seconds: list[float]) -> list[str]:
        if not seconds:
            return ["", ""]
        return [three_digits(self.problem.flops / median(seconds) / 1e9), f"{spread(seconds):.1%}"]

    @property
    def json(self) -> dict:
        return {
            "arithmetic": self.problem.arithmetic, "gyreInstructions": self.instructions,
            "pass": self.problem.attention_pass, "causal": self.problem.causal,
            "variant": self.problem.variant,
            "headDim": self.problem.head_dim, "tokens": self.problem.tokens,
            "heads": self.problem.heads, "cores": self.cores, "gyre": self.gyre,
            "peer": self.peer, "peerRunsAs": self.peer_runs_as, "peerVersion": self.version,
            "peerDetails": self.details, "peerSetting": self.setting,
            "gyreSeconds": self.gyre_seconds, "peerSeconds": self.peer_seconds,
            "gyreFlopsPerSecond": self.rate(self.gyre_seconds),
            "peerFlopsPerSecond": self.rate(self.peer_seconds),
            "gyreSpread": spread(self.gyre_seconds), "peerSpread": spread(self.peer_seconds),
            "ratio": self.ratio, "ratioSpread": spread(self.ratios),
            "gyreError": self.gyre_error, "peerError": self.peer_error,
            "largestDifference": self.difference, "agrees": self.agrees}


@dataclass
class Report:
    """All rows, where they were measured, and what could not be."""

    environment: dict
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def here(cls, gyre: str, skipped: list[list[str]]) -> "Report":
        environment = {
            "date": date.today().isoformat(), "processor": processor(),
            "cores": len(os.sched_getaffinity(0)), "gyre": gyre.replace("COMMIT", commit()),
            "python": platform.python_version()}
        return cls(environment, skipped=[(name, reason) for name, reason in skipped])

    def skip(self, what: str, reason: str) -> None:
        self.skipped.append((what, reason))

    def formatted(self, form: str) -> str:
        if form == "json":
            return json.dumps({
                "environment": self.environment,
                "results": [row.json for row in self.rows],
                "skipped": [{"what": what, "reason": why} for what, why in self.skipped]})
        table = [list(COLUMNS), *(row.cells for row in self.rows)]
        body = markdown(table) if form == "markdown" else aligned(table)
        return "\n".join([self._heading, "", body, "", *self._settings(form)]).rstrip()

    @property
    def _heading(self) -> str:
        place = self.environment
        size = ""
        if self.rows:
            problem, repeats = self.rows[0].problem, len(self.rows[0].peer_seconds)
            size = (f"; {problem.tokens:,} tokens, {problem.heads} heads, medians of "
                    f"{repeats} alternating runs")
        return (f"{place['date']}, {place['processor']}, {place['cores']} cores; Gyre "
                f"{place['gyre']}{size}.")

    def _settings(self, form: str) -> list[str]:
        """What each peer is and how it was set up, a line each."""
        settings: dict[str, list[str]] = {}
        for row in self.rows:
            kind = f"{row.peer} {row.version} ({row.details})"
            used = settings.setdefault(kind, [])
            if row.setting not in used:
                used.append(row.setting)
        mark = "- " if form == "markdown" else ""
        return [
            f"{mark}Gyre's instructions: {self._instructions()}",
            *(f"{mark}{kind}: {', '.join(used)}" for kind, used in settings.items())]

    def _instructions(self) -> str:
        used = dict.fromkeys(
            (row.instructions, row.problem.arithmetic) for row in self.rows if row.gyre_seconds)
        return ", ".join(f"{name} ({kind})" for name, kind in used) or "none"


def spread(values: list[float]) -> float:
    """From the first to the third quartile, as a fraction of the median."""
    if not values:
        return 0
    ordered = sorted(values)
    return (ordered[len(ordered) * 3 // 4] - ordered[len(ordered) // 4]) / median(ordered)


def three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths)).rstrip()
        for row in table)


def markdown(table: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit() -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
            capture_output=True, text=True)
    except OSError:
        return "unknown commit"
    return done.stdout.strip() or "unknown commit"
