"""The functions of gyre.h, by ctypes."""

import ctypes
import os
import pathlib
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p

INTERFACE = 2


class Error(RuntimeError):
    """What Gyre refuses, or what has failed, in a sentence that says what to do.

    `shared` is true where all ranks have raised it.
    """

    def __init__(self, sentence, shared=False):
        super().__init__(sentence)
        self.shared = shared


class Attention(ctypes.Structure):
    """`gyre_attention`."""

    _fields_ = [
        ("interface", c_int32),
        ("causal", c_int32),
        ("batch", c_int64),
        ("tokens", c_int64),
        ("key_tokens", c_int64),
        ("query_heads", c_int64),
        ("kv_heads", c_int64),
        ("head_dim", c_int64),
        ("value_head_dim", c_int64),
        ("window", c_int64),
        ("window_dilation", c_int64),
        ("sinks", c_int64),
        ("segment_ids", c_void_p),
        ("key_segment_ids", c_void_p),
        ("alibi_slopes", c_void_p),
        ("learned_sinks", c_void_p),
        ("bias", c_void_p),
        ("bias_batch", c_int64),
        ("bias_heads", c_int64),
        ("bias_keys", c_int64),
        ("softcap", c_double),
        ("scale", c_double),
        ("layout", c_char_p),
        ("route", c_char_p),
        ("arithmetic", c_char_p),
        ("wire", c_char_p),
        ("reproducible", c_int32),
        ("branches", c_int32),
        ("segment_lengths", POINTER(c_int64)),
        ("dilation_rates", POINTER(c_int64)),
    ]


class Tensor(ctypes.Structure):
    """`gyre_tensor`."""

    _fields_ = [("data", c_void_p), ("count", c_int64), ("owner", c_void_p)]


class NamedTensor(ctypes.Structure):
    """`gyre_named_tensor`."""

    _fields_ = [
        ("name", c_char_p), ("data", c_void_p), ("sizes", 6 * c_int64), ("dimensions", c_int32),
        ("owner", c_void_p),
    ]


class Mixing(ctypes.Structure):
    """`gyre_mixing`."""

    _fields_ = [
        ("interface", c_int32), ("tensor_count", c_int32), ("tensors", POINTER(NamedTensor)),
        ("mixer", c_char_p), ("options", c_char_p), ("layout", c_char_p),
    ]


_FUNCTIONS = {
    "gyre_init": [c_int32],
    "gyre_rank": [],
    "gyre_size": [],
    "gyre_threads": [],
    "gyre_finalize": [c_int32],
    "gyre_error_is_shared": [],
    "gyre_agree": [c_char_p, c_char_p],
    "gyre_positions": [c_int64, c_char_p, c_int32, c_int32, c_void_p, POINTER(c_int64)],
    "gyre_attend": [POINTER(Attention), c_char_p] + 3 * [c_void_p] + 3 * [POINTER(Tensor)],
    "gyre_attend_backward": [POINTER(Attention), c_char_p]
    + 7 * [c_void_p]
    + 5 * [POINTER(Tensor)],
    "gyre_mix": [
        POINTER(Mixing), c_char_p, POINTER(NamedTensor), POINTER(c_int32), POINTER(Tensor),
    ],
    "gyre_mix_backward": [
        POINTER(Mixing), c_char_p, POINTER(Tensor), c_void_p, POINTER(Tensor),
    ],
    "gyre_sum_f32": [c_void_p, c_int64],
    "gyre_sum_f64": [c_void_p, c_int64],
    "gyre_all_gather": [c_void_p, c_void_p, POINTER(c_int64)],
    "gyre_release": [],
}


def _path():
    named = os.environ.get("GYRE_LIBRARY")
    path = pathlib.Path(named) if named else pathlib.Path(__file__).with_name("libgyre.so")
    if not path.is_file():
        raise ImportError(
            f"GYRE_LIBRARY names '{named}', which is no file; build it or unset GYRE_LIBRARY."
            if named
            else f"there is no '{path}'; install the package with pip install ./Python, or name a "
            "libgyre.so in GYRE_LIBRARY."
        )
    return str(path)


def _load():
    try:
        library = ctypes.CDLL(_path())
    except OSError as error:
        raise ImportError(
            f"{error}; libgyre needs Open MPI's libmpi.so.40 (apt-get install libopenmpi3)."
        ) from error
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = c_int32
    library.gyre_tensor_free.argtypes = [POINTER(Tensor)]
    library.gyre_tensor_free.restype = None
    library.gyre_named_tensor_free.argtypes = [POINTER(NamedTensor)]
    library.gyre_named_tensor_free.restype = None
    library.gyre_mixers.restype = c_char_p
    library.gyre_abort.argtypes = [c_int32, c_char_p]
    library.gyre_abort.restype = None
    library.gyre_connections.restype = c_int64
    library.gyre_error.restype = c_char_p
    library.gyre_version.restype = c_char_p
    return library


library = _load()


def check(status):
    """Raises what a function has failed of."""
    if status:
        sentence = library.gyre_error().decode(errors="replace")
        raise Error(sentence, bool(library.gyre_error_is_shared()))
