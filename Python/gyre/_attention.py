"""Attention over shards."""

import ctypes
import dataclasses

import numpy as np

from . import _arrays
from ._library import INTERFACE, Attention, check, library


@dataclasses.dataclass(frozen=True)
class Options:
    """What is the same on all ranks, and no array."""

    causal: bool = True
    window: int | None = None
    sinks: int = 0
    softcap: float = 0.0
    scale: float | None = None
    layout: str = "zigzag"
    route: str = "auto"
    arithmetic: str = "f32"
    reproducible: bool = False
    segment_lengths: tuple = ()
    dilation_rates: tuple = ()

    def complaint(self):
        """What is wrong with the types of options; None if nothing is."""
        kinds = {
            "causal": bool, "window": (int, type(None)), "sinks": int, "softcap": (int, float),
            "scale": (int, float, type(None)), "layout": str, "route": str, "arithmetic": str,
            "reproducible": bool,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                return f"{name} is {value!r}; see help(gyre.attention)."
        if not all(isinstance(x, int) for x in (*self.segment_lengths, *self.dilation_rates)):
            return "segment_lengths and dilation_rates are whole numbers."
        if len(self.segment_lengths) != len(self.dilation_rates):
            return "there are not as many segment_lengths as dilation_rates; give pairs."
        return f"sinks is {self.sinks}; give 0 or more." if self.sinks < 0 else None


def _complaint(q, k, v, arrays):
    """What is wrong with the arrays; None if nothing is."""
    for name, x in [("q", q), ("k", k), ("v", v)]:
        if complaint := _arrays.complaint(name, x):
            return complaint
        if len(x.shape) != 4:
            return (
                f"{name} has the shape {list(x.shape)}; give [batch, tokens, heads, head_dim], the "
                "tokens of this rank."
            )
    qs, ks, vs = list(q.shape), list(k.shape), list(v.shape)
    if not qs[0] == ks[0] == vs[0]:
        return f"the batch sizes differ (q {qs}, k {ks}, v {vs})."
    if ks[1:3] != vs[1:3]:
        return f"k and v have different tokens or heads (k {ks}, v {vs})."
    if qs[3] != ks[3]:
        return f"the head dims of q and k differ (q {qs}, k {ks})."
    needed = {
        "segment_ids": [qs[0], qs[1]],
        "key_segment_ids": [ks[0], ks[1]],
        "alibi_slopes": [qs[2]],
        "the output's gradient": [qs[0], qs[1], qs[2], vs[3]],
    }
    for name, x in arrays.items():
        if x is not None and list(x.shape) != needed[name]:
            return f"{name} has the shape {list(x.shape)}; give {needed[name]}."
    return None


def _wire(k, v):
    """What loses nothing of the keys and values; None is what the arithmetic takes."""
    kinds = {_arrays.name_of_type(k), _arrays.name_of_type(v)}
    return {"float16": b"f16", "bfloat16": b"bf16"}.get(kinds.pop()) if len(kinds) == 1 else None


def _integers(x):
    if x is None:
        return None
    if _arrays.is_torch(x):
        x = x.detach().numpy()
    return np.ascontiguousarray(x, dtype=np.int32)


def _describe(options, q, k, v, segment_ids, key_segment_ids, slopes):
    """The structure of gyre.h, and the arrays that have to live as long as it."""
    qs, vs = q.shape, v.shape
    lengths = np.asarray(options.segment_lengths, dtype=np.int64)
    rates = np.asarray(options.dilation_rates, dtype=np.int64)
    pointer = ctypes.POINTER(ctypes.c_int64)
    dilated = len(lengths) > 0
    asked = Attention(
        interface=INTERFACE,
        causal=int(options.causal),
        batch=qs[0],
        tokens=qs[1],
        key_tokens=vs[1],
        query_heads=qs[2],
        kv_heads=vs[2],
        head_dim=qs[3],
        value_head_dim=vs[3],
        # A window of 0 is not none.
        window=0 if options.window is None else int(options.window) or -1,
        sinks=int(options.sinks),
        segment_ids=_arrays.address(segment_ids),
        key_segment_ids=_arrays.address(key_segment_ids),
        alibi_slopes=_arrays.address(slopes),
        softcap=float(options.softcap or 0),
        scale=0.0 if options.scale is None else float(options.scale),
        layout=options.layout.encode(),
        route=options.route.encode(),
        arithmetic=options.arithmetic.encode(),
        wire=None if dilated else _wire(k, v),
        reproducible=int(options.reproducible),
        branches=len(lengths),
        segment_lengths=lengths.ctypes.data_as(pointer),
        dilation_rates=rates.ctypes.data_as(pointer),
    )
    return asked, (lengths, rates, segment_ids, key_segment_ids, slopes)


def _prepare(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, gradient=None):
    """Describes a pass; never raises, since all ranks have to hear of it."""
    try:
        complaint = options.complaint() or _complaint(
            q,
            k,
            v,
            {
                "segment_ids": segment_ids,
                "key_segment_ids": key_segment_ids,
                "alibi_slopes": alibi_slopes,
                "the output's gradient": gradient,
            },
        )
        if complaint is None:
            slopes = None if alibi_slopes is None else _arrays.as_input(alibi_slopes)
            asked, kept = _describe(
                options, q, k, v, _integers(segment_ids), _integers(key_segment_ids), slopes
            )
            return asked, kept, [_arrays.as_input(x) for x in (q, k, v)], None
    except Exception as error:  # noqa: BLE001  # whatever it is, the others wait
        complaint = f"{type(error).__name__}: {error}"
    return None, None, [None, None, None], complaint.encode()


def forward(options, q, k, v, segment_ids=None, key_segment_ids=None, alibi_slopes=None):
    """NumPy arrays of o, lse, and what rounding took from lse."""
    asked, kept, inputs, complaint = _prepare(
        options, q, k, v, segment_ids, key_segment_ids, alibi_slopes
    )
    made = _arrays.places(3)
    check(library.gyre_attend(asked, complaint, *map(_arrays.address, inputs), *made))
    del kept
    rows = (q.shape[0], q.shape[2], q.shape[1])
    shapes = [(q.shape[0], q.shape[1], q.shape[2], v.shape[3]), rows, rows]
    return [_arrays.take(tensor, shape) for tensor, shape in zip(made, shapes)]


def backward(
    options, gradient, q, k, v, o, lse, rest, segment_ids=None, key_segment_ids=None,
    alibi_slopes=None,
):
    """NumPy arrays of dq, dk and dv."""
    asked, kept, inputs, complaint = _prepare(
        options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, gradient
    )
    if complaint is None:
        inputs += [_arrays.as_input(x) for x in (o, lse, rest, gradient)]
    else:
        inputs += 4 * [None]
    made = _arrays.places(3)
    check(library.gyre_attend_backward(asked, complaint, *map(_arrays.address, inputs), *made))
    del kept
    return [_arrays.take(tensor, x.shape) for tensor, x in zip(made, (q, k, v))]


def attention(
    q, k, v, causal=True, window=None, sinks=0, segment_ids=None, alibi_slopes=None, softcap=0.0,
    scale=None, layout="zigzag", route="auto", arithmetic="f32", reproducible=False,
    return_lse=False, key_segment_ids=None,
):
    """Attention of this rank's queries to the keys of all ranks; all ranks call it.

    q, k, v: this rank's rows, `[batch, tokens, heads, head_dim]`, of NumPy or torch, F32, F16 or
        BF16; k and v may have fewer heads. Contiguous F32 is used in place. Tensors of torch that
        require gradients get them.
    causal: a query sees the keys up to its own position, aligned at the end.
    window: it sees so many keys, itself among them; without causal as many after it too.
    sinks: the first so many keys are seen whatever the window hides.
    segment_ids: `[batch, tokens]` of this rank: a query sees the keys of its own segment.
    key_segment_ids: those of the keys, where queries are other tokens.
    alibi_slopes: `[heads]`: a slope times the distance is taken from each score.
    softcap: X: a scaled score s becomes X tanh(s / X).
    scale: multiplies q·k; None is 1/√head_dim.
    layout: which rank holds which tokens: zigzag, contiguous or striped; that of shard().
    route: what travels where: auto, ring, shared, hierarchical, allgather, query or heads.
    arithmetic: f32, or bf16 on processors with AVX-512 BF16.
    reproducible: the same bits for every number of ranks and threads.
    return_lse: gives `(o, lse)`, lse `[batch, heads, tokens]`, without a gradient.

    Returns o, `[batch, tokens, heads, value_head_dim]`, of the type of q. Raises gyre.Error on all
    ranks.
    """
    options = Options(
        causal, window, sinks, softcap, scale, layout, route, arithmetic, reproducible
    )
    return _run(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, return_lse)


def dilated_attention(
    q, k, v, segment_lengths, dilation_rates, causal=True, scale=None, layout="zigzag",
    return_lse=False,
):
    """LongNet's dilated attention, exact over ranks; arguments as of attention().

    segment_lengths, dilation_rates: a pair for each branch: the sequence is cut into segments, and
        of each every so many-th row attends to every such row.
    """
    options = Options(
        causal=causal, scale=scale, layout=layout, segment_lengths=tuple(segment_lengths),
        dilation_rates=tuple(dilation_rates),
    )
    return _run(options, q, k, v, None, None, None, return_lse)


def attention_vjp(q, k, v, segment_ids=None, key_segment_ids=None, alibi_slopes=None, **options):
    """o, and the function that makes `(dq, dk, dv)` of the gradient of o; for NumPy.

    The options are those of attention(), or segment_lengths and dilation_rates.
    """
    arrays = (segment_ids, key_segment_ids, alibi_slopes)
    options = Options(**options)
    o, lse, rest = forward(options, q, k, v, *arrays)

    def gradients(gradient):
        return tuple(backward(options, gradient, q, k, v, o, lse, rest, *arrays))

    return o, gradients


def _run(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, return_lse):
    if any(map(_arrays.is_torch, (q, k, v))):
        from . import _torch

        return _torch.run(
            options, q, k, v, segment_ids, key_segment_ids, alibi_slopes, return_lse
        )
    o, lse, _ = forward(options, q, k, v, segment_ids, key_segment_ids, alibi_slopes)
    o = _arrays.like(o, q)
    return (o, lse) if return_lse else o
