"""Network: what every SR network of srprune offers; ModelSpec: what it promises, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

Channels = Literal["y", "rgb"]
PLANES: dict[Channels, int] = {"y": 1, "rgb": 3}


@dataclass(frozen=True)
class ModelSpec:
    """Facts of a network, checked by the conformance tests.

    Attributes:
        name: its id in the table of models.
        paper: authors, title, venue.
        source: what layers, tensor names and counts were checked against.
        channels: what the published network works on; also the default of its argument.
        pre_upsampled: True if the input is LR enlarged by bicubic to the size of HR.
        parameters: trainable scalars with the default arguments at x2, biases included.
        flops: for an output of 1280x720 at x2, default arguments, as
            :class:`torch.utils.flop_counter.FlopCounterMode` counts them: two a multiply-add, so
            the "Multi-Adds" of the literature are half of it.
        receptive_field: side of the square of LR px that decides a pixel, at x2 with the default
            arguments; see ``sees_all``.
        scales: scales that the network can be built for.
        minimum: smallest side of an input, px.
        multiple: tiles of an image begin at multiples of this, px of the input, so that each
            pixel keeps its place in the network's windows.
        sees_all: True if every output pixel depends on the whole input, however slightly.
        tiny: arguments of a variant that a test runs and trains in no time.
    """

    name: str
    paper: str
    source: str
    channels: Channels
    pre_upsampled: bool
    parameters: int
    flops: int
    receptive_field: int
    scales: tuple[int, ...] = (2, 3, 4)
    minimum: int = 1
    multiple: int = 1
    sees_all: bool = False
    tiny: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Naming:
    """How another code base names the tensors of a network.

    Attributes:
        source: the code base, such as ``BasicSR``.
        pairs: regular expressions that match a whole name there, each with the name here (a
            template of :func:`re.sub`); the first that matches is taken. ``{word}`` in a template
            is a number that the name there does not show; ``counts`` has the word.
        counts: for each such word a regular expression: it stands for how many of the names
            there it matches whole. As an example, how many blocks there are.
        implies: arguments of the constructor that such a file calls for, where no tensor tells.
    """

    source: str
    pairs: tuple[tuple[str, str], ...]
    counts: Mapping[str, str] = field(default_factory=dict)
    implies: Mapping[str, Any] = field(default_factory=dict)

    def translate(self, names: Iterable[str]) -> dict[str, str]:
        """Their names to ours; a name that no pair matches is left out.

        Args:
            names: all names of the other file, since ``counts`` needs them.
        """
        theirs = list(names)
        numbers = {word: count_names(pattern, theirs) for word, pattern in self.counts.items()}
        ours = {}
        for name in theirs:
            for pattern, template in self.pairs:
                if match := re.fullmatch(pattern, name):
                    ours[name] = match.expand(template).format(**numbers)
                    break
        return ours


def count_names(pattern: str, names: Iterable[str]) -> int:
    """How many names a regular expression matches whole."""
    return sum(re.fullmatch(pattern, name) is not None for name in names)


class RandomLayer(nn.Module):
    """A layer that drops something at random in training.

    Attributes:
        part: which part of a batch its input is, and of how many equal ones; it then drops what it
            would in the whole batch.
    """

    part: tuple[int, int] = (0, 1)

    def drawn(self, x: Tensor, keep: float) -> Tensor:
        """1 with the chance ``keep``, else 0, for each image of ``x``: (B, 1, 1, 1)."""
        number, count = self.part
        drawn = x.new_empty(count * len(x), 1, 1, 1).bernoulli_(keep)
        return drawn[number * len(x) : (number + 1) * len(x)]


class Network(nn.Module):
    """Base of all networks.

    Attributes:
        spec: facts of the architecture.
        last_layer: name of the layer that some recipes train at a lower rate; the class has it,
            or the object where it depends on the arguments.
        namings: other names under which its tensors are known.
        constants: regular expression of whole names of buffers that follow from the arguments or
            the image size; a file may lack them or have them in another size.
        rim: HR px at each edge of the output that zero padding spoils: the radius of the
            receptive field. The faint, global part of a network that ``sees_all`` is not counted.
    """

    spec: ClassVar[ModelSpec]
    namings: ClassVar[tuple[Naming, ...]] = ()
    constants: ClassVar[str] = r"(?!)"
    last_layer: str
    rim: int

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Read the constructor's arguments from tensors with the names of this class.

        Returns:
            Arguments by name, with ``scale`` where the tensors tell it.

        Raises:
            KeyError: a tensor that tells one is not there; these are of another network.
        """
        raise NotImplementedError
