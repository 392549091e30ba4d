"""Images that cannot be used are named with what is wrong, and leave nothing half-written."""

from __future__ import annotations

import pytest

from tests.cli.spoiled import BAD, PATCHES, contents, files, text

EVERY = pytest.mark.parametrize(("spoil", "why"), BAD.items(), ids=[bad.__name__ for bad in BAD])


@EVERY
def test_an_unusable_image_is_named_with_its_reason(refused, images, tmp_path, spoil, why):
    spoil(images / "c.png")
    said = refused("extract", images, *PATCHES, lines=None)
    assert said.startswith("1 image of 5 cannot be used:")
    assert f"{images / 'c.png'} " in said
    assert why in said
    assert "--skip-bad" in said
    assert files(tmp_path / "workspace") == []


def test_all_unusable_images_are_listed_at_once(refused, images):
    for number, spoil in enumerate(BAD):
        spoil(images / f"bad{number}.png")
    said = refused("extract", images, *PATCHES, lines=2 + len(BAD))
    assert said.startswith(f"{len(BAD)} images of {4 + len(BAD)} cannot be used:")
    for number, why in enumerate(BAD.values()):
        assert any(f"bad{number}.png" in line and why in line for line in said.splitlines())


def test_skip_bad_goes_on_and_inspect_shows_what_was_skipped(cli, images, unfinished, tmp_path):
    for number, spoil in enumerate(BAD):
        spoil(images / f"bad{number}.png")
    printed = cli("extract", images, *PATCHES, "--skip-bad").stdout
    assert "from 4 images" in printed
    kept = cli("inspect", "workspace/patches.parquet", "--json").stdout
    for number, why in enumerate(BAD.values()):
        assert f"skipped: bad{number}.png" in printed
        assert why in printed
        assert f"bad{number}.png" in kept
        assert why in kept
    assert unfinished(tmp_path) == []


def test_skip_bad_still_needs_one_usable_image(refused, images):
    for image in images.iterdir():
        text(image)
    assert refused("extract", images, "--skip-bad", lines=None).startswith("4 images of 4")


def test_a_refused_extract_keeps_the_index_that_was_there(cli, refused, images, tmp_path):
    cli("extract", images, *PATCHES)
    before = contents(tmp_path / "workspace")
    text(images / "c.png")
    refused("extract", images, *PATCHES, lines=None)
    assert contents(tmp_path / "workspace") == before


def test_a_broken_link_is_named(refused, images):
    (images / "c.png").symlink_to("moved_away.png")
    for command in (["extract", images], ["eval", "bicubic", "--benchmark", images]):
        said = refused(*command)
        assert "'c.png'" in said
        assert "broken link" in said


def test_an_empty_folder_is_refused(refused, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert refused("extract", "nothing").startswith("there is no image in nothing")


def test_a_missing_folder_is_refused(refused):
    assert refused("extract", "nowhere") == "there is no folder nowhere."


def test_a_file_in_place_of_the_folder_is_refused(refused, images):
    assert "a folder of images was expected" in refused("extract", images / "a.png")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "50"], "size is 50; it must be a positive multiple of 12"),
        (["--size", "48", "--stride", "96"], "stride is 96, over the size 48"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(refused, images, options, said):
    assert said in refused("extract", images, *options)
