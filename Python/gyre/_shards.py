"""Which rank holds which tokens, and moving whole tensors between ranks."""

import ctypes

import numpy as np

from . import _arrays, _job
from ._library import Error, check, library


def positions(tokens, layout="zigzag", rank=None, reproducible=False):
    """The positions of the rows that a rank holds, in the order of its rows.

    tokens: of the whole sequence.
    layout: zigzag, contiguous or striped, as attention() is told.
    rank: None is this one.
    reproducible: as attention() is told; shards are cut at multiples of 768 then.
    """
    count = ctypes.c_int64()
    arguments = (
        int(tokens), layout.encode(), int(reproducible), _job.rank() if rank is None else rank,
    )
    check(library.gyre_positions(*arguments, None, ctypes.byref(count)))
    held = np.empty(count.value, dtype=np.int64)
    check(library.gyre_positions(*arguments, held.ctypes.data, ctypes.byref(count)))
    return held


def shard(x, dim=1, layout="zigzag", reproducible=False):
    """This rank's rows of a tensor that is whole on all ranks; torch's gradients go through."""
    held = positions(x.shape[dim], layout, reproducible=reproducible)
    if _arrays.is_torch(x):
        import torch

        return x.index_select(dim, torch.from_numpy(held).to(x.device))
    return np.take(x, held, axis=dim)


def gather(x, dim=1, layout="zigzag", reproducible=False):
    """The whole tensor, on all ranks, of which each has its rows; all ranks call it.

    It has no gradient.
    """
    is_torch = _arrays.is_torch(x)
    own, kind = x, None
    if is_torch:
        import torch

        # Bytes are moved, and NumPy need not know what they are, as of BF16.
        own, kind = x.detach().movedim(dim, 0).contiguous(), x.dtype
        tail = tuple(own.shape[1:])
        own = own.reshape(own.shape[0], -1).view(torch.uint8).numpy() if own.numel() else None
        width = int(np.prod(tail, dtype=np.int64)) * x.element_size()
    else:
        own = np.ascontiguousarray(np.moveaxis(x, dim, 0))
        tail = own.shape[1:]
        width = int(np.prod(tail, dtype=np.int64)) * x.itemsize
    held = int(x.shape[dim])
    lengths = np.array([held], dtype=np.float64)
    check(library.gyre_sum_f64(lengths.ctypes.data, 1))
    tokens = int(lengths[0])
    places = [
        positions(tokens, layout, rank, reproducible) for rank in range(_job.size())
    ]
    expected = len(places[_job.rank()])
    complaint = None
    if held != expected:
        complaint = (
            f"there are {held} rows here, and the layout {layout} of {tokens} tokens on "
            f"{_job.size()} ranks gives {expected}; cut sequences with gyre.shard."
        )
    _job.agree(complaint, f"gathers rows of {width} bytes")
    counts = (ctypes.c_int64 * len(places))(*(len(place) * width for place in places))
    raw = np.empty((tokens, width), dtype=np.uint8)
    empty = np.empty(1, dtype=np.uint8)
    check(
        library.gyre_all_gather(
            (empty if own is None or own.size == 0 else own).ctypes.data,
            (raw if raw.size else empty).ctypes.data,
            counts,
        )
    )
    whole = np.empty_like(raw)
    whole[np.concatenate(places)] = raw
    if is_torch:
        whole = torch.from_numpy(whole).view(kind) if tokens * width else x.new_empty(0)
        return whole.reshape((tokens,) + tail).movedim(0, dim)
    return np.moveaxis(whole.view(x.dtype).reshape((tokens,) + tail), 0, dim)


def all_reduce(x):
    """Adds an array of F32 or F64 up over all ranks, in place, and returns it; all ranks call it."""
    data = x.detach() if _arrays.is_torch(x) else x
    contiguous = data.is_contiguous() if _arrays.is_torch(x) else data.flags.c_contiguous
    kind = _arrays.name_of_type(x)
    if kind not in ("float32", "float64") or not contiguous:
        raise Error(f"all_reduce takes contiguous float32 or float64, and this is {kind}.")
    function = library.gyre_sum_f32 if kind == "float32" else library.gyre_sum_f64
    count = data.numel() if _arrays.is_torch(x) else data.size
    check(function(_arrays.address(data), count))
    return x
