"""Writes decoders.json beside it: small models of every architecture, and what transformers says of them.

    pip install torch transformers
    python3 Tests/ModelsTests/decoders.py

It has the configurations as transformers saves them, names and shapes of the tensors with the factor and
the offset of their numbers (see Launch/compare-models.d/small_models.py), and the logits of the last tokens.
"""

import json
import sys
from pathlib import Path

# In place of this folder, whose tokenizers.py is not the package of that name.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "Launch/compare-models.d")
import small_models

ROWS = 4


def saved(value):
    """As transformers saves it: infinity has no word in JSON."""
    if isinstance(value, (list, tuple)):
        return [saved(element) for element in value]
    return {"__float__": "Infinity"} if value == float("inf") else value


cases = []
for name, configuration in small_models.configurations():
    model = small_models.model_of(name, configuration)
    logits = small_models.logits_of(model, small_models.TOKENS)
    tensors = [
        {"name": tensor.name, "shape": list(tensor.shape), "scale": tensor.scale, "offset": tensor.offset}
        | ({} if tensor.dtype == "F32" else {"dtype": tensor.dtype})
        for tensors, _, _ in small_models.tensors_of(name, model) for tensor in tensors]
    config = {key: saved(value) for key, value in configuration.to_dict().items()}
    cases.append({
        "name": name, "config": config | {"dtype": "float32"}, "tensors": tensors,
        "largest": float(abs(logits).max()), "logits": logits[-ROWS:].astype("<f4").tobytes().hex()})
Path(__file__).with_name("decoders.json").write_text(
    json.dumps({"tokens": small_models.TOKENS, "vocabulary": small_models.VOCABULARY}, default=str)[:-1]
    + ', "cases": [\n' + ",\n".join(json.dumps(case, default=str) for case in cases) + "\n]}\n")
