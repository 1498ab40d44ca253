"""Operators of gyre.mix as an operator of torch: opaque to torch.compile, with gradients."""

import numpy as np
import torch

from . import _mix, mix
from ._library import check, library

CALL = "str operator, str options, str layout, bool return_all"


@torch.library.custom_op(
    "gyre::mix", mutates_args=(),
    schema=f"({CALL}, bool keep, str[] names, Tensor[] tensors) -> Tensor[]",
)
def mixed(operator, options, layout, return_all, keep, names, tensors):
    """Outputs, and the number of what is kept for the backward pass."""
    call = _mix.Call(mix.OPERATORS[operator], options, layout, return_all)
    given = dict(zip(names, tensors))
    outputs, left = _mix.forward(call, given, keep)
    made = [torch.from_numpy(x) for x in outputs.values()]
    if call.operator.has_tokens(0):
        made[0] = made[0].to(tensors[0].dtype)
    number = np.zeros(1, dtype=np.int64) if left is None else np.asarray(left)
    return [*made, torch.from_numpy(number)]


@mixed.register_fake
def _(operator, options, layout, return_all, keep, names, tensors):
    operator = mix.OPERATORS[operator]
    shapes = operator.shapes(dict(zip(names, tensors)), options)
    made = [
        tensors[0].new_empty(shape, dtype=torch.float32)
        for shape in (shapes if return_all else shapes[:1])
    ]
    if operator.has_tokens(0):
        made[0] = made[0].to(tensors[0].dtype)
    return [*made, tensors[0].new_empty((1,), dtype=torch.int64)]


@torch.library.custom_op(
    "gyre::mix_backward", mutates_args=(),
    schema=f"(Tensor gradient, {CALL}, str[] names, Tensor[] tensors, Tensor o, Tensor kept) "
    "-> Tensor[]",
)
def mixed_backward(gradient, operator, options, layout, return_all, names, tensors, o, kept):
    """The gradients of tensors, of their types."""
    call = _mix.Call(mix.OPERATORS[operator], options, layout, return_all)
    left = _mix.Kept.find(int(kept[0]))
    found = _mix.backward(call, dict(zip(names, tensors)), gradient, left, o.shape)
    return [torch.from_numpy(x).to(y.dtype) for x, y in zip(found.values(), tensors)]


@mixed_backward.register_fake
def _(gradient, operator, options, layout, return_all, names, tensors, o, kept):
    return [x.new_empty(x.shape) for x in tensors]


def _remember(ctx, inputs, output):
    *ctx.call, _, ctx.names, tensors = inputs
    # With the output, so that torch finds out if somebody changes it: what is kept looks at it.
    ctx.save_for_backward(output[0], output[-1], *tensors)
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx, gradients):
    o, kept, *tensors = ctx.saved_tensors
    found = mixed_backward(gradients[0], *ctx.call, ctx.names, tensors, o, kept)
    return *[None] * 6, found


mixed.register_autograd(_backward, setup_context=_remember)


def run(call, tensors):
    """The outputs for tensors; what an operator cannot even be given, all ranks hear of."""
    complaint = call.complaint
    if not all(isinstance(x, torch.Tensor) for x in tensors.values()):
        complaint = "some tensors are of torch, and others are not; give all of one kind."
    if complaint and not torch.compiler.is_compiling():
        check(library.gyre_agree(b"computes an operator", complaint.encode()))
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors.values())
    *outputs, _ = mixed(
        call.operator.name, call.options, call.layout, call.return_all, keep, list(tensors),
        list(tensors.values()),
    )
    return outputs
