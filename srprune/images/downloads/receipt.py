"""What a finished download leaves in its folder: where it came from, and what must be there."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srprune.core.artifact import write_text
from srprune.core.errors import ArtifactError
from srprune.core.progress import Progress, silent
from srprune.images.decode import SUFFIXES
from srprune.images.downloads.disk import CHUNK
from srprune.images.downloads.unpack import Written

NAME = "receipt.json"
FORMAT = 1


@dataclass(frozen=True)
class Receipt:
    """A finished download of one part.

    Attributes:
        dataset: its id, such as ``div2k``.
        part: such as ``train_hr``.
        url: of the archive.
        archive_size: bytes of the archive.
        sha256: of the archive, as it was seen.
        published: whether that is the SHA-256 that others had published; else it was only seen.
        num_images: how many images there are.
        terms: what they may be used for.
        made: who made it: versions, command, date, seconds.
        files: size and CRC-32 of each image, by name.
    """

    dataset: str
    part: str
    url: str
    archive_size: int
    sha256: str
    published: bool
    num_images: int
    terms: str
    made: Mapping[str, Any]
    files: Mapping[str, Written] = field(repr=False)

    def facts(self) -> dict[str, Any]:
        """All but the files, as plain values."""
        return {key: value for key, value in asdict(self).items() if key != "files"}

    def write(self, folder: Path) -> None:
        """Write it into the folder of its images."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        write_text(folder / NAME, text + "\n")


def read_receipt(folder: Path) -> Receipt:
    """The receipt of a folder.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    try:
        raw = json.loads((folder / NAME).read_text(encoding="utf-8"))
        files = {str(name): Written(int(f["size"]), int(f["crc32"])) for name, f in
                 raw["files"].items()}  # fmt: skip
        facts = {key: raw[key] for key in Receipt.__dataclass_fields__ if key != "files"}
        if raw["format"] != FORMAT or facts["num_images"] != len(files):
            raise ValueError
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} is there, but srprune did not make it: it has no {NAME}. Move it away, or "
            "choose another --out."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ArtifactError(
            f"{folder / NAME} is damaged. Remove the folder {folder} and give the command again."
        ) from None
    return Receipt(files=files, **facts)


def check_images(folder: Path, receipt: Receipt, progress: Progress = silent) -> None:
    """Compare every image with its receipt, byte for byte by CRC-32.

    Raises:
        ArtifactError: images are missing, changed or too many; the message names the first.
    """
    there = {each.name for each in folder.iterdir() if each.suffix.lower() in SUFFIXES}
    faults = [f"{name} does not belong there" for name in sorted(there - set(receipt.files))]
    for count, (name, file) in enumerate(receipt.files.items(), start=1):
        if name not in there:
            faults.append(f"{name} is missing")
        elif _written(folder / name) != file:
            faults.append(f"{name} was changed")
        progress(f"check {folder.name}", count, len(receipt.files))
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise ArtifactError(
            f"{folder} is damaged: {faults[0]}{more}. Remove the folder and give the command again."
        )


def _written(path: Path) -> Written:
    """Size and CRC-32 of a file; of one that cannot be read, those of nothing."""
    size = crc32 = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                size, crc32 = size + len(chunk), zlib.crc32(chunk, crc32)
    except OSError:
        return Written(-1, 0)
    return Written(size, crc32)
