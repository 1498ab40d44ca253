"""Operators of gyre.mix as they are defined, without a line of Gyre.

Each is written once for NumPy and for torch, whichever `xp` is, so that torch can differentiate it.
Tokens are the second dimension but for tensors that say otherwise.
"""

import math


def silu(xp, x):
    return x / (1 + xp.exp(-x))


def sigmoid(xp, x):
    return 1 / (1 + xp.exp(-x))


def relu(x):
    return x * (x > 0)


def grouped(xp, x, heads):
    """Heads of keys and values as often as query heads read them."""
    each = heads // x.shape[2]
    return x if each == 1 else xp.stack([x[:, :, h // each] for h in range(heads)], 2)


def attention_free(xp, k, v, w=None, q=None, causal=False, variant="full"):
    tokens, (kind, _, reach) = k.shape[1], variant.partition(":")
    reach = int(reach or 0)
    rows = []
    for i in range(tokens):
        scores = []
        for j in range(i + 1 if causal else tokens):
            bias = 0.0
            if kind == "full":
                bias = w[i, j]
            elif kind == "local" and abs(i - j) < reach:
                bias = w[i, j]
            elif kind == "conv" and abs(i - j) < reach:
                each = k.shape[2] // w.shape[0]
                bias = xp.stack([w[c // each, j - i + reach - 1] for c in range(k.shape[2])], 0)
            scores.append(k[:, j] + bias)
        weights = xp.exp(xp.stack(scores, 1))
        rows.append((weights * v[:, : len(scores)]).sum(1) / weights.sum(1))
    o = xp.stack(rows, 1)
    return [o if q is None else o * sigmoid(xp, q)]


def spread(xp, x, heads):
    """For each of the heads what it shares with its neighbours."""
    return xp.stack([x[:, :, i * x.shape[2] // heads] for i in range(heads)], 2)


def cosformer(xp, q, k, v, causal=False, length=None):
    k, v = (spread(xp, x, q.shape[2]) for x in (k, v))
    tokens = q.shape[1]
    length = length or tokens
    rows = []
    for i in range(tokens):
        s, total = 0.0, 0.0
        for j in range(i + 1 if causal else tokens):
            dot = (relu(q[:, i]) * relu(k[:, j])).sum(-1)
            weight = dot * math.cos(math.pi * (i - j) / (2 * length))
            total = total + weight
            s = s + weight[..., None] * v[:, j]
        small = total < 1e-6
        rows.append(s / (total * ~small + 1e-6 * small)[..., None])
    return [xp.stack(rows, 1)]


def deltanet(xp, q, k, v, beta, state=None, scale=None, chunk=None):
    del chunk
    scale = scale or 1 / math.sqrt(q.shape[3])
    s = 0 * k[:, 0, :, :, None] * v[:, 0, :, None] if state is None else state
    rows = []
    for t in range(q.shape[1]):
        read = (k[:, t, :, :, None] * s).sum(2)
        s = s + k[:, t, :, :, None] * (beta[:, t, :, None] * (v[:, t] - read))[:, :, None]
        rows.append(scale * (q[:, t, :, :, None] * s).sum(2))
    return [xp.stack(rows, 1), s]


def gated(xp, q, k, v, decay, u=None, state=None, scale=1.0):
    """decay: of a token, for what broadcasts to a state."""
    s = 0 * k[:, 0, :, :, None] * v[:, 0, :, None] if state is None else state
    rows = []
    for t in range(q.shape[1]):
        product = k[:, t, :, :, None] * v[:, t, :, None]
        before, s = s, xp.exp(decay(t)) * s + product
        seen = s if u is None else before + u[:, :, None] * product
        rows.append(scale * (q[:, t, :, :, None] * seen).sum(2))
    return [xp.stack(rows, 1), s]


def gla(xp, q, k, v, g, state=None, scale=None):
    scale = scale or 1 / math.sqrt(q.shape[3])
    k, v, g = (spread(xp, x, q.shape[2]) for x in (k, v, g))
    return gated(xp, q, k, v, lambda t: g[:, t, :, :, None], None, state, scale)


def mamba2(xp, q, k, v, g, state=None, scale=None):
    q, k = (spread(xp, x, v.shape[2]) for x in (q, k))
    return gated(xp, q, k, v, lambda t: g[:, t, :, None, None], None, state, scale or 1.0)


def rwkv5(xp, r, k, v, w, u, state=None):
    return gated(xp, r, k, v, lambda t: w[None, :, :, None], u, state)


def rwkv6(xp, r, k, v, w, u, state=None):
    return gated(xp, r, k, v, lambda t: w[:, t, :, :, None], u, state)


def infonce(xp, z, c, W, steps=None, temperature=None):
    losses = []
    for step in range(steps or W.shape[0]):
        count = z.shape[1] - step - 1
        predicted = xp.einsum("ij,stj->sti", W[step], c[:, :count])
        scores = xp.einsum("snd,std->stn", z, predicted) / (temperature or 1)
        right = xp.einsum("std,std->st", z[:, step + 1 :], predicted) / (temperature or 1)
        losses.append((xp.log(xp.exp(scores).sum(-1)) - right).mean())
    return [xp.stack(losses, 0)]


def led(xp, x, e, d, bias=None):
    del xp
    return [x @ e @ d + (0 if bias is None else bias)]


def linformer(xp, q, k, v, e, f, scale=None):
    scale = scale or 1 / math.sqrt(q.shape[3])
    heads = k.shape[2]
    own = [xp.stack(heads * [x], 0) if len(x.shape) == 2 else x for x in (e, f)]
    keys = xp.einsum("hnr,bnhd->brhd", own[0], k)
    values = xp.einsum("hnr,bnhd->brhd", own[1], v)
    keys, values = (grouped(xp, x, q.shape[2]) for x in (keys, values))
    weights = xp.exp(scale * xp.einsum("bnhd,brhd->bhnr", q, keys))
    sums = weights.sum(-1)
    o = xp.einsum("bhnr,brhd->bnhd", weights / sums[..., None], values)
    return [o, xp.log(sums)]


def mamba(xp, x, delta, a, b, c, d, z=None, delta_bias=None, conv_weight=None, conv_bias=None,
          state=None, conv_state=None, softplus=False):
    tokens, u, last = x.shape[1], x, None
    if conv_weight is not None:
        width = conv_weight.shape[1]
        before = [0 * x[:, 0]] * (width - 1)
        if conv_state is not None:
            before = [conv_state[:, :, i] for i in range(width - 1)]
        rows = before + [x[:, t] for t in range(tokens)]
        u = xp.stack([
            silu(xp, sum(conv_weight[:, i] * rows[t + i] for i in range(width))
                 + (0 if conv_bias is None else conv_bias)) for t in range(tokens)
        ], 1)
        last = xp.stack(rows[tokens:], 2)
    step = delta if delta_bias is None else delta + delta_bias
    if softplus:
        step = xp.log1p(xp.exp(step))
    h = 0 * x[:, 0, :, None] * a if state is None else state
    rows = []
    for t in range(tokens):
        s = step[:, t, :, None]
        h = xp.exp(s * a) * h + s * b[:, t, None] * u[:, t, :, None]
        y = (c[:, t, None] * h).sum(-1) + d * u[:, t]
        rows.append(y if z is None else y * silu(xp, z[:, t]))
    return [xp.stack(rows, 1), h] + ([] if last is None else [last])


def relu_attention(xp, q, k, v, gamma=None, causal=False, normalize=None, scale=None):
    tokens, heads = q.shape[1], q.shape[2]
    scale = scale or 1 / math.sqrt(q.shape[3])
    k, v = grouped(xp, k, heads), grouped(xp, v, heads)
    rows = []
    for i in range(tokens):
        seen = i + 1 if causal else tokens
        weights = relu(scale * xp.einsum("bhd,bnhd->bhn", q[:, i], k[:, :seen]))
        divisor = math.sqrt(seen / 2) if normalize == "visible" else tokens
        o = xp.einsum("bhn,bnhd->bhd", weights, v[:, :seen]) / divisor
        rows.append(o if gamma is None else o / gamma[:, None])
    return [xp.stack(rows, 1)]


def rwkv4(xp, k, v, w, u, r=None, state=None):
    p, s = (0 * k[:, 0], 0 * k[:, 0])
    if state is not None:
        p, s = (state[:, :, i] * xp.exp(state[:, :, 2]) for i in (0, 1))
    rows = []
    for t in range(k.shape[1]):
        own = xp.exp(u + k[:, t])
        rows.append((p + own * v[:, t]) / (s + own))
        key = xp.exp(k[:, t])
        p, s = xp.exp(w) * p + key * v[:, t], xp.exp(w) * s + key
    o = xp.stack(rows, 1)
    # The state is told without its exponent, which is only how it is written.
    return [o if r is None else o * sigmoid(xp, r), xp.stack([p, s], 2)]


def sima(xp, q, k, v):
    k, v = grouped(xp, k, q.shape[2]), grouped(xp, v, q.shape[2])
    q, k = (x / abs(x).sum(1)[:, None] for x in (q, k))
    return [xp.einsum("bnhd,bmhd,bmhc->bnhc", q, k, v)]


def soft(xp, q, v, landmarks=None, newton=None, normalized=False):
    tokens, d = q.shape[1], q.shape[3]
    m = landmarks or min(64, tokens)
    own = [[t for t in range(tokens) if t * m // tokens == i] for i in range(m)]
    middles = xp.stack([q[:, rows[0] : rows[-1] + 1].mean(1) for rows in own], 1)

    def kernel(x, y):
        return xp.exp(-((x[:, :, None] - y[:, None]) ** 2).sum(-1) / (2 * math.sqrt(d)))

    heads = []
    for h in range(q.shape[2]):
        between, near = kernel(middles[:, :, h], middles[:, :, h]), kernel(q[:, :, h], middles[:, :, h])
        sums = between.sum(-1)
        top = xp.stack([row.max() for row in sums], 0)[:, None, None]
        one = xp.eye(m, dtype=q.dtype)
        inverse = 1.8 / top**2 * (between + 0.01 * one)
        for _ in range(newton or 20):
            inverse = 2 * inverse - inverse @ (between + 0.01 * one) @ inverse
        if normalized:
            inverse = inverse / (sums[:, :, None] * sums[:, None]) ** 0.5
        heads.append(near @ (inverse @ (near.swapaxes(1, 2) @ v[:, :, h])))
    return [xp.stack(heads, 2)]


FORMULAS = {
    "aft": attention_free, "cosformer": cosformer, "deltanet": deltanet, "gla": gla,
    "infonce": infonce, "led": led, "linformer": linformer, "mamba": mamba, "mamba2": mamba2,
    "relu": relu_attention, "rwkv4": rwkv4, "rwkv5": rwkv5, "rwkv6": rwkv6, "sima": sima,
    "soft": soft,
}

SIZES = {
    "batch": 2, "sequences": 2, "heads": 4, "kvHeads": 2, "groups": 2, "headDim": 8, "valueHeadDim": 12,
    "channels": 12, "state": 4, "width": 4, "before": 3, "three": 3, "in": 10, "out": 9, "dim": 7,
    "steps": 3, "rank": 5,
}
"""What dimensions have, but tokens."""

FILLINGS = {
    "a": lambda x: -abs(x) - 0.1, "g": lambda x: -abs(x) / 4, "delta": lambda x: abs(x) / 4 + 0.01,
    "beta": lambda x: 1 / (1 + 2**-x), "gamma": lambda x: abs(x) + 0.5,
    "W": lambda x: x / 4, "conv_weight": lambda x: x / 2,
}
"""What normal numbers become for tensors of these names; gates of rwkv are told apart by theirs."""


CASES = [
    ("aft", "k v w q", {}, "zigzag"),
    ("aft", "k v w", {"causal": True}, "striped"),
    ("aft", "k v", {"variant": "simple", "causal": True}, "contiguous"),
    ("aft", "k v w q", {"variant": "local:5"}, "contiguous"),
    ("aft", "k v w", {"variant": "conv:4", "causal": True}, "contiguous"),
    ("cosformer", "q k v", {"causal": True, "length": 400}, "contiguous"),
    ("cosformer", "q k v", {}, "zigzag"),
    ("deltanet", "q k v beta state", {"chunk": 16}, "contiguous"),
    ("deltanet", "q k v beta", {"scale": 0.5}, "contiguous"),
    ("gla", "q k v g state", {}, "contiguous"),
    ("gla", "q k v g", {"scale": 0.3}, "contiguous"),
    ("infonce", "z c W", {"steps": 2, "temperature": 2.0}, "zigzag"),
    ("led", "x e d bias", {}, "striped"),
    ("linformer", "q k v e f", {}, "zigzag"),
    ("mamba", "x delta a b c d", {}, "contiguous"),
    ("mamba", "x delta a b c d z delta_bias conv_weight conv_bias state conv_state",
     {"softplus": True}, "contiguous"),
    ("mamba2", "q k v g state", {}, "contiguous"),
    ("relu", "q k v gamma", {"causal": True, "normalize": "visible"}, "zigzag"),
    ("relu", "q k v", {"scale": 0.4}, "striped"),
    ("rwkv4", "k v w u r state", {}, "contiguous"),
    ("rwkv4", "k v w u", {}, "contiguous"),
    ("rwkv5", "r k v w u state", {}, "contiguous"),
    ("rwkv6", "r k v w u", {}, "contiguous"),
    ("sima", "q k v", {}, "zigzag"),
    ("soft", "q v", {"landmarks": 6, "newton": 12, "normalized": True}, "zigzag"),
    ("soft", "q v", {"landmarks": 4, "newton": 6}, "striped"),
]
"""Operators, the tensors that there are, options and layouts."""


def shapes(operator, names, options, tokens):
    """The whole shapes of tensors, and which dimension is that of tokens, by name.

    operator: as gyre.mix has it.
    """
    sizes = SIZES | {"tokens": tokens, "keys": tokens, "window": 0}
    if "conv:" in options.get("variant", ""):
        sizes["window"] = int(options["variant"][5:])
    found = {}
    for name in names.split():
        dimensions = operator.tensors[name]["dimensions"][0]
        if options.get("variant", "").startswith("conv") and name == "w":
            dimensions = ["heads", "window"]
        axis = dimensions.index("tokens") if "tokens" in dimensions else None
        found[name] = ([sizes[x] for x in dimensions], axis)
    return found


def filled(operator, name, x):
    """Normal numbers as the operator needs them."""
    if name == "w" and operator.startswith("rwkv"):
        return -abs(x) / 4
    if (operator, name) == ("deltanet", "k"):
        # Rows longer than the root of 2 would let the state grow without an end.
        return x / 4
    if (operator, name) == ("rwkv4", "state"):
        # A sum of weights is positive.
        return abs(x)
    return FILLINGS.get(name, lambda x: x)(x)
