"""The header of a weights file, or of other tensors, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from srprune.core.artifact import FORMAT, Header
from srprune.core.errors import ArtifactError, MissingArtifact

KIND = "Weights"
KEY = "srprune"  # in the metadata of the safetensors file


def read_weights_header(path: Path) -> Header:
    """Read what a weights file says of itself, without the tensors.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or was not written by srprune.
    """
    header = read_tensors_header(path)
    if not {"model", "model_args", "scale"} <= header.params.keys():
        raise _foreign(path)
    return header


def read_tensors_header(path: Path) -> Header:
    """Read what any safetensors file of srprune says of itself: weights, or a router.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or was not written by srprune.
    """
    if not path.is_file():
        raise MissingArtifact(f"there are no weights {path}.")
    try:
        with safe_open(path, framework="numpy") as file:
            raw = json.loads((file.metadata() or {})[KEY])
        if raw["format"] != FORMAT:  # first: another format may have other fields
            raise ArtifactError(f"{path} has format {raw['format']}; this srprune reads {FORMAT}.")
        header = Header(**raw)
        if not (isinstance(header.params, dict) and isinstance(header.parents, dict)):
            raise TypeError("params and parents are mappings")
        return header
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}).") from error
    except (KeyError, TypeError, ValueError):
        raise _foreign(path) from None


def is_ours(path: Path) -> bool:
    """Whether a safetensors file carries a header of srprune, whatever it says.

    Raises:
        ArtifactError: it is no readable safetensors file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return KEY in (file.metadata() or {})
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}).") from error


def _foreign(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} does not say what it holds: srprune did not write it.")
