"""Writes blocks.json beside it: random blocks of every format, and the numbers that they are.

    pip install gguf numpy
    python3 Tests/ModelsTests/blocks.py

The numbers are those of gguf.quants, which the project llama.cpp holds to its own C.
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# The places of numbers in half precision in a block: any bytes there, but no infinity or NaN.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
    "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "F16": [0], "BF16": [0],
    "F32": [2], "MXFP4": [],
}
COUNTS = {1: 64, 32: 6, 256: 2}

random = np.random.default_rng(20)
cases = []
for name, halves in HALVES.items():
    kind = GGMLQuantizationType[name]
    elements, width = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (COUNTS[elements], width), dtype=np.uint8)
    for place in halves:
        # The exponent's highest bits are in the second byte.
        high = blocks[:, place + 1]
        blocks[:, place + 1] = np.where(high & 0x7C == 0x7C, high & 0xBF, high)
    if name == "MXFP4":
        # Exponents: the least ones, which are no normal numbers, and up to where numbers are infinite.
        blocks[:, 0] = np.minimum(blocks[:, 0], 251)
        blocks[:3, 0] = [0, 1, 251]
    row = blocks.reshape(1, -1)
    if name == "F32":
        numbers = row.view(np.float32)
    elif name == "F16":
        numbers = row.view(np.float16).astype(np.float32)
    else:
        numbers = dequantize(row, kind)
    assert np.isfinite(numbers).all(), name
    cases.append({
        "format": name, "bytes": blocks.tobytes().hex(),
        "numbers": numbers.astype("<f4").tobytes().hex()})
Path(__file__).with_name("blocks.json").write_text(
    "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
