"""ModelSpec: what a network promises, as data."""

from __future__ import annotations

from dataclasses import dataclass


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
