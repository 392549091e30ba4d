"""Features of a workspace: made once, made again for other patches, never for another's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srprune.core.config import ExtractConfig
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact, UnknownName
from srprune.core.features import FeatureTable
from srprune.core.workspace import Workspace
from srprune.images.descriptors import FEATURES
from srprune.stages.extract import ImageSource, extract, open_hr, read_index
from srprune.stages.features import features_of


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    return made


@pytest.mark.parametrize("name", list(FEATURES))
def test_rows_are_those_of_the_patches(workspace: Workspace, name: str) -> None:
    index = read_index(workspace)
    reports: list[tuple[str, int, int]] = []
    table = features_of(workspace, name, index, lambda *told: reports.append(told[:3]))
    assert reports[-1] == (f"features {name}", len(index.images), len(index.images))
    hr, descriptor = open_hr(workspace, index), FEATURES.load(name)
    assert table.names == descriptor.names and len(table) == len(index)
    zero = np.zeros(1, dtype=int)
    for i in range(0, len(index), 7):
        crop = hr.crop(int(index.image_N[i]), int(index.top_N[i]), int(index.left_N[i]), 48)
        assert np.array_equal(descriptor.compute(crop, zero, zero, 48)[0], table.features_ND[i])
    assert table.header.parents == {"patches": index.fingerprint}
    assert FeatureTable.read(workspace.features(name)).fingerprint == table.fingerprint


def test_they_are_made_once_and_again_for_other_patches(workspace: Workspace, images: Path) -> None:
    first = features_of(workspace, "gradient", read_index(workspace))

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        raise AssertionError(f"{label} again")

    again = features_of(workspace, "gradient", read_index(workspace), progress)
    assert again.fingerprint == first.fingerprint
    index = extract(ImageSource.find(str(images)), ExtractConfig(size=60, stride=24), workspace)
    other = features_of(workspace, "gradient", index)
    assert len(other) == len(index) != len(first)


def test_a_damaged_table_of_ours_is_made_again(workspace: Workspace) -> None:
    index = read_index(workspace)
    first = features_of(workspace, "dhash", index)
    workspace.features("dhash").write_bytes(b"PAR1 nothing")
    assert features_of(workspace, "dhash", index).fingerprint == first.fingerprint


def test_a_table_made_elsewhere_is_read_and_checked(workspace: Workspace) -> None:
    index = read_index(workspace)

    def put(rows: int, patches: str) -> None:
        FeatureTable.write(
            workspace.features("clip"), np.ones((rows, 2), np.float32), ("a", "b"),
            parents={"patches": patches}, params={}, made={},
        )  # fmt: skip

    put(len(index), index.fingerprint)
    assert features_of(workspace, "clip", index).names == ("a", "b")
    put(3, index.fingerprint)
    with pytest.raises(InputError, match="'clip' have 3 rows, and there are"):
        features_of(workspace, "clip", index)
    put(len(index), "00000000000000bb")
    with pytest.raises(ArtifactMismatch, match="00000000000000bb"):
        features_of(workspace, "clip", index)


@pytest.mark.parametrize("name", ["textur", "../features/texture", ""])
def test_a_name_that_is_none_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(UnknownName, match="Known: dhash, gradient, texture"):
        features_of(workspace, name, read_index(workspace))


def test_without_pixels_the_command_that_makes_them_is_named(workspace: Workspace) -> None:
    workspace.hr_pixels.unlink()
    with pytest.raises(MissingArtifact, match="Run 'srprune extract'"):
        features_of(workspace, "texture", read_index(workspace))
