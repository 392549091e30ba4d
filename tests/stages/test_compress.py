"""extract --compress: fewer bytes on disk, and not one artifact that differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.errors import ImageError
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.images.packed_store import PackedStore
from srprune.stages.extract import ImageSource, extract, open_hr
from srprune.stages.pool import open_pool

CONFIG = ExtractConfig(size=48, stride=24)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def pixels_of(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.hr_pixels.parent.glob("[!.]*"))


def cut(images: Path, workspace: Workspace, **more) -> PatchIndex:
    return extract(ImageSource.find(str(images)), CONFIG, workspace, **more)


def test_the_index_is_the_same_artifact(images, workspace, tmp_path):
    plain = Workspace(tmp_path / "plain")
    one, other = cut(images, plain), cut(images, workspace, compress=True, workers=2)
    assert pixels_of(plain) == ["hr.u8", "hr.u8.json"]
    assert pixels_of(workspace) == ["hr.u8.zst", "hr.u8.zst.json"]
    assert one.fingerprint == other.fingerprint and one.pixels == other.pixels
    assert [i.content for i in one.images] == [i.content for i in other.images]
    for i in range(len(one.images)):
        np.testing.assert_array_equal(
            open_hr(plain, one).image(i), open_hr(workspace, other).image(i)
        )


def test_lr_is_compressed_where_hr_is(images, workspace, tmp_path):
    cut(images, workspace, compress=True)
    pool = open_pool(workspace, 2)
    assert isinstance(pool.lr_store, PackedStore)
    assert pixels_of(workspace) == [
        "hr.u8.zst", "hr.u8.zst.json", "lr_x2.u8.zst", "lr_x2.u8.zst.json"]  # fmt: skip
    plain = Workspace(tmp_path / "plain")
    cut(images, plain)
    for i in range(len(pool.lr_store)):
        np.testing.assert_array_equal(pool.lr_store.image(i), open_pool(plain, 2).lr_store.image(i))


def test_what_is_compressed_stays_so(images, workspace):
    cut(images, workspace, compress=True)
    file = workspace.hr_pixels.with_name("hr.u8.zst")
    before = file.stat().st_mtime_ns
    cut(images, workspace)
    cut(images, workspace, compress=True)
    assert file.stat().st_mtime_ns == before
    assert pixels_of(workspace) == ["hr.u8.zst", "hr.u8.zst.json"]


def test_a_plain_workspace_is_compressed_without_a_look_at_the_images(images, workspace):
    index = cut(images, workspace)
    whole = [np.array(open_hr(workspace, index).image(i)) for i in range(len(index.images))]
    open_pool(workspace, 2)
    when = workspace.patches.stat().st_mtime_ns
    reports = []
    again = cut(
        images, workspace, compress=True, progress=lambda label, *rest: reports.append(label)
    )
    assert set(reports) == {"compress"}
    assert again.fingerprint == index.fingerprint and workspace.patches.stat().st_mtime_ns == when
    assert pixels_of(workspace) == ["hr.u8.zst", "hr.u8.zst.json"]  # LR follows when it is needed
    for i, expected in enumerate(whole):
        np.testing.assert_array_equal(open_hr(workspace, again).image(i), expected)
    assert isinstance(open_pool(workspace, 2).lr_store, PackedStore)


def test_other_images_come_as_they_are_asked_for(images, workspace):
    cut(images, workspace, compress=True)
    open_pool(workspace, 2)
    (images / "a.png").unlink()
    cut(images, workspace)
    assert not isinstance(open_pool(workspace, 2).lr_store, PackedStore)
    assert pixels_of(workspace) == ["hr.u8", "hr.u8.json", "lr_x2.u8", "lr_x2.u8.json"]


def test_bad_images_leave_no_part(images, workspace):
    (images / "c.png").write_bytes((images / "a.png").read_bytes()[:2000])
    with pytest.raises(ImageError, match="1 image of 5 cannot be used"):
        cut(images, workspace, compress=True)
    assert pixels_of(workspace) == []
    index = cut(images, workspace, compress=True, skip_bad=True)
    names = [image.path for image in index.images]
    with Image.open(images / "b.png") as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(open_hr(workspace, index).image(names.index("b.png")), expected)


def test_patches_are_written_from_compressed_pixels(images, workspace, tmp_path):
    plain = Workspace(tmp_path / "plain")
    cut(images, plain, write_patches=True)
    cut(images, workspace, compress=True, write_patches=True, workers=2)
    files = sorted((plain.root / "sub_images" / "HR").iterdir())
    assert files
    for file in files:
        assert file.read_bytes() == (workspace.root / "sub_images" / "HR" / file.name).read_bytes()
