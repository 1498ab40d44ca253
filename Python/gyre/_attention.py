"""Attention over shards."""

import ctypes
import dataclasses
import typing

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
    window_dilation: int = 1

    def complaint(self):
        """What is wrong with the types of options; None if nothing is."""
        kinds = {
            "causal": bool, "window": (int, type(None)), "sinks": int, "softcap": (int, float),
            "scale": (int, float, type(None)), "layout": str, "route": str, "arithmetic": str,
            "reproducible": bool, "window_dilation": int,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                return f"{name} is {value!r}; see help(gyre.attention)."
        if not all(isinstance(x, int) for x in (*self.segment_lengths, *self.dilation_rates)):
            return "segment_lengths and dilation_rates are whole numbers."
        if len(self.segment_lengths) != len(self.dilation_rates):
            return "there are not as many segment_lengths as dilation_rates; give pairs."
        if self.window_dilation < 1:
            return f"window_dilation is {self.window_dilation}; give 1 or more."
        return f"sinks is {self.sinks}; give 0 or more." if self.sinks < 0 else None


class Extras(typing.NamedTuple):
    """Arrays beside q, k and v, each None where there is none."""

    segment_ids: typing.Any = None
    key_segment_ids: typing.Any = None
    alibi_slopes: typing.Any = None
    learned_sinks: typing.Any = None
    bias: typing.Any = None

    def complaint(self, q, k, gradient, v):
        """What is wrong with their shapes; None if nothing is."""
        qs, ks = list(q.shape), list(k.shape)
        needed = {
            "segment_ids": (self.segment_ids, [qs[0], qs[1]]),
            "key_segment_ids": (self.key_segment_ids, [ks[0], ks[1]]),
            "alibi_slopes": (self.alibi_slopes, [qs[2]]),
            "learned_sinks": (self.learned_sinks, [qs[2]]),
            "the output's gradient": (gradient, [qs[0], qs[1], qs[2], v.shape[3]]),
        }
        for name, (x, shape) in needed.items():
            if x is not None and list(x.shape) != shape:
                return f"{name} has the shape {list(x.shape)}; give {shape}."
        if self.bias is not None:
            if len(self.bias.shape) != 4 or self.bias.shape[2] != qs[1]:
                return (
                    f"bias has the shape {list(self.bias.shape)}; give [batch or 1, heads or 1, "
                    f"{qs[1]} tokens of this rank, keys of all ranks]."
                )
            return _arrays.complaint("bias", self.bias)
        return None


def _complaint(q, k, v):
    """What is wrong with q, k and v; None if nothing is."""
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


def _describe(options, q, k, v, extras):
    """The structure of gyre.h, and the arrays that have to live as long as it."""
    qs, vs = q.shape, v.shape
    lengths = np.asarray(options.segment_lengths, dtype=np.int64)
    rates = np.asarray(options.dilation_rates, dtype=np.int64)
    pointer = ctypes.POINTER(ctypes.c_int64)
    dilated = len(lengths) > 0
    extras = Extras(
        *map(_integers, extras[:2]),
        *(None if x is None else _arrays.as_input(x) for x in extras[2:]),
    )
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
        window_dilation=int(options.window_dilation),
        sinks=int(options.sinks),
        **{name: _arrays.address(x) for name, x in extras._asdict().items()},
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
    if extras.bias is not None:
        asked.bias_batch, asked.bias_heads, _, asked.bias_keys = extras.bias.shape
    return asked, (lengths, rates, extras)


def _prepare(options, q, k, v, extras, gradient=None):
    """Describes a pass; never raises, since all ranks have to hear of it."""
    try:
        complaint = (
            options.complaint() or _complaint(q, k, v) or extras.complaint(q, k, gradient, v)
        )
        if complaint is None:
            asked, kept = _describe(options, q, k, v, extras)
            return asked, kept, [_arrays.as_input(x) for x in (q, k, v)], None
    except Exception as error:  # noqa: BLE001  # whatever it is, the others wait
        complaint = f"{type(error).__name__}: {error}"
    return None, None, [None, None, None], complaint.encode()


def forward(options, q, k, v, extras=Extras()):
    """NumPy arrays of o, lse, and what rounding took from lse."""
    asked, kept, inputs, complaint = _prepare(options, q, k, v, extras)
    made = _arrays.places(3)
    check(library.gyre_attend(asked, complaint, *map(_arrays.address, inputs), *made))
    del kept
    rows = (q.shape[0], q.shape[2], q.shape[1])
    shapes = [(q.shape[0], q.shape[1], q.shape[2], v.shape[3]), rows, rows]
    return [_arrays.take(tensor, shape) for tensor, shape in zip(made, shapes)]


def backward(options, gradient, q, k, v, o, lse, rest, extras=Extras()):
    """NumPy arrays of dq, dk and dv, then those of learned sinks and of the bias, if there are any."""
    asked, kept, inputs, complaint = _prepare(options, q, k, v, extras, gradient)
    if complaint is None:
        inputs += [_arrays.as_input(x) for x in (o, lse, rest, gradient)]
    else:
        inputs += 4 * [None]
    made = _arrays.places(5)
    check(library.gyre_attend_backward(asked, complaint, *map(_arrays.address, inputs), *made))
    del kept
    places = zip(made, (q, k, v, extras.learned_sinks, extras.bias))
    return [_arrays.take(tensor, x.shape) for tensor, x in places if x is not None]


def attention(
    q, k, v, causal=True, window=None, sinks=0, segment_ids=None, alibi_slopes=None, softcap=0.0,
    scale=None, layout="zigzag", route="auto", arithmetic="f32", reproducible=False,
    return_lse=False, key_segment_ids=None, learned_sinks=None, bias=None,
    window_dilation=1,
):
    """Attention of this rank's queries to the keys of all ranks; all ranks call it.

    q, k, v: this rank's rows, `[batch, tokens, heads, head_dim]`, of NumPy or torch, F32, F16 or
        BF16; k and v may have fewer heads. Contiguous F32 is used in place. Tensors of torch that
        require gradients get them.
    causal: a query sees the keys up to its own position, aligned at the end.
    window: it sees so many keys, itself among them; without causal as many after it too.
    window_dilation: those keys are so far apart; rows are then copied in and out.
    sinks: the first so many keys are seen whatever the window hides.
    segment_ids: `[batch, tokens]` of this rank: a query sees the keys of its own segment.
    key_segment_ids: those of the keys, where queries are other tokens.
    learned_sinks: `[heads]`: a logit more in the softmax of each row, which no value belongs to;
        the same on all ranks. Its gradients add up over the ranks.
    bias: `[batch or 1, heads or 1, tokens, keys of all ranks]`, finite, of this rank's queries: is
        added to the scores. The keys are in the order of their positions; it has gradients.
    alibi_slopes: `[heads]`: a slope times the distance is taken from each score.
    softcap: X: a scaled score s becomes X tanh(s / X).
    scale: multiplies q·k; None is 1/√head_dim.
    layout: which rank holds which tokens: zigzag, contiguous or striped; that of shard().
    route: what travels where: auto, ring, shared, hierarchical, allgather, query, heads or
        mesh:HxR, where each H ranks share heads and blocks travel in rings of R.
    arithmetic: f32, or bf16 on processors with AVX-512 BF16.
    reproducible: the same bits for every number of ranks and threads.
    return_lse: gives `(o, lse)`, lse `[batch, heads, tokens]`, without a gradient.

    Returns o, `[batch, tokens, heads, value_head_dim]`, of the type of q. Raises gyre.Error on all
    ranks.
    """
    options = Options(
        causal, window, sinks, softcap, scale, layout, route, arithmetic, reproducible,
        window_dilation=window_dilation,
    )
    extras = Extras(segment_ids, key_segment_ids, alibi_slopes, learned_sinks, bias)
    return _run(options, q, k, v, extras, return_lse)


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
    return _run(options, q, k, v, Extras(), return_lse)


def attention_vjp(
    q, k, v, segment_ids=None, key_segment_ids=None, alibi_slopes=None, learned_sinks=None,
    bias=None, **options,
):
    """o, and the function that makes `(dq, dk, dv)` of the gradient of o; for NumPy.

    Gradients of learned_sinks and bias follow where they are given. The options are those of
    attention(), or segment_lengths and dilation_rates.
    """
    extras = Extras(segment_ids, key_segment_ids, alibi_slopes, learned_sinks, bias)
    options = Options(**options)
    o, lse, rest = forward(options, q, k, v, extras)

    def gradients(gradient):
        return tuple(backward(options, gradient, q, k, v, o, lse, rest, extras))

    return o, gradients


def _run(options, q, k, v, extras, return_lse):
    if any(map(_arrays.is_torch, (q, k, v))):
        from . import _torch

        return _torch.run(options, q, k, v, extras, return_lse)
    o, lse, _ = forward(options, q, k, v, extras)
    o = _arrays.like(o, q)
    return (o, lse) if return_lse else o
