"""Weights that other programs wrote: recognising the network by names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srprune.core.artifact import fingerprint
from srprune.core.errors import ArtifactError, InputError
from srprune.core.weights import KIND
from srprune.models import MODELS
from srprune.models.build import build, default_of
from srprune.models.domain import Domain
from srprune.models.network import Naming, Network
from srprune.models.weight_files import read_tensors

SHOWN = 3  # tensors that a message names


@dataclass(frozen=True)
class Foreign:
    """A network read from another program's file.

    Attributes:
        model: its name in the table of models.
        args: of its constructor.
        network: with the weights.
        domain: of the network.
        fingerprint: of model, arguments, scale and tensors.
    """

    model: str
    args: Mapping[str, Any]
    network: Network
    domain: Domain
    fingerprint: str


@dataclass(frozen=True)
class _Guess:
    """A network that the tensors may be of, under one naming."""

    model: str
    naming: Naming | None
    args: dict[str, Any]
    tensors: dict[str, Tensor]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return not (self.missing or self.extra)

    @property
    def badness(self) -> tuple[int, int]:
        """Tensors amiss; then arguments that are not the defaults, so that presets win."""
        kind = MODELS.load(self.model)
        return (
            len(self.missing) + len(self.extra),
            sum(default_of(kind, name) != value for name, value in self.args.items()),
        )


def load_foreign(path: Path, scale: int | None) -> Foreign:
    """Read a network from a file of BasicSR, KAIR, EDSR-PyTorch, Caffe and so on.

    Every tensor must find its place, but constants that the network computes itself.

    Args:
        path: see :func:`srprune.models.weight_files.read_tensors`.
        scale: for networks whose tensors do not tell it.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or of no network of the table; names the nearest.
        InputError: the scale is another, or not told.
    """
    tensors = read_tensors(path)
    guesses = sorted(_guesses(tensors), key=lambda guess: guess.badness)
    if not guesses or not guesses[0].fits:
        raise ArtifactError(f"{path} {_what_is_amiss(tensors, guesses)}")
    best = guesses[0]
    args = dict(best.args)
    told = args.pop("scale", None)
    if told and scale not in (None, told):
        raise InputError(f"{path} is a model of x{told}, but --scale is {scale}.")
    if not (told or scale):
        raise InputError(
            f"{path} holds {best.model}, whose tensors do not tell the scale: give --scale."
        )
    used = int(told or scale or 0)
    network, domain = build(best.model, used, args)
    state = {**network.state_dict(), **_without_other_constants(path, best, network)}
    network.load_state_dict(state)
    params = {"model": best.model, "model_args": args, "scale": used}
    return Foreign(best.model, args, network, domain, fingerprint_of(params, state))


def fingerprint_of(params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Fingerprint of tensors, in their order, that have no header of srprune."""
    # a file may hold parameters, which numpy takes only without their gradient
    columns = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    return fingerprint(KIND, {}, params, columns)


def same_constant(one: Tensor, other: Tensor) -> bool:
    """Whether two constants of one shape are the same but for rounding."""
    return torch.allclose(one.double().cpu(), other.double().cpu(), rtol=1e-3)


def listed(names: Sequence[str]) -> str:
    """The first of some tensors' names, on one line whatever a file calls them."""
    first = [name if name.isprintable() else repr(name) for name in names[:SHOWN]]
    return ", ".join([*first, "..."] if len(names) > SHOWN else first)


def in_words(kinds: Iterable[tuple[str, Sequence[str]]]) -> str:
    """How many tensors are of each kind, and which; a kind without any is left out."""
    return "; ".join(f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds if names)


def _without_other_constants(path: Path, best: _Guess, network: Network) -> dict[str, Tensor]:
    """The tensors but for constants of another image size, of which the network has its own."""
    kept, own = {}, network.state_dict()
    for name, tensor in best.tensors.items():
        if re.fullmatch(network.constants, name):
            if tensor.shape != own[name].shape:
                continue
            if tensor.is_floating_point() and not same_constant(tensor, own[name]):
                raise ArtifactError(
                    f"{path} looks like {best.model}, but its constant {name} is another: it was "
                    "trained on another range of values than 0..255, or another mean colour."
                )
        kept[name] = tensor
    return kept


def _guesses(tensors: Mapping[str, Tensor]) -> Iterator[_Guess]:
    for model in MODELS:
        kind: type[Network] = MODELS.load(model)
        for naming in (None, *kind.namings):
            guess = _guess(model, kind, naming, tensors)
            if guess:
                yield guess


def _guess(
    model: str, kind: type[Network], naming: Naming | None, tensors: Mapping[str, Tensor]
) -> _Guess | None:
    """How far the tensors are those of one network; None where they do not tell its arguments."""
    names = naming.translate(tensors) if naming else {name: name for name in tensors}
    ours = {names[theirs]: tensor for theirs, tensor in tensors.items() if theirs in names}
    try:
        args = {**kind.arguments_of(ours), **(naming.implies if naming else {})}
        others = {name: value for name, value in args.items() if name != "scale"}
        with torch.device("meta"):
            network, _ = build(model, args.get("scale", 2), others)
    except (InputError, LookupError, ValueError, TypeError, ArithmeticError):  # senseless shapes
        return None
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    free = re.compile(network.constants)
    missing = [n for n in wanted if n not in ours and not free.fullmatch(n)]
    other = [
        n for n, t in ours.items() if n in wanted and t.shape != wanted[n] and not free.fullmatch(n)
    ]
    extra = [n for n in tensors if n not in names] + [n for n in ours if n not in wanted]
    return _Guess(model, naming, args, ours, tuple(missing + other), tuple(extra))


def _what_is_amiss(tensors: Mapping[str, Tensor], guesses: list[_Guess]) -> str:
    """Why a file is no network of the table, in words."""
    if not guesses or 2 * guesses[0].badness[0] > len(tensors):
        return (
            f"is of no network that srprune knows (its tensors: {listed(list(tensors))}). Known: "
            f"{', '.join(MODELS)}. Try spandrel:FILE, if spandrel knows it."
        )
    best = guesses[0]
    source = f" as {best.naming.source} names it" if best.naming else ""
    amiss = in_words((("missing or of another shape", best.missing), ("too many", best.extra)))
    return f"looks like {best.model}{source}, but its tensors do not fit ({amiss})."
