"""Files of tensors with a header: read and held against their fingerprint before use."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from srprune.core.artifact import Header, fingerprint
from srprune.core.errors import ArtifactError
from srprune.core.weights import read_tensors_header
from srprune.models.weight_files import check_finite


def read_tensor_header(path: Path, kind: str) -> Header:
    """What a file that is there says of itself, without its tensors.

    Raises:
        ArtifactError: it is damaged, of another kind, or was not written by srprune.
    """
    header = read_tensors_header(path)
    if header.kind != kind:
        raise ArtifactError(f"{path} holds {header.kind}; a {kind} was expected.")
    return header


def read_tensor_file(path: Path, kind: str, remedy: str) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors, on the CPU, as they were written.

    Args:
        path: written by :func:`srprune.models.build.save_tensors`, the tensors sorted by name.
        kind: that it must be of.
        remedy: what to do about one that was changed, a sentence.

    Raises:
        ArtifactError: it is damaged, holds NaN, is of another kind, or was changed.
    """
    header = read_tensor_header(path, kind)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged ({error}). {remedy}") from error
    check_finite(path, tensors)
    try:
        columns = {name: tensors[name].numpy() for name in sorted(tensors)}
        found = fingerprint(kind, header.parents, header.params, columns)
    except (TypeError, ValueError):  # types and numbers that srprune never writes
        found = "none"
    if found != header.fingerprint:
        raise ArtifactError(
            f"the content of {path} does not match its fingerprint {header.fingerprint}: it was "
            f"changed after it was made. {remedy}"
        )
    return header, tensors
