"""Operators of `gyre mix` over shards, whatever they are called."""

import ctypes
import dataclasses
import itertools
import weakref

import numpy as np

from . import _arrays
from ._library import INTERFACE, Mixing, NamedTensor, Tensor, check, library

ROOM = 8
"""Outputs that an operator has at most."""


class Operator:
    """What the library says of an operator."""

    def __init__(self, description):
        self.name = description["name"]
        self.summary = description["summary"]
        self.tensors = {x["name"]: x for x in description["tensors"]}
        self.outputs = description["outputs"]
        self.options = {x["name"]: x for x in description["options"]}

    def has_tokens(self, number):
        """Whether an output is of this rank's rows; the others are whole on all ranks."""
        return "tokens" in self.outputs[number]["dimensions"][0]

    def shapes(self, tensors, options):
        """The shapes of outputs, of sizes that may be symbols."""
        sizes = {}
        for name, x in tensors.items():
            for names in self.tensors[name]["dimensions"]:
                if len(names) == len(x.shape):
                    sizes |= zip(names, x.shape)
        words = dict(word.split("=") for word in options.split())
        # An option that is called as a dimension says how many there are of it.
        sizes |= {name: int(words[name]) for name in words if name in sizes}
        return [[sizes[name] for name in x["dimensions"][0]] for x in self.outputs]


@dataclasses.dataclass(frozen=True)
class Call:
    """What is the same on all ranks, and no array."""

    operator: Operator
    options: str
    layout: str
    return_all: bool = False
    complaint: str | None = None

    @classmethod
    def of(cls, operator, options, layout, return_all):
        """Reads options; what is wrong with them is told later, to all ranks."""
        kinds = {"flag": bool, "count": int, "number": (int, float), "word": str}
        words, complaint = [], None
        for name, value in options.items():
            if value is None or value is False:
                continue
            kind = operator.options[name]["kind"]
            if not isinstance(value, kinds[kind]) or isinstance(value, str) and " " in value:
                complaint = f"{name} is {value!r}; see help(gyre.mix.{operator.name})."
            words.append(f"{name}={int(value) if kind == 'flag' else value}")
        if not isinstance(layout, str):
            complaint = f"layout is {layout!r}; give contiguous, zigzag or striped."
            layout = ""
        return cls(operator, " ".join(words), layout, return_all, complaint)


class Kept:
    """What a forward pass has left for its backward pass; an array that looks at it keeps it."""

    _numbers = itertools.count(1)
    _all = weakref.WeakValueDictionary()

    def __init__(self):
        self.tensor = Tensor()
        self.number = ctypes.c_int64(next(self._numbers))
        self.__array_interface__ = {
            "version": 3, "shape": (1,), "typestr": "<i8",
            "data": (ctypes.addressof(self.number), False),
        }
        self._all[self.number.value] = self

    @classmethod
    def find(cls, number):
        """What is kept under a number; None where it is gone."""
        return cls._all.get(number)

    def __del__(self):
        library.gyre_tensor_free(ctypes.byref(self.tensor))


def _describe(call, tensors):
    """The structure of gyre.h, and what has to live as long as it."""
    inputs = {name: _arrays.as_input(x) for name, x in tensors.items()}
    named = (NamedTensor * max(1, len(inputs)))()
    for place, (name, x) in zip(named, inputs.items()):
        place.name = name.encode()
        place.data = _arrays.address(x)
        place.dimensions = len(x.shape)
        place.sizes[: len(x.shape)] = list(x.shape)
    asked = Mixing(
        interface=INTERFACE, tensor_count=len(inputs), tensors=named,
        mixer=call.operator.name.encode(), options=call.options.encode(),
        layout=call.layout.encode(),
    )
    return asked, (inputs, named)


def _prepare(call, tensors, gradient=None, shape=None):
    """Describes a pass; never raises, since all ranks have to hear of it."""
    try:
        complaint = call.complaint
        given = tensors if gradient is None else {**tensors, "the output's gradient": gradient}
        for name, x in given.items():
            complaint = complaint or _arrays.complaint(name, x)
            if complaint is None and len(x.shape) > 6:
                complaint = f"{name} has {len(x.shape)} dimensions; see help(gyre.mix)."
        if complaint is None and gradient is not None and list(gradient.shape) != list(shape):
            complaint = f"the output's gradient is {list(gradient.shape)}; give {list(shape)}."
        if complaint is None:
            asked, kept = _describe(call, tensors)
            own = None if gradient is None else _arrays.as_input(gradient)
            return asked, (kept, own), None
    except Exception as error:  # noqa: BLE001  # whatever it is, the others wait
        complaint = f"{type(error).__name__}: {error}"
    return None, (None, None), complaint.encode()


def forward(call, tensors, keep):
    """NumPy arrays of outputs by name, and what is kept; only the first output unless all are
    asked for."""
    asked, kept, complaint = _prepare(call, tensors)
    room = ROOM if call.return_all else 1
    count, made = ctypes.c_int32(room), (NamedTensor * room)()
    left = Kept() if keep else None
    check(library.gyre_mix(asked, complaint, made, count, left.tensor if keep else None))
    del kept
    outputs = {x.name.decode(): _arrays.take_named(x) for x in made[: min(room, count.value)]}
    return outputs, left


def backward(call, tensors, gradient, left, shape):
    """NumPy arrays of the gradients of tensors, by their names.

    left: what the forward pass has kept; None computes it again.
    shape: of the first output.
    """
    asked, kept, complaint = _prepare(call, tensors, gradient, shape)
    made = (Tensor * max(1, len(tensors)))()
    check(
        library.gyre_mix_backward(
            asked, complaint, left and left.tensor, _arrays.address(kept[1]), made
        )
    )
    del kept
    return {
        name: _arrays.take(place, x.shape) for place, (name, x) in zip(made, tensors.items())
    }


def run(call, tensors):
    """What a function of gyre.mix gives."""
    if any(map(_arrays.is_torch, tensors.values())):
        from . import _torch_mix

        outputs = _torch_mix.run(call, tensors)
    else:
        found, _ = forward(call, tensors, keep=False)
        outputs = [as_given(call, tensors, x, i) for i, x in enumerate(found.values())]
    return tuple(outputs) if call.return_all else outputs[0]


def as_given(call, tensors, x, number):
    """An output in the type of the tensors, where it is of rows and the first."""
    if number > 0 or not call.operator.has_tokens(0):
        return x
    return _arrays.like(x, next(iter(tensors.values())))


def vjp(call, tensors):
    """The first output, and a function that makes gradients by name of its gradient."""
    outputs, left = forward(call, tensors, keep=True)
    o = next(iter(outputs.values()))
    # What is kept looks at it.
    o.flags.writeable = False

    def gradients(gradient):
        return backward(call, tensors, gradient, left, o.shape)

    return as_given(call, tensors, o, 0), gradients
