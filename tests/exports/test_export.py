"""What all exports promise: whole or not there, once, refused with one line, no byte too much."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from srprune.cli.export import export as export_command
from srprune.core.artifact import write_text
from srprune.core.coreset import CoreSet
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    InputError,
    MissingArtifact,
    StorageError,
    UnknownName,
)
from srprune.core.leftovers import temporary_beside
from srprune.core.patches import PatchIndex
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.exports import EXPORTS, LIST, WITH_FACTS
from srprune.exports.blocks import BLOCKS, LAYOUTS, Roots
from srprune.exports.patch_files import PatchFiles
from srprune.exports.sizes import Size, check_space, png_size
from srprune.exports.stamp import already_there, measure, read_stamp, whole_folder
from srprune.stages.export import export, find_coreset
from srprune.stages.extract import open_hr, read_index, sub_image_names
from srprune.stages.pool import open_pool

FOLDERS = [name for name in EXPORTS if name != LIST]


@pytest.fixture(params=FOLDERS)
def to(request: pytest.FixtureRequest) -> str:
    """Each form that writes a folder."""
    if request.param == "basicsr-lmdb":
        pytest.importorskip("lmdb", reason="the extra 'export' is not installed")
    return request.param


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; not LMDB's lock, which belongs to its readers."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock.mdb"
    }


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def files_of(workspace: Workspace, there: dict[int, list[Path]] | None = None) -> PatchFiles:
    index = read_index(workspace)
    pools = {2: open_pool(workspace, 2)}
    return PatchFiles(index, sub_image_names(index), pools, there or {})


# --- written once, the same each time -----------------------------------------------------------


def test_a_second_call_returns_what_is_there(workspace, to):
    first = export(workspace, "half", to=to)
    before = {p: p.stat().st_mtime_ns for p in first.place.rglob("*")}
    second = export(workspace, "half", to=to)
    assert (first.again, second.again) == (False, True)
    assert second.place == first.place
    assert second.stamp == first.stamp == json.loads((first.place / "export.json").read_text())
    assert {p: p.stat().st_mtime_ns for p in second.place.rglob("*")} == before


def test_the_same_core_set_gives_the_same_bytes(workspace, to, tmp_path):
    first = export(workspace, "weighted", to=to, out=tmp_path / "one" / "here", workers=1)
    second = export(workspace, "weighted", to=to, out=tmp_path / "two" / "here", workers=3)
    one, two = contents(first.place), contents(second.place)
    assert list(one) == list(two)
    for name in one:
        if name == "export.json":  # says when it was made, and where
            a, b = json.loads(one[name]), json.loads(two[name])
            assert {**a, "made": 0, "place": 0} == {**b, "made": 0, "place": 0}
        else:  # a block names the place of the folder
            assert one[name].replace(b"/one/", b"/two/") == two[name], name


def test_the_stamp_says_what_is_there(workspace, to):
    done = export(workspace, "half", to=to, scales=[4, 2])
    stamp, index = done.stamp, read_index(workspace)
    coreset = CoreSet.read(workspace.coreset("half"))
    assert stamp["what"]["coreset"] == coreset.fingerprint
    assert stamp["what"]["patches"] == index.fingerprint
    assert stamp["what"]["scales"] == [2, 4]
    assert stamp["num_patches"] == len(coreset)
    assert stamp["saved"]["num_patches"] == len(index) - len(coreset)
    assert stamp["made"]["versions"]["pillow"]
    found = [p for p in done.place.rglob("*") if p.is_file() and p.name != "export.json"]
    assert stamp["num_files"] == len(found)
    assert stamp["num_bytes"] == sum(p.stat().st_size for p in found)


def test_saved_bytes_are_those_of_the_dropped_patches(workspace):
    index = read_index(workspace)
    half = CoreSet.read(workspace.coreset("half"))
    others = np.setdiff1d(np.arange(len(index)), half.patch_ids)
    CoreSet.write(
        workspace.coreset("rest"),
        others,
        parents={"patches": index.fingerprint},
        params={"rule": "random", "scores": None, "num_patches": len(index), "num_skipped": 0},
        made={},
    )
    saved = export(workspace, "half").stamp["saved"]
    rest = export(workspace, "rest", link="copy")
    pngs = sum(path.stat().st_size for path in rest.place.rglob("*.png"))
    assert saved == {"num_bytes": pngs, "num_patches": len(others), "num_measured": len(others)}


def test_the_only_core_set_needs_no_name_and_a_file_will_do(workspace, tmp_path):
    file = tmp_path / "mine.parquet"
    workspace.coreset("weighted").rename(file)
    assert export(workspace).stamp["name"] == "half"
    assert export(workspace, str(file)).stamp["name"] == "mine"


def test_scores_are_told_only_where_they_are_those_of_the_core_set(workspace, tmp_path):
    def columns(name: str) -> set[str]:
        done = export(workspace, "half", to="hf", out=tmp_path / name)
        line = (done.place / "train" / "metadata.jsonl").read_text().splitlines()[0]
        return set(json.loads(line)) - {"hr_file_name", "lr_file_name"}

    facts = {"patch_id", "image", "top", "left"}
    assert columns("whole") == facts | {"score"}
    table = ScoreTable.read(workspace.scores("mse_x2"))
    header = table.header
    ScoreTable.write(
        workspace.scores("mse_x2"),
        table.scores_N + 1,
        parents=header.parents,
        params=header.params,
        made={},
    )
    assert columns("other scores") == facts
    workspace.scores("mse_x2").unlink()
    assert columns("none") == facts


def test_forms_without_scores_do_not_ask_for_them(workspace, to):
    export(workspace, "weighted", to=to)
    workspace.scores("mse_x2").unlink()
    if to in WITH_FACTS:
        with pytest.raises(InputError, match=r"holds another export \(scores '"):
            export(workspace, "weighted", to=to)
    else:
        assert export(workspace, "weighted", to=to).again


def test_weights_that_are_left_out_are_told(workspace, to):
    assert export(workspace, "weighted", to=to).stamp["weights_left_out"] == (to not in WITH_FACTS)
    assert not export(workspace, "half", to=to).stamp["weights_left_out"]


# --- moved --------------------------------------------------------------------------------------


def test_a_folder_that_was_moved_gets_blocks_of_its_new_place(workspace, tmp_path, to):
    there, here, straight = (tmp_path / name / "out" for name in ("there", "h", "straight"))
    export(workspace, "half", to=to, out=there, scales=(2, 3))
    here.parent.mkdir()
    there.rename(here)
    done = export(workspace, "half", to=to, out=here, scales=(2, 3))
    files = contents(here)
    stamp = json.loads(files.pop("export.json"))
    assert done.again and len(done.moved) == 2 * len(LAYOUTS[to].trainers if to in LAYOUTS else ())
    assert not any(str(there).encode() in content for content in files.values())
    again = export(workspace, "half", to=to, out=here, scales=(2, 3))  # nothing is found missing
    assert again.again and not again.moved
    export(workspace, "half", to=to, out=straight, scales=(2, 3))
    here.rename(tmp_path / "third")
    straight.rename(here)
    export(workspace, "half", to=to, out=here, scales=(2, 3))
    same = contents(here)
    other = json.loads(same.pop("export.json"))
    assert same == files
    assert to not in LAYOUTS or other["place"] == stamp["place"] == str(here)


def test_blocks_are_not_held_against_an_export(workspace, tmp_path):
    place = tmp_path / "out"
    before = contents(export(workspace, "half", out=place).place)
    (place / "kair_x2.json").write_text("{}")  # people put their recipes there
    (place / "neosr_x2.toml").unlink()
    assert export(workspace, "half", out=place).moved == ["neosr_x2.toml"]
    assert contents(place) == before | {"kair_x2.json": b"{}"}
    (place / "meta_info.txt").write_text("")
    with pytest.raises(ArtifactError, match="Delete the folder"):
        export(workspace, "half", out=place)


def test_a_block_that_was_edited_is_left_alone_and_named(workspace, tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    export(workspace, "half", out=there)
    there.rename(here)
    block = here / "kair_x2.json"
    block.write_text(block.read_text().replace('"H_size": 48', '"H_size": 96'))
    edited = block.read_text()
    for _ in range(2):
        with pytest.raises(InputError, match=r"here was moved from .*there, which kair_x2.json st"):
            export(workspace, "half", out=here)
    assert block.read_text() == edited
    assert str(here) in (here / "basicsr_x2.yml").read_text()
    block.write_text(edited.replace(str(there), str(here)))
    assert export(workspace, "half", out=here).moved == []


# --- refused ------------------------------------------------------------------------------------


def test_another_export_in_its_place_is_refused(workspace, tmp_path):
    export(workspace, "half", out=tmp_path / "out")
    for change in ({"scales": [3]}, {"to": "kair"}, {"coreset": "weighted"}):
        arguments = {"coreset": "half", "out": tmp_path / "out", **change}
        with pytest.raises(InputError, match=r"out holds another export \(.*Name another --out"):
            export(workspace, **arguments)


def test_foreign_files_are_refused_and_kept(workspace, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files that no export of srprune wrote"):
        export(workspace, "half", out=tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"years of work"}
    with pytest.raises(InputError, match="is a file; the export needs a folder"):
        export(workspace, "half", out=tmp_path / "out" / "thesis.txt")


def test_an_empty_folder_is_filled(workspace, tmp_path):
    (tmp_path / "out").mkdir()
    assert not export(workspace, "half", out=tmp_path / "out").again
    assert read_stamp(tmp_path / "out") is not None


def test_an_export_that_lost_a_file_is_named(workspace):
    done = export(workspace, "half")
    (done.place / "notes.txt").write_text("mine")  # more is no fault
    assert export(workspace, "half").again
    for path in (done.place / "HR").iterdir():
        path.unlink()
    with pytest.raises(ArtifactError, match=r"were written. Delete the folder and export again"):
        export(workspace, "half")


@pytest.mark.parametrize(
    ("text", "there"), [("{", False), ("[]", False), ('{"what": {}}', False), ("", False)]
)
def test_a_damaged_stamp_is_none(tmp_path, text, there):
    write_text(tmp_path / "export.json", text)
    assert (read_stamp(tmp_path) is not None) == there
    with pytest.raises(InputError, match="no export of srprune wrote"):
        already_there(tmp_path, {})


def test_unknown_words_are_refused(workspace):
    with pytest.raises(UnknownName, match=r"unknown export 'webdatasets'. Did you mean"):
        export(workspace, "half", to="webdatasets")
    with pytest.raises(InputError, match=r"scales are \[2, 5\]; each must be 2, 3 or 4"):
        export(workspace, "half", scales=[5, 2])
    with pytest.raises(InputError, match="link is 'soft'"):
        export(workspace, "half", link="soft")
    with pytest.raises(MissingArtifact, match=r"no core-set 'hlf'.*Did you mean: half"):
        export(workspace, "hlf")
    with pytest.raises(InputError, match=r"2 core-sets: half, weighted. Choose one"):
        export(workspace)
    with pytest.raises(MissingArtifact, match=r"no core-set yet. Run 'srprune select'"):
        find_coreset(Workspace(workspace.root / "nowhere"), None)


def test_a_core_set_of_other_patches_is_refused(workspace):
    index = read_index(workspace)
    other = PatchIndex(48, 48, index.images, index.image_N, index.top_N, index.left_N)
    other.write(workspace.patches, made={})
    with pytest.raises(ArtifactMismatch, match=r"half.parquet was made from patches"):
        export(workspace, "half")


def test_missing_pixels_are_named(workspace):
    workspace.hr_pixels.unlink()
    with pytest.raises(MissingArtifact, match="Run 'srprune extract' on the same images again"):
        export(workspace, "half")
    assert not (workspace.root / "exports").exists()


# --- whole or not there -------------------------------------------------------------------------


def test_pixels_that_were_changed_do_not_go_out(workspace, tmp_path):
    index = read_index(workspace)
    kept = CoreSet.read(workspace.coreset("half")).patch_ids
    image = int(index.image_N[kept[0]])
    assert image == 0  # whose pixels the file begins with
    pixels = bytearray(workspace.hr_pixels.read_bytes())
    pixels[5] ^= 1
    workspace.hr_pixels.write_bytes(pixels)
    with pytest.raises(ArtifactError) as caught:
        export(workspace, "half", out=tmp_path / "out")
    assert str(caught.value) == (
        f"the pixels of {index.images[image].path} in {workspace.hr_pixels} are not those that "
        "were extracted. Run 'srprune extract' again after removing "
        f"{workspace.hr_pixels.parent}."
    )
    assert not (tmp_path / "out").exists()
    assert not workspace.lr_pixels(2).exists()  # none is made of wrong pixels


def test_another_place_is_asked_for_by_the_option_that_names_it(workspace, to, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"a folder must be.*or choose another --out"):
        export(workspace, "half", to=to, out=tmp_path / "file" / "out")


def test_an_interrupted_export_leaves_nothing(workspace, to, tmp_path):
    def interrupt(label: str, done: int, total: int, note: str = "") -> None:
        if label == "write patches" and done > total // 2:
            assert hidden(tmp_path / "out")  # it was under way
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(workspace, "half", to=to, out=tmp_path / "out" / "x", progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []
    assert not export(workspace, "half", to=to, out=tmp_path / "out" / "x").again


def test_what_a_killed_export_left_is_removed_and_a_living_one_is_left_alone(tmp_path):
    mine = temporary_beside(tmp_path / "out")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}.", "-99999999."))
    living = mine.with_name(mine.name.replace(f"-{os.getpid()}.", f"-{os.getppid()}."))
    for folder in (dead, living):
        folder.mkdir()
        (folder / "half").write_text("")
    with whole_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("whole")
    assert not dead.exists()
    assert living.exists()
    assert contents(tmp_path / "out") == {"file": b"whole"}


def test_what_appears_meanwhile_is_not_replaced(tmp_path):
    with (
        pytest.raises(InputError, match="was written by something else meanwhile"),
        whole_folder(tmp_path / "out"),
    ):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("theirs")
    assert contents(tmp_path / "out") == {"theirs": b"theirs"}
    assert hidden(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="a file stands where a folder must be"),
        whole_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_too_little_space_is_said_before_anything_is_written(workspace, tmp_path):
    files, ids = files_of(workspace), np.arange(5)
    with pytest.raises(StorageError, match=r"needs 10500.0 GB, but .* GB free.*another --out"):
        check_space(tmp_path / "a" / "b", files, ids, Size(10**13, 5, 5), linked=False)
    check_space(tmp_path / "a" / "b", files, ids, Size(10**5, 5, 5), linked=False)


def test_little_space_is_told_in_mb(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=340_000))
    with pytest.raises(StorageError, match=r"needs 42\.05 MB, but .* has 0\.34 MB free\."):
        check_space(
            tmp_path / "out",
            files_of(workspace),
            np.arange(3),
            Size(40_000_000, 3, 3),
            linked=False,
        )


def test_links_need_no_space(workspace, tmp_path):
    done = export(workspace, "half")
    there = {1: [done.place / "HR"], 2: [done.place / "LR_bicubic" / "X2"]}
    files, ids = files_of(workspace, there), CoreSet.read(workspace.coreset("half")).patch_ids
    size = Size(10**15, len(ids), 1)
    check_space(tmp_path / "out", files, ids, size, linked=True)
    with pytest.raises(StorageError):
        check_space(tmp_path / "out", files, ids, size, linked=False)


# --- sizes --------------------------------------------------------------------------------------


def test_sizes_are_exact_where_all_patches_are_measured(workspace):
    files, ids = files_of(workspace), np.arange(7)
    total = sum(len(files.png(i, 1)) + len(files.png(i, 2)) for i in range(7))
    assert png_size(files, ids, 7, workers=2) == Size(total, 7, 7)
    assert png_size(files, ids[:0], 7, workers=2) == Size(0, 0, 0)
    some = sum(len(files.png(i, 1)) + len(files.png(i, 2)) for i in (0, 3, 6))
    assert png_size(files, ids, 3, workers=2) == Size(round(some / 3 * 7), 7, 3)


# --- links --------------------------------------------------------------------------------------


def same_file(a: Path, b: Path) -> bool:
    return a.stat().st_ino == b.stat().st_ino


def write_sub_images(workspace: Workspace) -> Path:
    """What ``extract --write-patches`` leaves."""
    index = read_index(workspace)
    files, folder = files_of(workspace), workspace.root / "sub_images" / "HR"
    folder.mkdir(parents=True)
    for patch, name in enumerate(sub_image_names(index)):
        Image.fromarray(files.pixels(patch, 1)).save(folder / name, compress_level=3)
    write_text(folder.parent / "patches.txt", index.fingerprint)
    return folder


def test_written_patches_and_other_exports_are_linked(workspace):
    there = write_sub_images(workspace)
    first = export(workspace, "half", to="kair")
    for path in (first.place / "HR").iterdir():
        assert same_file(path, there / path.name)
    assert 0 < first.stamp["linked_bytes"] < first.stamp["num_bytes"]
    second = export(workspace, "half", to="hf")
    for path in (second.place / "train" / "lr").iterdir():
        assert same_file(path, first.place / "LR_bicubic" / "X2" / path.name)
    copied = export(workspace, "half", to="basicsr", link="copy")
    assert copied.stamp["linked_bytes"] == 0
    for path in (copied.place / "HR").iterdir():
        assert path.read_bytes() == (there / path.name).read_bytes()


def test_a_file_with_other_pixels_is_not_taken(workspace):
    there = write_sub_images(workspace)
    names, hr = sub_image_names(read_index(workspace)), open_hr(workspace, read_index(workspace))
    ids = CoreSet.read(workspace.coreset("half")).patch_ids
    wrong, cut, marked, grey = (there / names[i] for i in ids[:4])
    Image.new("RGB", (48, 48), "red").save(wrong)
    cut.write_bytes(cut.read_bytes()[:-200])
    with Image.open(marked) as image:
        image.load()
        image.save(marked, dpi=(72, 72))
    Image.new("L", (48, 48)).save(grey)
    done = export(workspace, "half", to="kair")
    index = read_index(workspace)
    for patch, path in zip(ids, (wrong, cut, marked, grey), strict=False):
        written = done.place / "HR" / path.name
        assert not same_file(written, path)
        crop = hr.crop(
            int(index.image_N[patch]), int(index.top_N[patch]), int(index.left_N[patch]), 48
        )
        with Image.open(written) as image:
            assert np.array_equal(np.asarray(image), crop)
    assert same_file(done.place / "HR" / names[ids[4]], there / names[ids[4]])


def test_patches_of_another_index_are_not_taken(workspace):
    there = write_sub_images(workspace)
    write_text(there.parent / "patches.txt", "0" * 16)
    assert export(workspace, "half", to="kair").stamp["linked_bytes"] == 0


def test_an_export_whose_folders_are_gone_is_passed_over(workspace):
    first = export(workspace, "half", to="kair")
    shutil.rmtree(first.place / "HR")
    second = export(workspace, "half", to="hf")
    assert measure(second.place)[2] == second.stamp["linked_bytes"] > 0


# --- the page -------------------------------------------------------------------------------------


def test_the_page_and_the_help_name_every_form():
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    helped = next(p.help for p in export_command.params if p.name == "to")
    for name in EXPORTS:
        assert f"| `{name}`" in page
        assert re.search(rf"\b{name}\b", helped)


def test_the_blocks_of_the_page_are_those_that_are_written():
    page = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    root = Path("/data/coreset")
    for trainer, (_, block) in BLOCKS.items():
        roots = Roots(
            name="des_r0.50_o0.05__mse_x2",
            scale=2,
            size=480,
            hr=root / "HR",
            lr=root / "LR_bicubic" / "X2",
            meta_info=root / "meta_info.txt" if trainer == "basicsr" else None,
        )
        assert f"\n{block(roots)}```\n" in page, trainer


@pytest.mark.parametrize("name", ["it's", 'say "x"', "back\\slash", "a: b #c", "ü"])
def test_awkward_paths_survive_in_every_block(name):
    hr = Path("/data") / name / "HR"
    roots = Roots(name=name, scale=2, size=480, hr=hr, lr=Path("/data") / name / "LR")
    train = {
        "basicsr": yaml.safe_load(BLOCKS["basicsr"][1](roots)),
        "traiNNer-redux": yaml.safe_load(BLOCKS["traiNNer-redux"][1](roots)),
        "kair": json.loads(BLOCKS["kair"][1](roots)),
        "neosr": tomllib.loads(BLOCKS["neosr"][1](roots)),
    }
    found = {trainer: whole["datasets"]["train"] for trainer, whole in train.items()}
    assert found["basicsr"]["dataroot_gt"] == str(hr)
    assert found["traiNNer-redux"]["dataroot_gt"] == [str(hr)]
    assert found["kair"]["dataroot_H"] == str(hr)
    assert found["neosr"]["dataroot_gt"] == str(hr)
    assert found["basicsr"]["name"] == found["traiNNer-redux"]["name"] == name
