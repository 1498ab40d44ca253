"""Arrays on both sides of the library: NumPy's, and torch's where there are any."""

import ctypes
import sys

import numpy as np

from ._library import Tensor, library

copies = 0
"""Inputs that were copied so far, since they were not contiguous F32."""


def is_torch(x):
    """Whether it is a tensor of torch; asks for no torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def name_of_type(x):
    """`float32`, `float16`, `bfloat16` or another, for both kinds of arrays."""
    return str(x.dtype).removeprefix("torch.")


def as_input(x):
    """The array as contiguous F32: itself where it is, or a copy."""
    global copies
    if is_torch(x):
        import torch

        x = x.detach()
        if x.dtype == torch.float32 and x.is_contiguous():
            return x
        copies += 1
        return x.to(torch.float32, memory_format=torch.contiguous_format).contiguous()
    if x.dtype == np.float32 and x.flags.c_contiguous and x.dtype.isnative:
        return x
    copies += 1
    return np.ascontiguousarray(x, dtype=np.float32)


def address(x):
    """Where its elements begin; None where there is no array."""
    if x is None:
        return None
    return x.data_ptr() if is_torch(x) else x.ctypes.data


class _Memory:
    """Memory of the library, which goes back with the last array that looks at it."""

    def __init__(self, tensor, shape):
        self._tensor = tensor
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f4",
            "data": (tensor.data, False),
        }

    def __del__(self):
        library.gyre_tensor_free(ctypes.byref(self._tensor))


def take(tensor, shape):
    """A NumPy array of what the library has made, without a copy."""
    shape = tuple(int(n) for n in shape)
    assert tensor.count == np.prod(shape, dtype=np.int64), (tensor.count, shape)
    return np.asarray(_Memory(tensor, shape))


def places(count):
    """Room for so many tensors of the library."""
    return [Tensor() for _ in range(count)]
