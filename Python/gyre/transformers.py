"""Models of Hugging Face Transformers over sequences that are sharded among ranks.

    import gyre, gyre.transformers
    gyre.init()
    model = AutoModelForCausalLM.from_pretrained(name)
    gyre.transformers.enable(model)
    model(input_ids=ids, labels=ids).loss.backward()      # ids are whole, on all ranks
"""

import dataclasses
import inspect

import torch
import transformers

try:
    # With it came masks that are not made for attention that does without.
    import transformers.masking_utils  # noqa: F401
    from transformers import AttentionInterface
except ImportError as error:
    raise ImportError(
        f"gyre.transformers needs Transformers 4.53 or newer, and this is {transformers.__version__}."
    ) from error

from . import _job
from ._attention import attention
from ._library import Error
from ._shards import all_reduce, positions


@dataclasses.dataclass
class _Settings:
    """What the layers of a model are told, and the segments of the sequences that it has now."""

    layout: str
    route: str
    arithmetic: str
    segment_ids: torch.Tensor | None = None


def enable(model, layout="zigzag", route="auto", arithmetic="f32"):
    """Has a decoder model compute on this rank's tokens alone; all ranks call it.

    The model is given whole sequences, the same on all ranks, and cuts them by itself: each rank
    computes on its own tokens, and attention sees those of all. Its loss is that of all tokens, on
    all ranks; gradients of its parameters are summed over ranks in backward(), so that optimizers
    do the same everywhere. Its logits are those of the rank's own tokens: gyre.gather(logits).

    Parameters that are frozen later stay what they are; those that are unfrozen later are not
    summed. Weights have to be the same on all ranks, which is checked.

    Returns the model.
    """
    gained = float(sum(p.detach().double().sum() for p in model.parameters()))
    _job.agree(_obstacle(model), f"enables a model with weights that sum up to {gained!r}")
    AttentionInterface.register("gyre", _attend)
    _choose(model)
    settings = _Settings(layout, route, arithmetic)
    for module in model.modules():
        module._gyre = settings
    model.loss_function = _loss
    model.register_forward_pre_hook(_cut, with_kwargs=True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(_summed)
    return model


def _choose(model):
    """Has layers look for their attention under this name."""
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("gyre")
        return
    # Before 4.54; layers ask the configuration at each pass.
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = "gyre"


def _obstacle(model):
    if hasattr(model, "_gyre"):
        return "the model is enabled already."
    if not hasattr(model, "set_attn_implementation") and not getattr(
        model, "_supports_attention_backend", False
    ):
        return f"{type(model).__name__} is no model of transformers with a choice of attention."
    if getattr(model.config, "attention_dropout", 0):
        return "the model drops weights of attention; set config.attention_dropout = 0."
    return None


def _cut(model, args, kwargs):
    """Leaves this rank's tokens of what a model is given."""
    names = list(inspect.signature(model.forward).parameters)
    given = dict(zip(names, args)) | kwargs
    settings = model._gyre
    ids = given.get("input_ids")
    whole = ids if ids is not None else given.get("inputs_embeds")
    complaint, places, segments = None, None, None
    try:
        complaint = _complaint(given, whole)
        if complaint is None:
            places, segments = _places(given, whole)
    except Exception as error:  # noqa: BLE001  # whatever it is, the others wait
        complaint = f"{type(error).__name__}: {error}"
    seen = "nothing" if whole is None else f"{list(whole.shape)}, {whole.detach().double().sum()!r}"
    _job.agree(complaint, f"runs a model on {seen}")

    held = torch.from_numpy(positions(whole.shape[1], settings.layout))
    settings.segment_ids = None if segments is None else segments[:, held]
    labels = given.get("labels")
    if labels is not None:
        # Each token's label is the next token, which may be on another rank.
        given["labels"] = torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
    given["position_ids"] = places
    for name in ("input_ids", "inputs_embeds", "labels", "position_ids", "token_type_ids"):
        if given.get(name) is not None:
            given[name] = given[name].index_select(1, held)
    given["attention_mask"] = None
    given["use_cache"] = False
    return (), given


def _complaint(given, whole):
    """What a model cannot be given over ranks; None if all is well."""
    if whole is None:
        return "the model is given no input_ids."
    for name in ("cache", "past_key_values"):
        if given.get(name) is not None:
            return "generate() is not for shards; use the model without gyre.transformers.enable."
    mask = given.get("attention_mask")
    if mask is None:
        return None
    if mask.dim() != 2:
        return "attention_mask has to be [batch, tokens]; give position_ids for packed documents."
    if bool((mask[:, 1:] > mask[:, :-1]).any()):
        return "sequences are padded on the left; pad on the right, where no token sees padding."
    return None


def _places(given, whole):
    """The positions of all tokens, and the documents that they are of where there are several."""
    batch, tokens = whole.shape[:2]
    places = given.get("position_ids")
    if places is None:
        return torch.arange(tokens).expand(batch, tokens), None
    places = places.expand(batch, tokens)
    starts = torch.nn.functional.pad(places[:, 1:] != places[:, :-1] + 1, (1, 0))
    return places, starts.cumsum(1).to(torch.int32) if bool(starts.any()) else None


def _attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **others):
    """The attention of a layer, `[batch, heads, tokens, head_dim]`."""
    settings = module._gyre
    if attention_mask is not None or dropout:
        raise Error("a layer asks for a mask or dropout of its own, which gyre has not here.")
    causal = others.get("is_causal")
    o = attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2),
        causal=bool(getattr(module, "is_causal", True) if causal is None else causal),
        window=others.get("sliding_window"), softcap=others.get("softcap") or 0.0, scale=scaling,
        segment_ids=settings.segment_ids, layout=settings.layout, route=settings.route,
        arithmetic=settings.arithmetic, learned_sinks=others.get("s_aux"),
    )
    return o, None


def _loss(logits, labels, vocab_size=None, num_items_in_batch=None, ignore_index=-100, **_):
    """The mean cross entropy of all tokens of all ranks; labels are shifted already."""
    sums = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2).float(), labels.flatten(), ignore_index=ignore_index, reduction="sum"
    )
    if num_items_in_batch is None:
        found = (labels != ignore_index).sum().double().reshape(1)
        num_items_in_batch = all_reduce(found)[0].to(sums.dtype)
    own = sums / num_items_in_batch
    # The value is of all ranks; the gradient is of the rank's own part.
    return own + (all_reduce(own.detach().clone().reshape(1))[0] - own.detach())


def _summed(gradient):
    """The gradient of a parameter, of all ranks."""
    whole = gradient.detach().to(torch.float32, copy=True).contiguous()
    return all_reduce(whole).to(gradient.dtype)
