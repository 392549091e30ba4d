"""A pre-trained part of a diffusion pipeline, in a folder as diffusers keeps it.

Such a folder has a ``config.json`` and the tensors beside it. It is read without diffusers, so that
nothing reaches for the network and no pickle runs code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from srprune.core.artifact import digest
from srprune.core.columns import Pieces
from srprune.core.errors import ArtifactError, MissingArtifact
from srprune.models.weight_files import read_tensors

CONFIG = "config.json"
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
KEYS = {  # where a user names the folder of a part
    "vae": "latents.weights; with distill synthesise, --vae",
    "transformer": "network.weights",
}
CHUNK = 1 << 24  # bytes that are hashed at a time


class WeightFolder(NamedTuple):
    """What a folder holds.

    Attributes:
        path: of the file of the tensors.
        config: of the network, as its ``config.json`` has it.
        tensors: by name; floats are float32.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def positive(self, key: str) -> int:
        """A whole number above 0 of the config.

        Raises:
            ArtifactError: it is missing or something else.
        """
        value = self.config.get(key)
        if type(value) is not int or value < 1:
            raise ArtifactError(
                f"{self.path.parent / CONFIG} has {key} {json.dumps(value)}; it must be a whole "
                "number above 0. Take the folder anew from where it came from."
            )
        return value


def read_weight_folder(folder: Path, part: str) -> WeightFolder:
    """Read a network of a pipeline.

    Args:
        folder: of the network, or of the whole pipeline.
        part: name of the network's folder in the pipeline, such as ``transformer``.

    Raises:
        MissingArtifact: there is no such folder, or no config or no weights in it.
        ArtifactError: what is there is damaged, holds NaN, or could run code.
    """
    path, config = _find(folder, part)
    return WeightFolder(path, config, read_tensors(path))


def read_weight_config(folder: Path, part: str) -> WeightFolder:
    """As :func:`read_weight_folder`, in no time and without the tensors.

    Raises:
        MissingArtifact: there is no such folder, or no config or no weights in it.
        ArtifactError: the config is damaged.
    """
    return WeightFolder(*_find(folder, part), {})


def fingerprint_of_folder(folder: Path, part: str) -> str:
    """16 hex digits over the bytes of the config and of the tensors, wherever they stand.

    Args:
        folder: of the network, or of the whole pipeline.
        part: name of the network's folder in the pipeline.

    Raises:
        MissingArtifact: there is no such folder, or no config or no weights in it.
        ArtifactError: the config is damaged.
    """
    path, _ = _find(folder, part)
    files = (path.parent / CONFIG, path)
    return digest(*(Pieces(file.stat().st_size, _chunks(file)) for file in files))


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _find(folder: Path, part: str) -> tuple[Path, dict[str, Any]]:
    """The file of the tensors, and the config."""
    if not folder.is_dir():
        raise MissingArtifact(
            f"there is no folder {folder} of pre-trained weights. Weights are not downloaded: "
            f"copy there what diffusers keeps of the {part}, or name another one ({KEYS[part]})."
        )
    if not (folder / CONFIG).is_file() and (folder / part).is_dir():
        folder = folder / part
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found or not (folder / CONFIG).is_file():
        raise MissingArtifact(
            f"{folder} holds no pre-trained {part} ({KEYS[part]}): it needs {CONFIG} and one of "
            f"{', '.join(FILES)}."
        )
    return found[0], _read_config(folder / CONFIG)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no JSON"
        raise ArtifactError(
            f"{path} is not readable ({reason}). Take the folder anew from where it came from."
        ) from error
    if not isinstance(config, dict):
        raise ArtifactError(f"{path} holds {type(config).__name__}, not the config of a network.")
    return config
