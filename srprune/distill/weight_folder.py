"""A pre-trained part of a diffusion pipeline, in a folder as diffusers keeps it.

Such a folder has a ``config.json`` and the tensors beside it. It is read without diffusers, so that
nothing reaches for the network and no pickle runs code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from srprune.core.errors import ArtifactError, MissingArtifact
from srprune.models.weight_files import read_tensors

CONFIG = "config.json"
FILES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


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
    if not folder.is_dir():
        raise MissingArtifact(
            f"there is no folder {folder} of pre-trained weights. Weights are not downloaded: "
            f"copy there what diffusers keeps of the {part}."
        )
    if not (folder / CONFIG).is_file() and (folder / part).is_dir():
        folder = folder / part
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found or not (folder / CONFIG).is_file():
        raise MissingArtifact(
            f"{folder} holds no pre-trained {part}: it needs {CONFIG} and one of "
            f"{', '.join(FILES)}."
        )
    return WeightFolder(found[0], _read_config(folder / CONFIG), read_tensors(found[0]))


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
