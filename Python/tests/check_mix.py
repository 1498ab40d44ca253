"""Operators over shards beside their definitions, with NumPy and with torch; for the scripts that start
the job."""

import numpy as np
import oracle_mix

import gyre
from gyre import _arrays


def case_inputs(case, tokens, random):
    """The whole tensors of a case, in double precision, and how each is cut."""
    name, names, options, layout = case
    operator = gyre.mix.OPERATORS[name]
    tensors, cuts = {}, {}
    for tensor, (shape, axis) in oracle_mix.shapes(operator, names, options, tokens).items():
        x = oracle_mix.filled(name, tensor, random.standard_normal(shape))
        tensors[tensor] = x.astype(np.float32).astype(np.float64)
        cuts[tensor] = axis
    return tensors, cuts


def cut(x, axis, layout):
    """This rank's part of a tensor."""
    return x if axis is None else gyre.shard(x, dim=axis, layout=layout)


def whole(x, axis, layout):
    """A gradient put together, or added up where all ranks have the tensor."""
    if axis is None:
        return gyre.all_reduce(x.copy() if isinstance(x, np.ndarray) else x.clone())
    return gyre.gather(x, dim=axis, layout=layout)


def axis_of(dimensions):
    return dimensions.index("tokens") if "tokens" in dimensions else None


def close(name, found, expected, tolerance):
    """Compares on all ranks."""
    assert tuple(found.shape) == tuple(expected.shape), (name, found.shape, expected.shape)
    worst = float(abs(found - expected).max()) if found.shape[0] else 0.0
    limit = tolerance * (1 + float(abs(expected).max()))
    assert worst <= limit, f"{name}: {worst} of {limit} on rank {gyre.rank()}"


def without_exponent(state):
    """RWKV's state as it is defined, without the exponent that keeps it small."""
    return state[:, :, :2] * np.exp(state[:, :, 2:])


def check_numpy(tokens, random):
    """Outputs, and the slopes of gradients along random directions."""
    before = _arrays.copies
    for case in oracle_mix.CASES:
        name, _, options, layout = case
        formula, function = oracle_mix.FORMULAS[name], getattr(gyre.mix, name)
        tensors, cuts = case_inputs(case, tokens, random)
        own = {x: np.ascontiguousarray(cut(tensors[x], cuts[x], layout), dtype=np.float32) for x in tensors}
        expected = formula(np, **tensors, **options)
        outputs = function(**own, **options, layout=layout, return_all=True)
        forms = [x["dimensions"][0] for x in gyre.mix.OPERATORS[name].outputs]
        for i, x in enumerate(outputs):
            axis = axis_of(forms[i]) if i < len(forms) else None
            x = x if axis is None else gyre.gather(x, dim=axis, layout=layout)
            x = without_exponent(x) if name == "rwkv4" and i == 1 else x
            close(f"{case} output {i}", x, expected[i], 2e-5)
        do = random.standard_normal(expected[0].shape).astype(np.float32)
        axis = axis_of(forms[0])
        o, gradients = gyre.mix.vjp(function, **own, **options, layout=layout)
        found = gradients(np.ascontiguousarray(cut(do, axis, layout)))
        again = gradients(np.ascontiguousarray(cut(do, axis, layout)))
        found = {x: whole(found[x], cuts[x], layout).astype(np.float64) for x in found}
        # Each tensor has as much of the slope as the others, however small it is.
        ways = {x: random.standard_normal(tensors[x].shape) for x in tensors}
        ways = {x: ways[x] / (abs(found[x]) * abs(ways[x])).sum() for x in ways}
        step, sums = 1e-6, []
        for sign in (1, -1):
            moved = {x: tensors[x] + sign * step * ways[x] for x in tensors}
            sums.append((formula(np, **moved, **options)[0] * do).sum())
        slope = (sums[0] - sums[1]) / (2 * step)
        error = abs(sum((found[x] * ways[x]).sum() for x in found) - slope)
        assert error <= 1e-5 * len(found), (case, error, slope)
        for x in again:
            close(f"{case} again", whole(again[x], cuts[x], layout), found[x], 1e-6)
        if gyre.size() == 1:
            assert not o.flags.writeable
    assert _arrays.copies == before, "contiguous inputs were copied"


