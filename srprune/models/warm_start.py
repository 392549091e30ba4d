"""Starting a training from the weights of a file instead of fresh ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srprune.core.errors import ArtifactError
from srprune.core.weights import is_ours
from srprune.models.build import load_weights
from srprune.models.foreign import fingerprint_of, in_words, listed, same_constant
from srprune.models.network import Naming, Network
from srprune.models.weight_files import read_tensors


@dataclass(frozen=True)
class WarmStart:
    """What a network took from a file; its constants are not counted.

    Attributes:
        path: of the file.
        fingerprint: of srprune's own weights as their header has it, else of the file's tensors.
        taken: how many tensors the network took.
        missing: tensors of the network that the file lacks; they start fresh.
        other_shape: tensors of the network that have another shape in the file; they start fresh.
        unused: tensors of the file that have no place in the network.
        other_value: what no weight makes up for: constants of the network that the file has with
            other values, and arguments that its network was built with; the network keeps its own.
    """

    path: Path
    fingerprint: str
    taken: int
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]
    other_value: tuple[str, ...]

    def __str__(self) -> str:
        kinds = in_words(
            (
                ("fresh, not in the file", self.missing),
                ("fresh, of another shape", self.other_shape),
                ("of the file unused", self.unused),
                ("kept, of another value in the file", self.other_value),
            )
        )
        total = self.taken + len(self.missing) + len(self.other_shape)
        return f"{self.taken} of {total} tensors from {self.path}{kinds and '; '}{kinds}"


@dataclass(frozen=True)
class _Match:
    """What of a file fits a network under one naming; ``weights`` and constants by our names."""

    naming: Naming | None
    weights: dict[str, Tensor]
    constants: dict[str, Tensor]
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]


def warm_start(network: Network, model: str, path: Path, *, strict: bool) -> WarmStart:
    """Load the tensors of a file into a network, in place.

    The names are the network's own or those of another code base that it knows: the ones under
    which most tensors fit.

    Args:
        network: on any device; nothing of it changes if this raises.
        model: its name, for messages.
        path: see :func:`srprune.models.weight_files.read_tensors`.
        strict: every tensor must find its place. Else those that fit are taken.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged or holds NaN; strict, and something does not fit; nothing fits.
    """
    tensors = read_tensors(path)
    mark, told = _what_it_says(path, network, tensors)
    matches = [_match(network, naming, tensors) for naming in (None, *network.namings)]
    best = max(matches, key=lambda match: len(match.weights))
    if not best.weights:
        raise ArtifactError(
            f"no tensor of {path} fits {model} (its tensors: {listed(list(tensors))}). Give "
            "weights of the same network."
        )
    own = network.state_dict()
    # a number alone counts what a network has seen, and is no constant in truth
    constants = {
        name: tensor
        for name, tensor in best.constants.items()
        if tensor.ndim == 0 or same_constant(tensor, own[name])
    }
    implied = best.naming.implies if best.naming else told
    other_value = [name for name in best.constants if name not in constants]
    other_value += [f"{arg}={v}" for arg, v in implied.items() if getattr(network, arg) != v]
    started = WarmStart(
        path,
        mark,
        len(best.weights),
        best.missing,
        best.other_shape,
        best.unused,
        tuple(other_value),
    )
    if strict:
        _check_whole(model, best, started)
    network.load_state_dict({**own, **best.weights, **constants})
    return started


def _what_it_says(
    path: Path, network: Network, tensors: Mapping[str, Tensor]
) -> tuple[str, dict[str, Any]]:
    """Fingerprint of a file, and arguments that it tells of those that no tensor does."""
    if path.suffix.lower() != ".safetensors" or not is_ours(path):
        # the same tensors in another order, or in another kind of file, are the same
        return fingerprint_of({}, dict(sorted(tensors.items()))), {}
    with torch.random.fork_rng(devices=[]):  # what is drawn later does not depend on the file
        source, _, header = load_weights(path)
    hidden = {arg for naming in network.namings for arg in naming.implies}
    told = {arg: getattr(source, arg) for arg in sorted(hidden) if hasattr(source, arg)}
    return header.fingerprint, told


def _match(network: Network, naming: Naming | None, tensors: Mapping[str, Tensor]) -> _Match:
    """Hold the tensors of a file against a network under one naming."""
    names = naming.translate(tensors) if naming else {name: name for name in tensors}
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    places: dict[str, str] = {}  # ours to theirs; of two that claim one place the first has it
    for theirs in tensors:
        if names.get(theirs) in wanted:
            places.setdefault(names[theirs], theirs)
    placed = set(places.values())
    fitting = {n: tensors[t] for n, t in places.items() if tensors[t].shape == wanted[n]}
    free = re.compile(network.constants)
    weights = [name for name in wanted if not free.fullmatch(name)]
    return _Match(
        naming,
        weights={name: fitting[name] for name in weights if name in fitting},
        constants={name: t for name, t in fitting.items() if free.fullmatch(name)},
        missing=tuple(n for n in weights if n not in places),
        other_shape=tuple(n for n in weights if n in places and n not in fitting),
        unused=tuple(t for t in tensors if t not in placed and not free.fullmatch(names.get(t, t))),
    )


def _check_whole(model: str, match: _Match, started: WarmStart) -> None:
    """Refuse a file that does not fit the network tensor by tensor."""
    amiss = in_words(
        (
            ("missing", started.missing),
            ("of another shape", started.other_shape),
            ("without a place", started.unused),
            ("of another value", started.other_value),
        )
    )
    if amiss:
        source = f", named as in {match.naming.source}," if match.naming else ""
        raise ArtifactError(
            f"{started.path}{source} does not fit {model} ({amiss}). "
            "Pass init.strict=false to take what fits."
        )
