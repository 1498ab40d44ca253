"""Reads and writes .safetensors files of 32-bit numbers, with the standard library alone."""

import json
import struct
import sys
from array import array
from pathlib import Path

Shape = list[int]


def write(path: Path, tensors: dict[str, tuple[Shape, array]]) -> None:
    """Writes tensors of 32-bit floats or whole numbers, each with its shape, in C order."""
    header: dict[str, dict] = {}
    offset = 0
    for name, (shape, values) in tensors.items():
        end = offset + 4 * len(values)
        kind = "F32" if values.typecode == "f" else "I32"
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            file.write(_little_endian(values).tobytes())


def read(path: Path, name: str) -> tuple[Shape, array]:
    """One tensor of 32-bit floats or whole numbers and its shape."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        kind = {"F32": "f", "I32": "i"}.get(entry["dtype"])
        if kind is None:
            raise ValueError(f"{name} in {path} is {entry['dtype']}, not F32 or I32.")
        start, end = entry["data_offsets"]
        file.seek(8 + length + start)
        values = array(kind, file.read(end - start))
    return entry["shape"], _little_endian(values)


def rounded_to_bf16(values: array) -> array:
    """The nearest numbers with eight bits, ties to even; all are finite."""
    bits = array("I", values.tobytes())
    rounded = array("I", ((bit + 0x7FFF + (bit >> 16 & 1)) & 0xFFFF0000 for bit in bits))
    return array("f", rounded.tobytes())


def _little_endian(values: array) -> array:
    if sys.byteorder == "little":
        return values
    swapped = array(values.typecode, values)
    swapped.byteswap()
    return swapped
