"""Reader of ``.caffemodel`` files: the weights of a Caffe network, without Caffe or protobuf.

Such a file is one message ``NetParameter`` of Caffe's ``caffe.proto`` in protobuf's wire format:
a series of fields, each a key (number and wire type) and a content. Nothing is allocated by a
number that the file states; the messages that count lie four deep, so nothing recurses.

    NetParameter    100 layer: LayerParameter
    LayerParameter  1 name: string    7 blobs: BlobProto
    BlobProto       5 data: float     8 double_data: double    7 shape: BlobShape
                    1 to 4 num, channels, height and width, in place of a shape
    BlobShape       1 dim: int64
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srprune.core.errors import ArtifactError, MissingArtifact

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types; 3 and 4, groups, occur in no Caffe file
_FIXED = {_EIGHT: 8, _FOUR: 4}
_MOST_AXES = 32  # Caffe's own bound
_ROLES = ("weight", "bias")


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """Read the blobs of all layers that have any.

    Returns:
        float32 tensors: ``LAYER.weight``, the first blob, and ``LAYER.bias``, the second, with
        one axis; should a layer have more, ``LAYER.blob2`` and so on. A file that was cut between
        two layers cannot be told from a smaller network: hold the names against the network.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or no Caffe model.
    """
    if not path.is_file():
        raise MissingArtifact(f"there are no weights {path}.")
    tensors: dict[str, Tensor] = {}
    try:
        for number, wire, content in _fields(memoryview(path.read_bytes())):
            if (number, wire) == (100, _BYTES):
                layer = _layer(content)
                if twice := layer.keys() & tensors.keys():
                    raise ValueError(f"{min(twice)!r} occurs twice")
                tensors |= layer
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged, or no Caffe model ({error}).") from None
    if not tensors:
        raise ArtifactError(f"{path} holds no layers with weights in the form of caffe.proto.")
    return tensors


def _layer(data: memoryview) -> dict[str, Tensor]:
    name, blobs = "", []
    for number, wire, content in _fields(data):
        if (number, wire) == (1, _BYTES):
            name = str(content, "utf-8")
        elif (number, wire) == (7, _BYTES):
            blobs.append(_blob(content))
    if blobs and not name:
        raise ValueError("a layer with weights has no name")
    if len(blobs) > 1:
        blobs[1] = blobs[1].flatten()  # (1, 1, 1, N) in old files
    roles = [*_ROLES, *(f"blob{i}" for i in range(len(_ROLES), len(blobs)))]
    return {f"{name}.{role}": blob for role, blob in zip(roles, blobs, strict=False)}


def _blob(data: memoryview) -> Tensor:
    floats, doubles = bytearray(), bytearray()
    shape: list[int] = []
    old_shape: dict[int, int] = {}
    for number, wire, content in _fields(data):
        if number == 5 and wire in (_BYTES, _FOUR):
            floats += content
        elif number == 8 and wire in (_BYTES, _EIGHT):
            doubles += content
        elif (number, wire) == (7, _BYTES):
            shape += _dims(content)
        elif number in (1, 2, 3, 4) and wire == _VARINT:
            old_shape[number] = _varint(content, 0)[0]
    stored, dtype = (doubles, np.dtype("<f8")) if doubles else (floats, np.dtype("<f4"))
    dims = [old_shape.get(number, 0) for number in (1, 2, 3, 4)] if old_shape else shape
    if len(stored) % dtype.itemsize:
        raise ValueError("a blob ends within a value")
    count = len(stored) // dtype.itemsize
    # The number of axes first: the product of very many would take for ever.
    if not count or len(dims) > _MOST_AXES or math.prod(dims) != count:
        raise ValueError(f"a blob of {count} values has another shape")
    with np.errstate(all="ignore"):  # a double may be too large for a float
        values = np.frombuffer(stored, dtype).astype(np.float32)
    return torch.from_numpy(values).reshape(dims)


def _dims(data: memoryview) -> list[int]:
    dims = []
    for number, wire, content in _fields(data):
        if number == 1 and wire in (_BYTES, _VARINT):  # packed or one by one
            at = 0
            while at < len(content):
                value, at = _varint(content, at)
                dims.append(value)
    return dims


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Number, wire type and content of each field; the content of a varint is its own bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire, start = key >> 3, key & 7, at
        if wire == _VARINT:
            _, at = _varint(data, at)
        elif wire == _BYTES:
            length, start = _varint(data, at)
            at = start + length
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise ValueError(f"a field has wire type {wire}")
        if at > len(data):
            raise ValueError("a field ends beyond the end")
        yield number, wire, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned number at ``at``, and where it ends; a negative one is very large."""
    value = 0
    for i, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("a number does not end")
