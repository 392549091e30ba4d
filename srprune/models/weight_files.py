"""Reading the tensors of any weights file, without running what it may hold.

safetensors and Caffe files are plain data. Those of torch are pickles, which could run code: they
go through torch's restricted unpickler (``weights_only=True``), which makes tensors and plain
values and nothing else.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from srprune.core.errors import ArtifactError, MissingArtifact
from srprune.core.out_of_memory import NO_ROOM_TO_READ, is_out_of_memory, memory_errors
from srprune.models.caffemodel import read_caffemodel

# Where training programs put the state dict: KAIR, BasicSR (EMA first), Lightning, and others.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a file: names without wrappers and common prefixes, floats as float32.

    Args:
        path: ``.safetensors``, ``.caffemodel``, or a torch file of any other name.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, holds more than tensors, or NaN.
        InputError: there is not enough memory.
    """
    if not path.is_file():
        raise MissingArtifact(f"there are no weights {path}.")
    readers: dict[str, Callable[[Path], Any]] = {
        ".safetensors": _read_safetensors,
        ".caffemodel": read_caffemodel,
    }
    with memory_errors(NO_ROOM_TO_READ.format(path)):
        content = readers.get(path.suffix.lower(), _read_torch)(path)
        tensors = _without_prefixes(_unwrapped(path, content))
        floats = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
        check_finite(path, floats)
    return floats


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ArtifactError if a tensor holds NaN or infinity."""
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ArtifactError(
            f"{path} holds NaN or infinity (in {bad[0]}{more}): its training went astray. "
            "Take earlier ones."
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}).") from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages of older torch versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        said = str(error).lower()
        if "unsupported global" in said or "unsupported class" in said:
            raise ArtifactError(
                f"{path} holds more than tensors: reading it could run code of its own, so it was "
                "not read. Save the network's state_dict(), best as safetensors."
            ) from error
        raise ArtifactError(f"{path} is damaged, or no weights file of torch.") from error
    except Exception as error:  # torch raises nearly anything on damaged data
        if is_out_of_memory(error):
            raise
        raise ArtifactError(f"{path} is damaged, or no weights file of torch.") from error


def _unwrapped(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict inside what a file holds."""
    while isinstance(content, Mapping):
        inner = [w for w in WRAPPERS if isinstance(content.get(w), Mapping) and content[w]]
        if not inner:
            break
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content:
        raise ArtifactError(f"{path} holds no tensors by name, but {type(content).__name__}.")
    other = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if other:
        kind = type(content[other[0]]).__name__
        raise ArtifactError(
            f"{path} holds no state dict: {other[0]!r} is no tensor, but {kind}. Known wrappers: "
            f"{', '.join(WRAPPERS)}."
        )
    return {str(name): tensor for name, tensor in content.items()}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrapping modules put in front of every one."""
    for prefix in PREFIXES * len(PREFIXES):  # in either order
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors
