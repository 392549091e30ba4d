"""Making networks by name, and keeping them in files.

Weights are safetensors: the tensors by name, and a JSON header under ``srprune`` in the metadata
that tells the architecture and its arguments, so the file alone is enough.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from srprune.core.artifact import FORMAT, Header, atomic_path, canonical, digest
from srprune.core.errors import ArtifactError, InputError, MissingArtifact
from srprune.core.names import unknown
from srprune.models import MODELS
from srprune.models.domain import Domain
from srprune.models.network import Network

KIND = "Weights"


def build(model: str, scale: int, args: Mapping[str, Any]) -> tuple[Network, Domain]:
    """Make a network with fresh weights (from torch's global generator) and its domain.

    Raises:
        UnknownName: no such model, or an argument that it does not have.
        InputError: a scale or an argument that the model does not support.
    """
    kind: type[Network] = MODELS.load(model)
    if scale not in kind.spec.scales:
        raise InputError(f"{model} is built for the scales {kind.spec.scales}, not for {scale}.")
    _check_args(model, kind, args)
    network = kind(scale=scale, **args).to(memory_format=torch.channels_last)
    return network, Domain(
        args.get("channels", _default(kind, "channels")), kind.spec.pre_upsampled, scale
    )


def _default(kind: type[nn.Module], name: str) -> Any:
    return inspect.signature(kind).parameters[name].default


def _check_args(model: str, kind: type[nn.Module], args: Mapping[str, Any]) -> None:
    """Hold arguments against the constructor, so a misspelling is one clear line."""
    hints = get_type_hints(kind.__init__)
    known = [name for name in inspect.signature(kind).parameters if name != "scale"]
    for name, value in args.items():
        if name not in known:
            raise unknown(f"{model} argument", name, known)
        choices = get_args(hints[name])
        if choices and value not in choices:
            raise InputError(
                f"model_args.{name} is {value!r}; {model} takes {', '.join(map(str, choices))}."
            )
        if not choices and (type(value) is not hints[name] or value < 1):
            raise InputError(
                f"model_args.{name} is {value!r}; {model} takes a whole number above 0."
            )


def parameter_count(network: nn.Module) -> int:
    """Trainable scalars, biases included."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def save_weights(
    path: Path,
    network: nn.Module,
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
    info: Mapping[str, Any],
) -> Header:
    """Write the network's tensors atomically.

    Args:
        path: a ``.safetensors`` file.
        network: its ``state_dict`` is written.
        parents: fingerprints of what it was trained on.
        params: ``model``, ``model_args`` and ``scale``, and whatever else decided the weights.
        made: who made it.
        info: facts that do not count, such as the contents of its training images.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    parts = [(name, t.numpy().tobytes()) for name, t in tensors.items()]
    flat = [piece for pair in parts for piece in pair]
    header = Header(
        kind=KIND,
        fingerprint=digest(KIND, canonical(dict(params)), *flat),
        parents=dict(parents),
        params=dict(params),
        made=dict(made),
        info=dict(info),
    )
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"srprune": json.dumps(asdict(header))})
    return header


def load_weights(path: Path) -> tuple[Network, Domain, Header]:
    """Read a network that :func:`save_weights` wrote.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or was not written by srprune.
    """
    header = read_weights_header(path)
    network, domain = build(
        header.params["model"], header.params["scale"], header.params["model_args"]
    )
    try:
        with safe_open(path, framework="pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise ArtifactError(f"{path} is damaged ({str(error).splitlines()[0]}).") from error
    return network, domain, header


def read_weights_header(path: Path) -> Header:
    """Read what a weights file says of itself, without the tensors.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or was not written by srprune.
    """
    if not path.is_file():
        raise MissingArtifact(f"there are no weights {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        header = Header(**json.loads(metadata["srprune"]))
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}).") from error
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(
            f"{path} does not say which network it holds: srprune did not write it."
        ) from None
    if header.format != FORMAT:
        raise ArtifactError(f"{path} has format {header.format}; this srprune reads {FORMAT}.")
    return header
