"""Archives that are not to be trusted: only the wanted images come out, whole, or nothing."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srprune.core.errors import ArtifactError
from srprune.images.downloads.unpack import Written, unpack


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


IMAGES = {f"{number:04d}.png": png(number) for number in range(1, 4)}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def tarred(members: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
        for info in more:
            opened.addfile(info)
    return file.getvalue()


WRITERS = {"a.zip": zipped, "a.tar": tarred}
BOTH = pytest.mark.parametrize("name", WRITERS)


def inside(folder: str, images: dict[str, bytes] = IMAGES) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in images.items()}


def open_up(tmp_path: Path, name: str, content: bytes, num: int = 3) -> dict[str, Written]:
    archive = tmp_path / "archive.part"
    archive.write_bytes(content)
    return unpack(archive, name, "top/HR", tmp_path / "target", num)


@BOTH
def test_the_images_of_one_folder_are_written(tmp_path, name):
    others = {"top/LR/0001.png": b"x", "top/HR/readme.txt": b"x", "top/HR/._0001.png": b"x",
              "top/HRmore/0001.png": b"x", "0001.png": b"x"}  # fmt: skip
    written = open_up(tmp_path, name, WRITERS[name]({**others, **inside("top/HR")}))
    assert {f.name: f.read_bytes() for f in (tmp_path / "target").iterdir()} == IMAGES
    assert written == {n: Written(len(c), zlib.crc32(c)) for n, c in IMAGES.items()}
    assert list(written) == sorted(IMAGES)


def test_a_leading_dot_and_folders_in_the_list_do_not_matter(tmp_path):
    folders = [tarfile.TarInfo("top"), tarfile.TarInfo("top/HR"), tarfile.TarInfo("top/HR/x.png")]
    for folder in folders:
        folder.type = tarfile.DIRTYPE
    open_up(tmp_path, "a.tar", tarred(inside("./top/HR"), *folders))
    assert len(list((tmp_path / "target").iterdir())) == 3


BAD_NAMES = [
    "../evil.png",
    "top/HR/../../../evil.png",
    "/evil.png",
    "\\evil.png",
    "C:\\evil.png",
    "c:evil.png",
    "top\\..\\..\\evil.png",
    "//host/share/evil.png",
]


@BOTH
@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_name_that_leads_out_spoils_the_archive(tmp_path, name, bad):
    with pytest.raises(ArtifactError, match=r"cannot be unpacked: the name .* leads out"):
        open_up(tmp_path, name, WRITERS[name]({**inside("top/HR"), bad: b"x"}))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive.part"]


@BOTH
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"top/HR/deep/0009.png": b"x"}, "is not where an image of top/HR is"),
        ({"top/HR/a:b.png": b"x"}, "is not where an image"),
        ({"top/HR/caf\u00e9.png": b"x"}, "is not where an image"),
        ({"top/HR/0004.PNG": b"x", "top/HR/0004.png": b"x"}, "in two spellings"),
        ({"top/HR/0009.png": b"x"}, "holds 4 images, not 3"),
        ({"./top/HR/0001.png": b"x"}, "is in it twice"),
    ],
)
def test_images_that_are_not_as_they_should_be_are_refused(tmp_path, name, more, said):
    with pytest.raises(ArtifactError, match=said):
        open_up(tmp_path, name, WRITERS[name]({**inside("top/HR"), **more}))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("top/HR/0004.png")
    info.type, info.linkname = kind, "../../../../etc/passwd"
    with pytest.raises(ArtifactError, match="is a link or a device"):
        open_up(tmp_path, "a.tar", tarred(inside("top/HR"), info), num=4)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    file = io.BytesIO(zipped(inside("top/HR")))
    with zipfile.ZipFile(file, "a") as opened:
        info = zipfile.ZipInfo("top/HR/0004.png")
        info.external_attr = (kind | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(ArtifactError, match="is a link or a device"):
        open_up(tmp_path, "a.zip", file.getvalue(), num=4)


def test_an_encrypted_zip_is_refused(tmp_path):
    content = bytearray(zipped(inside("top/HR")))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArtifactError, match="encrypted"):
        open_up(tmp_path, "a.zip", bytes(content))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path):
    members = {**inside("top/HR"), "top/HR/0004.png": bytes(50_000_000)}
    with pytest.raises(ArtifactError, match=r"would grow to 50,0.* bytes, like a bomb's"):
        open_up(tmp_path, "a.zip", zipped(members, zipfile.ZIP_DEFLATED), num=4)
    assert not (tmp_path / "target").exists()


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_declares(tmp_path):
    members = {"top/HR/0001.png": bytes(5_000_000)}
    content = zipped(members, zipfile.ZIP_DEFLATED)
    lied = content.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 5_000))
    assert lied != content
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        open_up(tmp_path, "a.zip", lied, num=1)
    assert sum(f.stat().st_size for f in (tmp_path / "target").iterdir()) <= 5_000


@BOTH
def test_a_flipped_bit_in_a_zip_is_seen_by_its_crc(tmp_path, name):
    content = bytearray(WRITERS[name](inside("top/HR")))
    at = bytes(content).index(IMAGES["0002.png"]) + 1000
    content[at] ^= 1
    if name == "a.tar":  # a tar has no checksum of its content: the archive's SHA-256 is for that
        assert open_up(tmp_path, name, bytes(content))["0002.png"].size == len(IMAGES["0002.png"])
        return
    with pytest.raises(ArtifactError, match="CRC"):
        open_up(tmp_path, name, bytes(content))


def test_a_name_that_a_zero_byte_cuts_to_nothing_is_refused(tmp_path):
    content = bytearray(WRITERS["a.zip"](inside("top/HR")))
    content[bytes(content).rindex(b"top/HR/")] = 0  # in the directory at the end
    with pytest.raises(ArtifactError, match="leads out of its folder"):
        open_up(tmp_path, "a.zip", bytes(content))


@BOTH
@pytest.mark.parametrize("garbage", [b"", b"<html>404</html>", bytes(10_240), b"PK" * 5000])
def test_garbage_is_no_archive(tmp_path, name, garbage):
    with pytest.raises(ArtifactError, match="cannot be unpacked") as caught:
        open_up(tmp_path, name, garbage)
    assert "\n" not in str(caught.value)


@BOTH
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_of_any_kind_ends_in_one_line_and_writes_nothing_outside(
    tmp_path_factory, name, data
):
    folder = tmp_path_factory.mktemp("damage")
    small = {f"{n}.png": bytes([n]) * 40 for n in range(3)}
    content = bytearray(WRITERS[name](inside("top/HR", small)))
    places = st.integers(0, len(content) - 1)
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[at] = value
    cut = data.draw(st.one_of(st.none(), places))
    try:
        written = open_up(folder, name, bytes(content[:cut]))
    except ArtifactError as error:
        assert str(error).isprintable()
    else:
        assert {f.name for f in (folder / "target").iterdir()} == set(written)
    assert {path.name for path in folder.iterdir()} <= {"archive.part", "target"}
