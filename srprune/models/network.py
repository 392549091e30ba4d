"""Network: what every SR network of srprune offers; ModelSpec: what it promises, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class ModelSpec:
    """Facts of a network, checked by the conformance tests.

    Attributes:
        name: its id in the table of models.
        paper: authors, title, venue.
        scales: scales that the network can be built for.
        pre_upsampled: True if the input is LR enlarged by bicubic to the size of HR.
        parameters: trainable scalars with the default arguments at x2, biases included.
    """

    name: str
    paper: str
    scales: tuple[int, ...]
    pre_upsampled: bool
    parameters: int


class Network(nn.Module):
    """Base of all networks.

    Attributes:
        spec: facts of the architecture.
        rim: HR px at each edge of the output that zero padding spoils.
        last_layer: name of the layer that some recipes train at a lower rate.
    """

    spec: ClassVar[ModelSpec]
    rim: int
    last_layer: ClassVar[str]
