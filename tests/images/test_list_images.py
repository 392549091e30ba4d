"""Which files of a folder are images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from srprune.core.errors import InputError, StorageError
from srprune.images.decode import list_images


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_images_are_listed_by_name_with_those_of_folders_inside(tmp_path: Path) -> None:
    touch(tmp_path, "img10.png", "img2.png", "b/z.JPG", "b/c/d.tiff", "a.WebP", "B.bmp", "x.jpeg")
    touch(tmp_path, "notes.txt", "Thumbs.db", ".hidden.png", ".cache/x.png", "b/.x/y.png", "png")
    listed = list_images(tmp_path)
    assert listed == sorted(listed) == [
        *("B.bmp", "a.WebP", "b/c/d.tiff", "b/z.JPG", "img10.png", "img2.png", "x.jpeg")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["x.gif", "deep/x.GIF", "x.jp2", "x.ppm", "x.svg"])
def test_other_kinds_of_images_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.png", name)
    with pytest.raises(InputError, match=f"holds 1 image files of kinds .* such as {name}"):
        list_images(tmp_path)


def test_hidden_images_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".x.gif")
    assert list_images(tmp_path) == ["a.png"]


def test_folders_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"there is no image in .*; files ending in \.png, "):
        list_images(tmp_path)
    with pytest.raises(InputError, match="is a file; a folder of images was expected"):
        list_images(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="there is no folder"):
        list_images(tmp_path / "none")


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "elsewhere/b.png")
    (tmp_path / "one" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "one" / "c.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "one" / "loop").symlink_to(tmp_path / "one")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "one") == ["a.png", "c.png", "linked/b.png"]


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"1 names in .* such as 'b\.png'"):
        list_images(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "gr\u00fcn.png")
    assert list_images(tmp_path) == ["gr\u00fcn.png"]
    try:
        (tmp_path / os.fsdecode(b"gr\xfcn.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(InputError, match="not UTF-8") as caught:
        list_images(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may list every folder")
def test_a_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(StorageError, match=r"no permission to list the folder .*locked"):
            list_images(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
