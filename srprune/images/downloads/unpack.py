"""Images out of a zip or tar file that is not trusted.

Python's own ``extractall`` is not used. Members are read one by one, and only image files that lie
directly in the wanted folder are written, under plain names, as new files; so links, devices,
absolute names, ``..`` and drive letters have nothing to act on. They are refused all the same: an
archive that has them is not the one that was meant.
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from srprune.core.errors import ArtifactError
from srprune.core.progress import Progress, silent
from srprune.images.decode import SUFFIXES
from srprune.images.downloads.disk import CHUNK, check_space, writing

MAX_GROWTH = 4  # images hardly shrink in an archive; a bomb grows a thousandfold
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .()+-]*")  # a file name on every system
_FAULTS = (  # what the readers raise on bad bytes; writing has its own errors by then
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,  # encrypted, an unknown compression, headers nested without end
    ValueError,
)


@dataclass(frozen=True)
class _Member:
    """An entry of an archive; ``plain`` is False for links, devices and the like."""

    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Written:
    """A file that was unpacked: its bytes and their CRC-32."""

    size: int
    crc32: int


def unpack(
    archive: Path,
    name: str,
    inside: str,
    target: Path,
    num_images: int,
    progress: Progress = silent,
) -> dict[str, Written]:
    """Write the images of one folder of an archive into a new folder.

    Args:
        archive: the file.
        name: what it is called, ending in ``.zip`` or ``.tar``.
        inside: path of the folder in the archive.
        target: folder that does not exist yet; on an error its content is of no use.
        num_images: how many images there must be.
        progress: told after each image.

    Returns:
        Size and CRC-32 of each image, by name, sorted.

    Raises:
        ArtifactError: the archive is damaged, not safe, or does not hold these images.
        StorageError: the disk is full or may not be written.
    """
    with _readable(name), _opened(archive, name) as members:
        chosen = _choose(members, name, inside, num_images)
        total = sum(member.size for member in chosen.values())
        if total > MAX_GROWTH * archive.stat().st_size:
            raise _unfit(name, f"its images would grow to {total:,} bytes, like a bomb's")
        check_space(target.parent, total, f"the images of {name}")
        with writing(target):
            target.mkdir(parents=True)
        written = {}
        for count, (plain, member) in enumerate(chosen.items(), start=1):
            written[plain] = _write(name, member, target / plain)
            progress(f"unpack {name}", count, len(chosen))
    return written


def _choose(
    members: Sequence[_Member], name: str, inside: str, num_images: int
) -> dict[str, _Member]:
    """The images of the wanted folder by name; everything about them is checked first."""
    folder, chosen = PurePosixPath(inside), {}
    for member in members:
        if _leads_out(member.name):
            raise _unfit(name, f"the name {member.name!r} in it leads out of its folder")
        path = PurePosixPath(member.name)  # "./a" is "a"
        if not path.is_relative_to(folder) or path.name.startswith("."):
            continue
        if not member.plain:
            raise _unfit(name, f"{member.name!r} in it is a link or a device")
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.parent != folder or not _PLAIN.fullmatch(path.name):
            raise _unfit(name, f"{member.name!r} in it is not where an image of {inside} is")
        if path.name in chosen:
            raise _unfit(name, f"{member.name!r} is in it twice")
        chosen[path.name] = member
    small = Counter(plain.lower() for plain in chosen)  # some file systems see no difference
    if len(small) < len(chosen):
        raise _unfit(name, f"{small.most_common(1)[0][0]!r} is in it in two spellings")
    if len(chosen) != num_images:
        raise _unfit(name, f"{inside} in it holds {len(chosen)} images, not {num_images}")
    return dict(sorted(chosen.items()))


def _leads_out(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ".." in parts or "\0" in name or parts[0][1:2] == ":"


def _write(name: str, member: _Member, path: Path) -> Written:
    """Write one image; it must be as long as the archive declares."""
    size = crc32 = 0
    with writing(path):
        file = path.open("xb")
    with file, member.open() as content:
        while chunk := content.read(CHUNK):
            size += len(chunk)
            if size > member.size:
                break
            crc32 = zlib.crc32(chunk, crc32)
            with writing(path):
                file.write(chunk)
    if size != member.size:
        raise _unfit(name, f"{member.name!r} in it is not as long as declared")
    return Written(size, crc32)


@contextmanager
def _opened(archive: Path, name: str) -> Iterator[list[_Member]]:
    """The members of an archive."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            files = [info for info in opened.infolist() if not info.filename.endswith("/")]
            yield [_of_zip(opened, info) for info in files]  # is_dir() fails on an empty name
    else:
        with tarfile.open(archive, "r:") as tar:
            yield [_of_tar(tar, info) for info in tar.getmembers() if not info.isdir()]


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no Unix wrote the archive
    plain = kind in (0, stat.S_IFREG)
    return _Member(info.orig_filename, info.file_size, plain, lambda: opened.open(info))


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    def content() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None  # a regular file always has content
        return file

    return _Member(info.name, info.size, info.isreg() and not info.issparse(), content)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what the readers raise on bad bytes into one clear line."""
    try:
        yield
    except _FAULTS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _unfit(name, reason) from error


def _unfit(name: str, why: str) -> ArtifactError:
    return ArtifactError(f"{name} cannot be unpacked: {why}.")
