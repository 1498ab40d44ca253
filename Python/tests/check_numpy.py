"""The door with NumPy alone; started under mpirun with any number of ranks."""

import sys

import check_mix
import numpy as np
import oracle

import gyre
from gyre import _arrays
from gyre._library import library

RANDOM = np.random.default_rng(7)


def normal(*shape):
    return RANDOM.standard_normal(shape, dtype=np.float32)


def close(name, found, expected, tolerance):
    """Compares what all ranks have found with the oracle, on rank 0."""
    if gyre.rank() > 0:
        return
    assert found.shape == expected.shape, (name, found.shape, expected.shape)
    assert np.array_equal(np.isfinite(expected), np.isfinite(found)), name
    finite = np.where(np.isfinite(expected), expected, 0)
    worst = np.abs(np.where(np.isfinite(expected), found, 0) - finite).max(initial=0)
    assert worst <= tolerance, f"{name}: {worst}"


def oracle_on_first(*arguments, **options):
    """The oracle's answer on rank 0; the others need none, and have their cores for it."""
    return oracle.attention(*arguments, **options) if gyre.rank() == 0 else 7 * (None,)


def cases(tokens):
    """Options, and the bias that says the same."""
    i, j = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
    causal = j <= i
    ids = np.sort(RANDOM.integers(0, 5, (2, tokens)), axis=1).astype(np.int32)
    slopes = np.array([0.5, 0.25, 0.125, 0.0625], dtype=np.float32)
    same = (ids[:, None, :, None] == ids[:, None, None, :])
    yield {"causal": True}, oracle.hidden(causal)
    yield {"causal": False, "layout": "contiguous", "route": "ring"}, 0.0
    yield {"causal": True, "layout": "striped"}, oracle.hidden(causal)
    yield {"causal": True, "window": 40, "sinks": 3}, oracle.hidden(
        causal & ((i - j < 40) | (j < 3))
    )
    yield {"causal": False, "window": 9}, oracle.hidden(abs(i - j) < 9)
    yield {"causal": True, "segment_ids": ids}, oracle.hidden(causal & same)
    yield {"causal": True, "alibi_slopes": slopes, "scale": 0.3}, oracle.hidden(
        causal
    ) - slopes[:, None, None] * abs(i - j)
    yield {"causal": True, "softcap": 2.0}, oracle.hidden(causal)
    sinks = np.array([1.0, -2.0, 0.5, 3.0], dtype=np.float32)
    yield {"causal": True, "learned_sinks": sinks, "window": 30}, oracle.hidden(
        causal & (i - j < 30)
    )
    for shape in ((2, 4), (1, 4), (2, 1), (1, 1)):
        bias = normal(*shape, tokens, tokens)
        options = {"bias": bias, "causal": shape[0] == 1, "layout": ("zigzag", "striped")[shape[1] > 1]}
        if shape == (1, 4):
            options |= {"learned_sinks": sinks, "softcap": 3.0, "route": "ring"}
        yield options, bias + (oracle.hidden(causal) if options["causal"] else 0.0)
    bias, far = normal(1, 4, tokens, tokens), i - j
    yield {"causal": True, "window": 9, "window_dilation": 3, "bias": bias}, bias + oracle.hidden(
        causal & (far % 3 == 0) & (far < 27)
    )
    yield {"causal": False, "window": 5, "window_dilation": 4, "segment_ids": ids,
           "layout": "contiguous"}, oracle.hidden((far % 4 == 0) & (abs(far) < 20) & same)
    yield {"segment_lengths": (64,), "dilation_rates": (1,), "causal": True}, oracle.hidden(
        causal & (i // 64 == j // 64)
    )


def check_passes(tokens):
    """Outputs, log-sum-exps and gradients, with blocks above 64 KiB and head dims that differ."""
    q, k, v, do = (normal(2, tokens, h, d) for h, d in [(4, 40), (2, 40), (2, 24), (4, 24)])
    for options, bias in cases(tokens):
        layout = options.get("layout", "zigzag")

        def own(x, dim=1):
            return gyre.shard(x, dim=dim, layout=layout)

        own_options = dict(options)
        if "segment_ids" in options:
            own_options["segment_ids"] = own(options["segment_ids"])
        if "bias" in options:
            own_options["bias"] = own(options["bias"], dim=2)
        o, gradients = gyre.attention_vjp(own(q), own(k), own(v), **own_options)
        # Once more, since what a pass leaves is not of the next one.
        gradients(own(do))
        dq, dk, dv, *others = gradients(own(do))
        found = [gyre.gather(x, layout=layout) for x in (o, dq, dk, dv)]
        words = {x: options[x] for x in ("scale", "softcap") if x in options}
        o, lse, *expected, dsinks, dbias = oracle_on_first(
            q, k, v, bias, gradient=do, sinks=options.get("learned_sinks"), **words
        )
        case = {x: y for x, y in options.items() if not isinstance(y, np.ndarray)}
        case |= {x: y.shape for x, y in options.items() if isinstance(y, np.ndarray)}
        for name, x, y in zip(("o", "dq", "dk", "dv"), found, (o, *expected)):
            close(f"{name} {case}", x, y, 1e-5 if name == "o" else 1e-4)
        if "learned_sinks" in options:
            close(f"dsinks {case}", gyre.all_reduce(others[0]), dsinks, 2e-4)
        if "bias" in options:
            shared = tuple(axis for axis in (0, 1) if options["bias"].shape[axis] == 1)
            expected = None if dbias is None else dbias.sum(axis=shared, keepdims=True)
            close(f"dbias {case}", gyre.gather(others[-1], dim=2, layout=layout), expected, 1e-4)
        if "segment_lengths" not in options:
            _, found = gyre.attention(own(q), own(k), own(v), return_lse=True, **own_options)
            close(f"lse {case}", gyre.gather(found, dim=2, layout=layout), lse, 1e-5)
    assert _arrays.copies == 0, f"{_arrays.copies} contiguous inputs were copied"


def check_changing_segments():
    """Other segments in each step, as of packed documents: the ranks stay connected."""
    tokens = 150
    q, do = normal(1, tokens, 2, 24), normal(1, tokens, 2, 24)
    i, j = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
    gyre.attention(*3 * [gyre.shard(q)], segment_ids=gyre.shard(np.zeros((1, tokens), np.int32)))
    before = library.gyre_connections()
    earlier = []
    for step in range(4):
        ids = np.sort(RANDOM.integers(0, 1 + 3 * step, (1, tokens)), axis=1).astype(np.int32)
        # The sinks are trained, too.
        sinks = normal(2)
        o, gradients = gyre.attention_vjp(
            *3 * [gyre.shard(q)], segment_ids=gyre.shard(ids), learned_sinks=sinks)
        same = ids[:, None, :, None] == ids[:, None, None, :]
        expected = oracle_on_first(
            q, q, q, oracle.hidden((j <= i) & same), sinks=sinks, gradient=do)
        close(f"o of step {step}", gyre.gather(o), expected[0], 1e-5)
        earlier.append((step, gradients, expected))
    for step, gradients, expected in reversed(earlier):
        found = gradients(gyre.shard(do))
        for name, x, y in zip(("dq", "dk", "dv"), found, expected[2:5]):
            close(f"{name} of step {step}", gyre.gather(x), y, 1e-4)
        close(f"dsinks of step {step}", gyre.all_reduce(found[3]), expected[5], 1e-4)
    assert library.gyre_connections() == before, "the ranks were connected anew"


def check_layers():
    """Gradients of an earlier pass, when other keys have come since, as in a model of layers."""
    first, second, do = (gyre.shard(normal(1, 90, 2, 16)) for _ in range(3))
    expected = gyre.attention_vjp(first, first, first)[1](do)
    gradients = gyre.attention_vjp(first, first, first)[1]
    gyre.attention(second, second, second)
    for name, x, y in zip(("dq", "dk", "dv"), gradients(do), expected):
        close(f"{name} of an earlier layer", gyre.gather(x), gyre.gather(y), 1e-6)


def check_types():
    """Half precision, and inputs that are not contiguous."""
    q, k, v = (normal(1, 50, 2, 16) for _ in range(3))
    halves = [gyre.shard(x.astype(np.float16)) for x in (q, k, v)]
    o = gyre.attention(*halves)
    assert o.dtype == np.float16
    causal = oracle.hidden(np.tri(50, dtype=bool))
    expected, *_ = oracle_on_first(*(x.astype(np.float16) for x in (q, k, v)), causal)
    close("f16", gyre.gather(o).astype(np.float32), expected, 2e-3)
    before = _arrays.copies
    turned = [np.asfortranarray(gyre.shard(x)) for x in (q, k, v)]
    expected, *_ = oracle_on_first(q, k, v, causal)
    close("not contiguous", gyre.gather(gyre.attention(*turned)), expected, 1e-5)
    if gyre.size() == 1:
        assert _arrays.copies == before + 3


def check_shards():
    """Cutting and putting together, along any dimension, with more ranks than tokens too."""
    for layout in ("zigzag", "contiguous", "striped"):
        for tokens in (0, 1, 3, 101):
            held = np.concatenate([gyre.positions(tokens, layout, r) for r in range(gyre.size())])
            assert np.array_equal(np.sort(held), np.arange(tokens)), (layout, tokens)
            x = RANDOM.integers(0, 99, (3, tokens, 2)).astype(np.int16)
            assert np.array_equal(gyre.gather(gyre.shard(x, layout=layout), layout=layout), x)
    x = normal(4, 3, 55)
    assert np.array_equal(gyre.gather(gyre.shard(x, dim=2), dim=2), x)
    held = gyre.positions(5000, reproducible=True)
    assert len(held) == 0 or held[0] % 768 == 0
    sums = np.full(3, gyre.rank(), dtype=np.float64)
    assert gyre.all_reduce(sums)[0] == gyre.size() * (gyre.size() - 1) / 2


def refused(words, function, *arguments, **options):
    """An error that all ranks raise, with these words in its sentence."""
    try:
        function(*arguments, **options)
    except gyre.Error as error:
        assert error.shared and words in str(error), (words, str(error))
    else:
        raise AssertionError(f"nothing is refused; expected: {words}")


def check_refusals():
    """What one rank does wrong is an exception on all."""
    last = gyre.rank() == gyre.size() - 1
    q, k, v = (gyre.shard(normal(1, 64, 2, 16)) for _ in range(3))
    refused("head dims of q and k", gyre.attention, q[..., :7] if last else q, k, v)
    refused("give [batch, tokens", gyre.attention, q[0] if last else q, k, v)
    refused("float64", gyre.attention, q.astype(np.float64) if last else q, k, v)
    refused("is list", gyre.attention, q.tolist() if last else q, k, v)
    refused("give one of", gyre.attention, q, k, v, layout="spiral" if last else "zigzag")
    refused("route is", gyre.attention, q, k, v, route="pigeon")
    refused("window is", gyre.attention, q, k, v, window=0)
    refused("give window", gyre.attention, q, k, v, sinks=2)
    refused("give window", gyre.attention, q, k, v, window_dilation=2)
    refused("window_dilation is", gyre.attention, q, k, v, window=3, window_dilation=0)
    refused("softcap", gyre.attention, q, k, v, softcap=-1.0)
    refused("segment_ids has", gyre.attention, q, k, v, segment_ids=np.zeros((1, 7)))
    refused("do not divide", gyre.attention, q, *(x.repeat(3, 2)[:, :, :3] for x in (k, v)))
    refused("scale is", gyre.attention, q, k, v, scale="large" if last else 0.1)
    bias = np.zeros((1, 1, q.shape[1], 64), dtype=np.float32)
    hidden = np.full_like(bias, -np.inf) if last else bias
    refused("give finite numbers", gyre.attention, q, k, v, bias=hidden)
    refused("a column for each", gyre.attention, q, k, v, bias=bias[..., :63])
    refused("bias has the shape", gyre.attention, q, k, v, bias=bias[0] if last else bias)
    refused("bias is of", gyre.attention, q, k, v, bias=bias.repeat(3, 1))
    refused("leave bias out", gyre.attention, q, k, v, bias=bias, route="query")
    refused("learned_sinks has", gyre.attention, q, k, v, learned_sinks=np.zeros(3, np.float32))
    refused("no finite number", gyre.attention, q, k, v, learned_sinks=np.array([0, np.nan]))
    refused("route is", gyre.attention, q, k, v, route="mesh:2")
    if gyre.size() > 1:
        longer = np.concatenate([q, q], axis=1) if last else q
        refused("rows of q", gyre.attention, longer, k, v)
        refused("cut sequences", gyre.gather, longer)
        refused("different things", gyre.attention, q, k, v, scale=0.1 if last else 0.2)
        refused("different things", *([gyre.release] if last else [gyre.attention, q, k, v]))
    o = gyre.attention(q, k, v)
    assert np.isfinite(o).all(), "the job goes on after what was refused"


def check_memory():
    """Problems of many kinds in turn, and many passes of one, take no more and more memory."""
    whole = normal(1, 600, 2, 32)
    x, y = gyre.shard(whole), gyre.shard(whole, layout="contiguous")

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    def passes(count):
        for number in range(count):
            _, gradients = gyre.attention_vjp(x, x, x, window=1 + number % 7)
            gradients(x)
            _, gradients = gyre.mix.vjp(gyre.mix.sima, y, y, y)
            gradients(y)

    passes(14)
    before = resident()
    passes(28)
    grown = resident() - before
    # A pass that kept its six results would have kept 28 times 6 tensors.
    limit = max(8 << 20, 28 * 6 * x.nbytes // 8)
    assert grown < limit, f"{grown} bytes more after 28 steps"


gyre.init(threads=1)
check_shards()
# Blocks of a rank are above 64 KiB, and nothing divides.
check_passes(max(151, 67 * gyre.size() + 4))
check_changing_segments()
check_layers()
check_types()
check_refusals()
check_mix.check_numpy(61, RANDOM)
check_mix.check_refusals(refused, RANDOM)
check_memory()
gyre.release()
if gyre.rank() == 0:
    print(f"numpy {gyre.size()}: passed")
sys.stdout.flush()
