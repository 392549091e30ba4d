"""export, import and extract --from as a user types them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.artifact import read_header
from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.stages.coresets import select
from srprune.stages.export import export
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool
from tests.conftest import small_images
from tests.processes import child_environment

NAME = "random_r0.50__seed0"


@pytest.fixture(scope="module")
def chosen_once(tmp_path_factory) -> Path:
    """``images``, and a workspace with a core-set of 36 of 71 patches, all of them PNG files."""
    root = tmp_path_factory.mktemp("chosen")
    source = ImageSource.find(str(small_images(root / "images")))
    workspace = Workspace(root / "workspace")
    extract(source, ExtractConfig(size=48, stride=24), workspace, write_patches=True)
    select(workspace, rule="random", ratio=0.5)
    return root


@pytest.fixture
def images(chosen_once, tmp_path) -> Path:
    shutil.copytree(chosen_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "images"


@pytest.fixture
def cut(images, tmp_path) -> Path:
    """71 sub-images of 48 px that somebody else has cut."""
    folder = tmp_path / "cut"
    (tmp_path / "workspace" / "sub_images" / "HR").rename(folder)
    return folder


@pytest.fixture
def chosen(cut, tmp_path) -> Path:
    """The workspace, without PNG files of its patches."""
    return tmp_path / "workspace"


def test_export_says_what_it_wrote_and_what_was_saved(cli, chosen, unfinished, tmp_path):
    said = cli("export", fresh=True).stdout
    place = f"workspace/exports/{NAME}__folder_x2"
    assert "36 patches, HR and x2, in 77 files of " in said
    assert "the PNG files of the 35 dropped patches (counted)" in said
    assert f"export: {place}\n" in said
    assert len(list((tmp_path / place / "HR").iterdir())) == 36
    again = cli("export").stdout
    assert again == f"nothing to do: this export is there already\n{said}"
    assert unfinished(tmp_path) == []


def test_export_tells_machines_the_same(cli, chosen, tmp_path):
    said = json.loads(cli("export", NAME, "--to", "kair", "--scale", "3", "--json").stdout)
    place = tmp_path / said["export"]
    assert said["what"]["scales"] == [3]
    assert said["num_patches"] == 36
    assert not said["again"]
    del said["export"], said["again"]
    assert said == json.loads((place / "export.json").read_text())


def test_written_patches_become_hard_links(cli, images, tmp_path):
    assert " of them hard links" in cli("export", "--to", "kair").stdout
    files = tmp_path / "workspace" / "sub_images" / "HR"
    for path in (tmp_path / f"workspace/exports/{NAME}__kair_x2/HR").iterdir():
        assert path.samefile(files / path.name)


def test_weights_that_a_form_cannot_hold_are_told(cli, chosen):
    workspace = Workspace(chosen)
    half = CoreSet.read(workspace.coreset(NAME))
    CoreSet.write(
        workspace.coreset("weighted"),
        half.patch_ids,
        parents=half.header.parents,
        params={"num_patches": 71},
        made={},
        weights=np.ones(len(half)),
    )
    said = cli("export", "weighted", "--to", "kair").stdout
    assert "note: kair has no place for the sampling weights of this core-set" in said


def test_a_list_goes_out_and_the_core_set_comes_back(cli, chosen, tmp_path, images):
    said = cli("export", "--to", "list", "--out", "mine.json").stdout
    assert "36 patches of 4 images listed, without pixels: " in said
    assert "list: mine.json" in said
    (images / "a.png").rename(images / "renamed.png")
    said = cli("import", "mine.json", images, "-w", "other").stdout
    assert "36 of 71 patches from 4 images, as listed: " in said
    assert "a.png is called renamed.png here" in said
    assert f"core-set: other/coresets/{NAME}.parquet" in said
    for name in ("patches", f"coresets/{NAME}"):
        files = [tmp_path / w / f"{name}.parquet" for w in ("workspace", "other")]
        assert read_header(files[0]).fingerprint == read_header(files[1]).fingerprint
    facts = json.loads(cli("import", "mine.json", images, "-w", "other", "--json").stdout)
    assert facts["num_kept"] == 36
    assert facts["fingerprint"] == read_header(files[0]).fingerprint


def test_imports_that_cannot_be_are_refused(refused, chosen, images, tmp_path):
    export(Workspace(chosen), to="list", out=tmp_path / "mine.json")
    (images / "b.png").unlink()
    said = refused("import", "mine.json", images, "-w", "other", lines=3)
    assert said.startswith("1 image of 4 cannot be found by the hash of their pixels:\n")
    assert f"{images / 'b.png'} is not there, and no other file has its pixels" in said
    assert "is no core-set list" in refused("import", "workspace/patches.parquet", images)


def test_exports_that_cannot_be_are_refused(refused, chosen, tmp_path):
    assert "unknown export 'lmdb'" in refused("export", "--to", "lmdb")
    assert "scale is 5; it must be 2, 3 or 4." in refused("export", "--scale", "5")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert "no export of srprune wrote" in refused("export", "--out", "taken")
    for out in (".", ""):
        for to in ("kair", "list"):
            said = refused("export", "--to", to, "--out", out)
            assert said.startswith("--out is '.', which is there already. Name what to write")


def test_links_to_nothing_in_an_exported_folder(cli, refused, chosen, tmp_path):
    cli("export", "--to", "kair", "--out", "out")
    (tmp_path / "out" / "more").symlink_to("nowhere")
    (tmp_path / "out" / "round").symlink_to("round")
    assert "nothing to do" in cli("export", "--to", "kair", "--out", "out").stdout
    png = next((tmp_path / "out" / "HR").glob("*.png"))
    png.unlink()
    png.symlink_to("nowhere")
    said = refused("export", "--to", "kair", "--out", "out")
    assert "Delete the folder and export again." in said


@pytest.mark.parametrize(
    ("to", "limit", "said"),
    [
        ("kair", 3_000, "no space left to write out (File too large)"),
        ("webdataset", 40_000, "no space left to write out (File too large)"),
        ("basicsr-lmdb", 40_000, "out/HR.lmdb ("),
    ],
)
def test_a_full_disk_leaves_nothing(refused, chosen, tmp_path, to, limit, said):
    if to == "basicsr-lmdb":
        pytest.importorskip("lmdb", reason="the extra 'export' is not installed")
    open_pool(Workspace(chosen), 2)  # its LR is there
    assert said in refused("export", "--to", to, "--out", "out", file_limit=limit)
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_missing_lmdb_says_how_to_get_it(chosen, tmp_path):
    code = "import sys; sys.modules['lmdb'] = None; from srprune.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", "--to", "basicsr-lmdb"],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "Error: lmdb is not installed. Run: pip install 'srprune[export]'\n"
    assert list((chosen / "exports").iterdir()) == []


def test_a_killed_export_leaves_no_folder_and_the_next_one_is_whole(cli, chosen, start, tmp_path):
    child = start("export", "--scale", "2", "--scale", "3", "--out", "x/y")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("x/.y.*.part/HR/*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if (tmp_path / "x" / "y").exists():  # it was quicker than the kill: whole
        assert (tmp_path / "x" / "y" / "export.json").exists()
    done = json.loads(
        cli("export", "--scale", "2", "--scale", "3", "--out", "x/y", "--json").stdout
    )
    assert done["num_files"] == len([p for p in (tmp_path / "x/y").rglob("*") if p.is_file()]) - 1
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["y"]


def test_export_and_import_load_no_torch(cli, chosen, images):
    code = (
        "import sys; from srprune.cli.main import cli\n"
        "for words in (['export'], ['export', '--to', 'list', '--out', 'l.json'],"
        " ['import', 'l.json', 'images', '-w', 'other']):\n"
        "    cli.main(words, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=images.parent,
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# --- extract --from -------------------------------------------------------------------------------


def test_sub_images_of_a_folder_are_taken_as_they_are(cli, cut, tmp_path):
    said = cli("extract", cut, "--from", "folder-of-subimages", "-w", "w").stdout
    assert "71 patches of 48 px (stride 48) from 71 images" in said
    assert "patches per image: 1 x 71 images" in said
    select(Workspace(tmp_path / "w"), rule="random", ratio=0.1)
    done = json.loads(cli("export", "--to", "basicsr", "--json", "-w", "w").stdout)
    for path in (tmp_path / done["export"] / "HR").iterdir():
        with Image.open(path) as ours, Image.open(cut / path.name) as theirs:
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_sub_images_of_a_meta_info_come_in_its_order(cli, cut, tmp_path):
    (tmp_path / "list.txt").write_text("img2_s001.png (48,48,3)\na_s001.png (48,48,3)\n")
    said = cli("extract", cut, "--from", "basicsr-meta", "--meta-info", "list.txt").stdout
    assert "2 patches of 48 px (stride 48) from 2 images" in said
    index = PatchIndex.read(tmp_path / "workspace" / "patches.parquet")
    assert [image.path for image in index.images] == ["img2_s001.png", "a_s001.png"]


def test_options_that_do_not_go_together_are_refused(refused, cut, tmp_path):
    sub, meta = ("--from", "folder-of-subimages"), ("--meta-info", "list.txt")
    assert "--meta-info goes with --from basicsr-meta." in refused("extract", cut, *meta)
    assert "needs --meta-info FILE" in refused("extract", cut, "--from", "basicsr-meta")
    assert "are those of the files" in refused("extract", cut, *sub, "--size", "48")
    (tmp_path / "list.txt").write_text("nowhere.png\n")
    said = refused("extract", cut, "--from", "basicsr-meta", *meta)
    assert "list.txt, line 1: nowhere.png is no image in" in said
