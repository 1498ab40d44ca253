"""Sequence mixers beside attention, exact over shards: what `gyre mix` computes.

    x, delta, b, c = (gyre.shard(t, layout="contiguous") for t in (x, delta, b, c))
    o = gyre.mix.mamba(x, delta, a, b, c, d, softplus=True)

Tensors with a dimension of tokens are this rank's rows; others, such as weights and states, are whole
on all ranks. They are NumPy arrays or tensors of torch, F32, F16 or BF16; contiguous F32 is used in
place. All ranks call, in the same order.

layout: which rank holds which tokens: contiguous, or also zigzag and striped where no state is passed
    from token to token.
return_all: gives all outputs, such as the state in which a sequence ends, and not only the first; the
    others have no gradients. Those without tokens are the same on all ranks.

The gradients of tensors that are whole on all ranks add up over the ranks, as those of any weights
do: one rank has them, the others have zeros.
"""

import inspect
import json

from . import _mix
from ._library import library

OPERATORS = {
    x["name"]: _mix.Operator(x) for x in json.loads(library.gyre_mixers().decode())
}
"""What the library offers, by name."""

__all__ = [*OPERATORS, "OPERATORS", "vjp"]


def vjp(operator, *tensors, **given):
    """The output of an operator of this module, and the function that makes the gradients of its
    tensors, by name, of the gradient of the output; for NumPy.

        o, gradients = gyre.mix.vjp(gyre.mix.gla, q, k, v, g)
        dq = gradients(do)["q"]
    """
    call, tensors = operator.bind(*tensors, **given)
    return _mix.vjp(call, tensors)


def _signature(operator):
    """Tensors, those that it cannot do without first, then options."""
    kind = inspect.Parameter
    parameters = []
    for name, x in sorted(operator.tensors.items(), key=lambda item: item[1]["optional"]):
        default = None if x["optional"] else kind.empty
        parameters.append(kind(name, kind.POSITIONAL_OR_KEYWORD, default=default))
    for name, x in operator.options.items():
        default = False if x["kind"] == "flag" else None
        parameters.append(kind(name, kind.KEYWORD_ONLY, default=default))
    parameters.append(kind("layout", kind.KEYWORD_ONLY, default="contiguous"))
    parameters.append(kind("return_all", kind.KEYWORD_ONLY, default=False))
    return inspect.Signature(parameters)


def _text(operator):
    """What help() shows."""
    lines = [f"{operator.summary[0].upper()}{operator.summary[1:]}; all ranks call it.", ""]
    for name in list(_signature(operator).parameters)[: len(operator.tensors)]:
        x = operator.tensors[name]
        lines.append(f"{name}: {x['shapes']}{', optional' if x['optional'] else ''}.")
    lines += [f"{name}: {x['summary']}." for name, x in operator.options.items()]
    outputs = ", ".join(f"{x['name']} {x['shapes']}" for x in operator.outputs)
    return "\n".join([*lines, "", f"Outputs: {outputs}. What all have: help(gyre.mix)."])


def _function(operator):
    """The function of an operator."""
    signature = _signature(operator)

    def bind(*args, **given):
        bound = signature.bind(*args, **given)
        bound.apply_defaults()
        values = bound.arguments
        tensors = {x: values[x] for x in operator.tensors if values[x] is not None}
        options = {x: values[x] for x in operator.options}
        call = _mix.Call.of(operator, options, values["layout"], bool(values["return_all"]))
        return call, tensors

    def function(*args, **given):
        return _mix.run(*bind(*args, **given))

    function.__name__ = function.__qualname__ = operator.name
    function.__module__ = __name__
    function.__signature__ = signature
    function.__doc__ = _text(operator)
    function.bind = bind
    return function


globals().update({name: _function(x) for name, x in OPERATORS.items()})
