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


def complaint(name, x):
    """What is wrong with an array whatever its shape; None if nothing is."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return f"{name} is {type(x).__name__}; give an array of NumPy or a tensor of torch."
    if name_of_type(x) not in ("float32", "float16", "bfloat16"):
        return f"{name} is {name_of_type(x)}; give float32, float16 or bfloat16."
    if is_torch(x) and x.device.type != "cpu":
        return f"{name} is on {x.device}; move it to the CPU."
    return None


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

    def __init__(self, tensor, shape, free):
        self._tensor, self._free = tensor, free
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "<f4",
            "data": (tensor.data, False),
        }

    def __del__(self):
        self._free(ctypes.byref(self._tensor))


def take(tensor, shape):
    """A NumPy array of what the library has made, without a copy."""
    shape = tuple(int(n) for n in shape)
    assert tensor.count == np.prod(shape, dtype=np.int64), (tensor.count, shape)
    return np.asarray(_Memory(tensor, shape, library.gyre_tensor_free))


def take_named(tensor):
    """A NumPy array of an output with a name, without a copy."""
    shape = tuple(tensor.sizes[: tensor.dimensions])
    return np.asarray(_Memory(tensor, shape, library.gyre_named_tensor_free))


def like(array, x):
    """As the type of x, where that is one of NumPy's."""
    return array if array.dtype == x.dtype else array.astype(x.dtype)


def places(count):
    """Room for so many tensors of the library."""
    return [Tensor() for _ in range(count)]
