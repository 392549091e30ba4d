"""A core-set without pixels: which windows of which images, so that others can rebuild it.

A JSON file. It names every image of the patch index by the hash of its pixels, the grid, and the
windows that are kept; with the same images, ``srprune import`` makes the same patch index and the
same core-set from it, fingerprint for fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import canonical, digest, write_text
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactError, InputError, MissingArtifact, StorageError
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.images.grid import grid

KIND = "core-set list of srprune"
FORM = 1


@dataclass(frozen=True)
class CoreSetList:
    """What a list says.

    Attributes:
        name: of the core-set.
        index: the patch index that it is of, as it will be written again.
        patch_ids: (kept,) int64, rising.
        weights: (kept,) float64, or None where all patches are drawn alike.
        patches: fingerprint of the patch index.
        coreset: fingerprint of the core-set.
        parents: parents of the core-set.
        params: parameters of the core-set: rule, ratio, offset, seed and counts.
        fingerprint: of the list.
    """

    name: str
    index: PatchIndex
    patch_ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    patches: str
    coreset: str
    parents: dict[str, str]
    params: dict[str, Any]
    fingerprint: str


def write_list(
    path: Path, name: str, coreset: CoreSet, index: PatchIndex, made: Mapping[str, Any]
) -> str:
    """One JSON file without pixels: windows and hashes of images, for 'srprune import'.

    Returns:
        Fingerprint of the list, which is written whole or not at all.

    Raises:
        InputError: another list, or another file, stands there.
        StorageError: the disk is full, or the folder may not be written.
    """
    images = [asdict(image) for image in index.images]
    content: dict[str, Any] = {
        "kind": KIND,
        "form": FORM,
        "name": name,
        "coreset": coreset.fingerprint,
        "parents": coreset.header.parents,
        "params": coreset.header.params,
        "patches": {"fingerprint": index.fingerprint, "size": index.size, "stride": index.stride},
        "images": images,
        "kept": _kept(coreset, index),
    }
    mark = digest(canonical(content))
    if path.exists():
        if _mark_of(path) == mark:
            return mark
        raise InputError(
            f"{path} is there already, and no list of this core-set. Name another --out, or "
            "move it away."
        )
    write_text(path, _text({**content, "fingerprint": mark, "made": dict(made)}))
    return mark


def read_list(path: Path) -> CoreSetList:
    """Read a list and check that it is whole.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, was changed, is no list, or of a newer form.
    """
    content = _load(path)
    mark = content.pop("fingerprint", None)
    content.pop("made", None)
    try:
        if mark != digest(canonical(content)):  # which is none where a number is not finite
            raise ArtifactError(
                f"the content of {path} does not match its fingerprint {mark}: it was changed "
                "after it was made. Ask for the original file."
            )
        return _parsed(content, str(mark))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ArtifactError(
            f"{path} is no sound core-set list ({type(error).__name__}: {error}). Ask for the "
            "original file."
        ) from error


def _kept(coreset: CoreSet, index: PatchIndex) -> list[dict[str, Any]]:
    """The kept windows of each image that has any."""
    ids, weights = coreset.patch_ids, coreset.weights
    starts = np.flatnonzero(np.diff(index.image_N[ids], prepend=-1))
    entries = []
    for rows in np.split(np.arange(len(ids)), starts[1:]):
        own = ids[rows]
        entry: dict[str, Any] = {
            "image": int(index.image_N[own[0]]),
            "patch_ids": own.tolist(),
            "top": index.top_N[own].tolist(),
            "left": index.left_N[own].tolist(),
        }
        if weights is not None:
            entry["weights"] = weights[rows].tolist()
        entries.append(entry)
    return entries


def _parsed(content: dict[str, Any], mark: str) -> CoreSetList:
    images = tuple(
        ImageRecord(str(i["path"]), int(i["height"]), int(i["width"]), str(i["content"]))
        for i in content["images"]
    )
    patches = content["patches"]
    size, stride = int(patches["size"]), int(patches["stride"])
    shapes = [(image.height, image.width) for image in images]
    index = PatchIndex(size, stride, images, *grid(shapes, size, stride))
    ids = np.concatenate([np.array(entry["patch_ids"], np.int64) for entry in content["kept"]])
    if ids[0] < 0 or (np.diff(ids) <= 0).any():
        raise ValueError("its patch ids do not rise")
    there = [
        (entry["image"], top, left)
        for entry in content["kept"]
        for top, left in zip(entry["top"], entry["left"], strict=True)
    ]
    ours = zip(
        index.image_N[ids].tolist(),
        index.top_N[ids].tolist(),
        index.left_N[ids].tolist(),
        strict=True,
    )
    if there != list(ours):
        raise ValueError("its windows are not those of its grid")
    weights = None
    if "weights" in content["kept"][0]:
        weights = np.concatenate([np.array(entry["weights"]) for entry in content["kept"]])
    name = str(content["name"])
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"{name!r} can't be the name of a file")
    return CoreSetList(
        name=name,
        index=index,
        patch_ids=ids,
        weights=weights,
        patches=str(patches["fingerprint"]),
        coreset=str(content["coreset"]),
        parents=dict(content["parents"]),
        params=dict(content["params"]),
        fingerprint=mark,
    )


def _mark_of(path: Path) -> str | None:
    try:
        return str(_load(path).get("fingerprint"))
    except ArtifactError:
        return None


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingArtifact(f"there is no file {path}.") from None
    except PermissionError:
        raise StorageError(f"no permission to read {path}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no core-set list: it can't be read as JSON.") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ArtifactError(
            f"{path} is no core-set list. One is written by 'srprune export --to list'."
        )
    if content.get("form") != FORM:
        raise ArtifactError(
            f"{path} has form {content.get('form')}; this srprune reads form {FORM}. Use the "
            "srprune that wrote it."
        )
    return content


def _text(content: Mapping[str, Any]) -> str:
    """JSON with a line for each image and for the kept windows of each."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list):
            text = "[\n " + ",\n ".join(json.dumps(entry) for entry in value) + "\n]"
        else:
            text = json.dumps(value)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
