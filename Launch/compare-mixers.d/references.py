"""What computes the operators of gyre mix in PyTorch: functions of the official packages, taken out
of their archives so that nothing else of them has to run, and formulas of papers without a package.

Every function takes tensors by the names and in the layout of gyre mix, and returns what the first
output is.
"""

import ast
import io
import math
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

Tensors = dict[str, torch.Tensor]


def source(folder: Path, archive: str, path: str) -> str:
    """A file of an archive, whose name begins with some words."""
    name = next(file for file in folder.iterdir() if file.name.startswith(archive))
    if name.suffix == ".whl":
        return zipfile.ZipFile(name).read(path).decode()
    with tarfile.open(name) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith("/" + path))
        return io.TextIOWrapper(tar.extractfile(member)).read()


def function(text: str, name: str, module: dict | None = None) -> Callable:
    """One function of a source text, compiled by itself."""
    tree = ast.parse(text)
    found = next(
        node for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == name)
    found.decorator_list = []
    space = {"torch": torch, "F": F, "rearrange": rearrange, "repeat": repeat} | (module or {})
    exec(compile(ast.Module([found], []), name, "exec"), space)
    return space[name]


class References:
    """All that is compared with, by operator: what it is called, and the function."""

    def __init__(self, archives: Path) -> None:
        mamba = function(
            source(archives, "mamba_ssm", "mamba_ssm/ops/selective_scan_interface.py"),
            "selective_scan_ref")
        fla = {
            name: function(source(archives, "fla_core", f"fla/ops/{path}"), name)
            for path, name in [
                ("gla/naive.py", "naive_recurrent_gla"),
                ("simple_gla/naive.py", "naive_chunk_simple_gla"),
                ("rwkv6/recurrent_naive.py", "naive_recurrent_rwkv6"),
            ]
        }
        rwkv = function(source(archives, "rwkv-", "rwkv/model.py"), "att_seq", {
            "matmul": lambda a, b, *_, output_dtype=None: a if b is None else b})

        def of_mamba(x: Tensors) -> torch.Tensor:
            turned = {name: x[name].transpose(1, 2) for name in ("x", "delta", "b", "c", "z")}
            return mamba(
                turned["x"], turned["delta"], x["a"], turned["b"], turned["c"], x["d"],
                turned["z"], delta_softplus=True).transpose(1, 2)

        def of_rwkv6(x: Tensors) -> torch.Tensor:
            r, k, v = (x[name].transpose(1, 2) for name in ("r", "k", "v"))
            w = x["w"]
            w = w.transpose(1, 2) if w.dim() == 4 else w[None, :, None].expand_as(k)
            return fla["naive_recurrent_rwkv6"](r, k, v, w, x["u"], scale=1.0)[0].transpose(1, 2)

        self.all: dict[str, tuple[str, Callable[[Tensors], torch.Tensor], bool]] = {
            "mamba": ("mamba-ssm's selective_scan_ref", of_mamba, True),
            "mamba2": (
                "fla's naive_chunk_simple_gla",
                lambda x: fla["naive_chunk_simple_gla"](
                    x["q"], x["k"], x["v"], x["g"], scale=1.0)[0], True),
            "gla": (
                "fla's naive_recurrent_gla",
                lambda x: fla["naive_recurrent_gla"](x["q"], x["k"], x["v"], x["g"])[0], True),
            "rwkv4": ("rwkv's att_seq", lambda x: rwkv_mixing(rwkv, x), False),
            "rwkv5": ("fla's naive_recurrent_rwkv6", of_rwkv6, True),
            "rwkv6": ("fla's naive_recurrent_rwkv6", of_rwkv6, True),
            "sima": ("the paper's formula", sima, True),
            "cosformer": ("the paper's formula", cosformer, True),
            "linformer": ("the paper's formula", linformer, True),
            "led": ("the paper's formula", lambda x: x["x"] @ x["e"] @ x["d"], True),
        }


def rwkv_mixing(att_seq: Callable, x: Tensors) -> torch.Tensor:
    """The package's layer with its products taken out, of which three give keys, values and
    receptances: what is left is the mean that it takes of values, and an input of zeros."""
    k, v, r = (x[name][0] for name in ("k", "v", "r"))
    nothing, one, zero = torch.zeros_like(k), torch.ones(k.shape[1]), torch.zeros(k.shape[1])
    return att_seq(
        None, nothing, zero, zero, zero, zero - 1e38, one, zero, one, one, one, x["w"], x["u"],
        k, v, r, None, *[None] * 16)[0][None]


def sima(x: Tensors) -> torch.Tensor:
    """Queries and keys by the sums of their magnitudes over tokens; o = q̂ (k̂ᵀ v)."""
    q, k, v = (x[name].transpose(1, 2) for name in "qkv")
    q, k = F.normalize(q, p=1, dim=2), F.normalize(k, p=1, dim=2)
    return (q @ (k.transpose(2, 3) @ v)).transpose(1, 2)


def cosformer(x: Tensors) -> torch.Tensor:
    """Without a mask, as two products of twice as many columns."""
    q, k, v = (x[name].transpose(1, 2) for name in "qkv")
    tokens = q.shape[2]
    angle = math.pi / 2 * torch.arange(1, tokens + 1) / tokens
    sine, cosine = angle.sin()[:, None], angle.cos()[:, None]
    q, k = F.relu(q), F.relu(k)
    q = torch.cat([q * sine, q * cosine], -1)
    k = torch.cat([k * sine, k * cosine], -1)
    sums = (q @ k.sum(2)[..., None]).clamp_min(1e-6)
    return (q @ (k.transpose(2, 3) @ v) / sums).transpose(1, 2)


def linformer(x: Tensors) -> torch.Tensor:
    """Attention over projected keys and values."""
    q, k, v = (x[name].transpose(1, 2) for name in "qkv")
    keys, values = x["e"].T @ k, x["f"].T @ v
    return F.scaled_dot_product_attention(q, keys, values).transpose(1, 2)


def threads(count: int) -> None:
    """Computes with so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