def check_refusals(refused, random):
    """What one rank does wrong all ranks hear of; the job goes on."""
    last = gyre.rank() == gyre.size() - 1
    whole = [random.standard_normal((1, 30, 2, 4)).astype(np.float32) for _ in range(4)]
    q, k, v, g = (gyre.shard(x, layout="contiguous") for x in whole)
    g = -abs(g)
    gla, mix = gyre.mix.gla, gyre.mix
    refused("give all the rows", gla, q[:, :-1] if last else q, k, v, g)
    refused("in a tensor before it", gla, q, k, v, g[..., :3])
    refused("needs [batch, tokens", gla, q, k, v, g[0] if last else g)
    refused("float64", gla, q.astype(np.float64) if last else q, k, v, g)
    refused("scale is", gla, q, k, v, g, scale="large" if last else 0.1)
    refused("give a finite number that is not 0", gla, q, k, v, g, scale=0.0)
    refused("aft needs a tensor w", mix.aft, q[:, :, 0], k[:, :, 0])
    zigzag = (gyre.shard(x) for x in whole)
    refused("passes a state from token to token", gla, *zigzag, layout="zigzag")
    refused("give one of", gla, q, k, v, g, layout="spiral" if last else "contiguous")
    refused("give full, simple", mix.aft, q[:, :, 0], k[:, :, 0], variant="most")
    refused("aft has no tensor w", mix.aft, q[:, :, 0], k[:, :, 0], w=q[0, :, 0], variant="simple")
    refused("landmarks is 99", mix.soft, q, v, landmarks=99)
    if gyre.size() > 1:
        longer = [np.concatenate([x, x], axis=1) if last else x for x in (q, k, v, g)]
        refused("cut sequences with", gla, *longer)
        refused("different things", gla, q, k, v, g, scale=0.1 if last else 0.2)
    _, gradients = mix.vjp(gla, q, k, v, g)
    refused("gradient is", gradients, q[:, :-1] if last else v)
    assert np.isfinite(gla(q, k, v, g)).all(), "the job goes on after what was refused"


def check_torch(torch, tokens, random):
    """Gradients beside those that torch finds of the same formulas."""
    for case in oracle_mix.CASES:
        name, _, options, layout = case
        formula, function = oracle_mix.FORMULAS[name], getattr(gyre.mix, name)
        arrays, cuts = case_inputs(case, tokens, random)
        own = {
            x: cut(torch.from_numpy(arrays[x]), cuts[x], layout).float().contiguous().requires_grad_()
            for x in arrays
        }
        o = function(**own, **options, layout=layout)
        axis = axis_of(gyre.mix.OPERATORS[name].outputs[0]["dimensions"][0])
        found = o.detach() if axis is None else gyre.gather(o, axis, layout)
        do = torch.from_numpy(random.standard_normal(tuple(found.shape)))
        o.backward(cut(do, axis, layout).float().contiguous())
        gradients = {x: whole(own[x].grad, cuts[x], layout) for x in own}
        if gyre.rank() > 0:
            # One is enough, and has the cores for it.
            continue
        tensors = {x: torch.from_numpy(arrays[x]).requires_grad_() for x in arrays}
        expected = formula(torch, **tensors, **options)[0]
        expected.backward(do)
        close(f"{case} o", found, expected.detach(), 2e-5)
        for x in own:
            close(f"{case} d{x}", gradients[x], tensors[x].grad, 1e-4)


def check_operator(torch, random):
    """Half precision, checkpoints of activations, torch.compile, outputs that are changed."""
    from torch.utils.checkpoint import checkpoint

    q, k, v, g = (
        gyre.shard(torch.from_numpy(random.standard_normal((1, 40, 2, 8))).float(), layout="contiguous")
        for _ in range(4)
    )
    g = -g.abs()

    def gradients(function, *tensors):
        tensors = [x.detach().requires_grad_() for x in tensors]
        o = function(*tensors)
        o.backward(torch.ones_like(o))
        return [o.detach(), *(x.grad for x in tensors)]

    expected = gradients(gyre.mix.gla, q, k, v, g)
    for x, y in zip(gradients(gyre.mix.gla, *(x.bfloat16() for x in (q, k, v, g))), expected):
        assert x.dtype == torch.bfloat16
        close("bfloat16", x.float(), y, 3e-2)
    ways = {
        "checkpointed": lambda *x: checkpoint(gyre.mix.gla, *x, use_reentrant=False),
        "not contiguous": lambda *x: gyre.mix.gla(*(y.transpose(1, 2).contiguous().transpose(1, 2) for y in x)),
    }
    if gyre.size() <= 2:
        ways["compiled"] = torch.compile(
            lambda *x: gyre.mix.gla(*x), fullgraph=True, backend="aot_eager")
    for name, way in ways.items():
        for x, y in zip(gradients(way, q, k, v, g), expected):
            close(name, x, y, 1e-6)
    with torch.no_grad():
        o, state = gyre.mix.gla(q, k, v, g, return_all=True)
    assert state.shape == (1, 2, 8, 8) and not o.requires_grad
    close("without gradients", o, expected[0], 1e-6)
    o = gyre.mix.gla(q.detach().requires_grad_(), k, v, g)
    o.detach().mul_(2)
    try:
        o.sum().backward()
    except RuntimeError as error:
        assert "inplace" in str(error), error
    else:
        raise AssertionError("an output that was changed gave gradients")
