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
from typing import Any, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srprune.core.artifact import Header, atomic_path, fingerprint
from srprune.core.errors import ArtifactError, InputError
from srprune.core.names import unknown
from srprune.core.out_of_memory import memory_errors
from srprune.core.weights import KEY, KIND, read_weights_header
from srprune.models import MODELS
from srprune.models.domain import Domain
from srprune.models.network import Network
from srprune.models.weight_files import check_finite


def build(model: str, scale: int, args: Mapping[str, Any]) -> tuple[Network, Domain]:
    """Make a network with fresh weights (from torch's global generator) and its domain.

    Raises:
        UnknownName: no such model, or an argument that it does not have.
        InputError: a scale or an argument that the model does not support, or arguments that
            make it larger than main memory.
    """
    kind: type[Network] = MODELS.load(model)
    if scale not in kind.spec.scales:
        raise InputError(f"{model} is built for the scales {kind.spec.scales}, not for {scale}.")
    _check_args(model, kind, args)
    try:
        with memory_errors(f"model_args make {model} too large: lower them."):
            network = kind(scale=scale, **args).to(memory_format=torch.channels_last)
    except ValueError as error:  # arguments that do not go together
        raise InputError(f"model_args of {model}: {error}.") from error
    return network, Domain(
        args.get("channels", default_of(kind, "channels")), kind.spec.pre_upsampled, scale
    )


def outline(model: str, scale: int, args: Mapping[str, Any]) -> tuple[Network, Domain]:
    """:func:`build` for facts alone: in no time, no memory and no random numbers, without weights.

    Raises:
        UnknownName: no such model, or an argument that it does not have.
        InputError: a scale or an argument that the model does not support.
    """
    with torch.device("meta"):
        return build(model, scale, args)


def default_of(kind: type[Network], argument: str) -> Any:
    """Default of a constructor's argument."""
    return inspect.signature(kind).parameters[argument].default


def _check_args(model: str, kind: type[nn.Module], args: Mapping[str, Any]) -> None:
    """Hold arguments against the constructor, so a misspelling is one clear line."""
    hints = get_type_hints(kind.__init__)
    known = [name for name in inspect.signature(kind).parameters if name != "scale"]
    for name, value in args.items():
        if name not in known:
            raise unknown(f"{model} argument", name, known)
        if get_origin(hints[name]) is tuple:
            _check_numbers(model, name, value)
            continue
        choices = get_args(hints[name])
        # True == 1, but True is no number here
        if choices and not any(type(value) is type(c) and value == c for c in choices):
            raise InputError(
                f"model_args.{name} is {value!r}; {model} takes {', '.join(map(str, choices))}."
            )
        if not choices and (type(value) is not hints[name] or value < 1):
            raise InputError(
                f"model_args.{name} is {value!r}; {model} takes a whole number above 0."
            )


def _check_numbers(model: str, name: str, value: object) -> None:
    """A tuple of whole numbers, which JSON and YAML have as a list."""
    if not (isinstance(value, (list, tuple)) and value) or any(
        type(each) is not int or each < 1 for each in value
    ):
        raise InputError(
            f"model_args.{name} is {value!r}; {model} takes a list of whole numbers above 0."
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
    tensors = network.state_dict()
    return save_tensors(path, KIND, tensors, parents=parents, params=params, made=made, info=info)


def save_tensors(
    path: Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
    info: Mapping[str, Any],
) -> Header:
    """Write tensors with a header atomically.

    Args:
        path: a ``.safetensors`` file.
        kind: of the artifact.
        tensors: by name, on any device; their order counts in the fingerprint.
        parents: of the header, as the others.
        params: likewise.
        made: likewise.
        info: likewise.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    columns = {name: tensor.numpy() for name, tensor in tensors.items()}
    header = Header(
        kind=kind,
        fingerprint=fingerprint(kind, parents, params, columns),
        parents=dict(parents),
        params=dict(params),
        made=dict(made),
        info=dict(info),
    )
    content = save(tensors, metadata={KEY: json.dumps(asdict(header))})
    with atomic_path(path) as temporary:  # save_file hides a full disk behind an error of its own
        temporary.write_bytes(content)
    return header


def load_weights(path: Path) -> tuple[Network, Domain, Header]:
    """Read a network that :func:`save_weights` wrote.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, holds NaN, or was not written by srprune.
    """
    header = read_weights_header(path)
    network, domain = build(
        header.params["model"], header.params["scale"], header.params["model_args"]
    )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in network.state_dict()}
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise ArtifactError(f"{path} is damaged ({str(error).splitlines()[0]}).") from error
    check_finite(path, tensors)
    columns = {name: tensor.numpy() for name, tensor in tensors.items()}
    if fingerprint(KIND, header.parents, header.params, columns) != header.fingerprint:
        raise ArtifactError(
            f"the content of {path} does not match its fingerprint {header.fingerprint}: "
            "it was changed after it was made. Train it again."
        )
    return network, domain, header
