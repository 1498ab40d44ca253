"""What this host is, and what this gyre can be asked for."""

import os
import platform
import re
import subprocess
from pathlib import Path

FLAGS = (
    "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile", "amx_bf16",
    "amx_fp16", "avx512_fp16", "avx_vnni", "asimd", "sve", "bf16")


def describe() -> dict:
    """Processor, cores, memory, NUMA nodes and the instructions that matter here."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    present = flags.group(1).split() if flags else []
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    nodes = list(Path("/sys/devices/system/node").glob("node[0-9]*"))
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    return {
        "processor": name.group(1) if name else platform.machine(),
        "cores": len(os.sched_getaffinity(0)), "numaNodes": max(1, len(nodes)),
        "memoryBytes": int(memory.group(1)) * 1024 if memory else 0,
        "siblingsOfFirst": siblings.read_text().strip() if siblings.exists() else "",
        "instructions": [flag for flag in FLAGS if flag in present],
        "kernel": platform.release(),
        "load": os.getloadavg()[0]}


class Options:
    """What gyre's --help names."""

    def __init__(self, gyre: str) -> None:
        self.version = _said([gyre, "--version"]).strip()
        attend = _said([gyre, "attend", "--help"])
        # In ascending order, as they are listed; auto is one of them.
        listed = _values(attend, "instructions")
        self.instructions: list = [name for name in listed if name != "auto"] or [None]
        self.arithmetic = _values(attend, "arithmetic")
        self.automatic_threads = bool(re.search(r"--threads[^-]*\bauto\b", attend))
        self.copies = "--copies" in _said([gyre, "bench", "kernel", "--help"])


def _said(line: list) -> str:
    return subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def _values(text: str, option: str) -> list:
    """The values that an option's help lists, wherever its lines are broken."""
    start = re.search(rf"--{option}\b", text)
    if not start:
        return []
    rest = re.split(r"\n\s+(?=-)|\n\n", text[start.start():], maxsplit=1)[0]
    found = re.search(r"\(values:\s*([^);]*)", " ".join(rest.split()))
    if found:
        return [value.strip() for value in found.group(1).split(",")]
    known = ("avx2", "avx512", "avx512bf16", "amx") if option == "instructions" else ("f32", "bf16")
    return [value for value in known if re.search(rf"\b{value}\b", rest)]


def powers_of_two(most: int) -> list:
    """1, 2, 4 … up to a number, and that number."""
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == most else [*counts, most]


def first_cores(count: int) -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))
