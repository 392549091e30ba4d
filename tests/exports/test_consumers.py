"""Every export is read back by the rules of those who read it, pixel for pixel."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.coreset import CoreSet
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.exports import EXPORTS
from srprune.images.bicubic import downscale
from srprune.images.decode import decode_rgb
from srprune.stages.export import export
from srprune.stages.extract import sub_image_names
from srprune.stages.pool import open_pool

READERS = [
    ("folder", "basicsr", ".yml"),
    ("folder", "kair", ".json"),
    ("folder", "traiNNer-redux", ".yml"),
    ("folder", "neosr", ".toml"),
    ("basicsr", "basicsr", ".yml"),
    ("kair", "kair", ".json"),
    ("traiNNer-redux", "traiNNer-redux", ".yml"),
    ("neosr", "neosr", ".toml"),
    ("basicsr-lmdb", "basicsr", ".yml"),
    ("basicsr-lmdb", "neosr", ".toml"),
]


def wanted(workspace: Workspace, scale: int, coreset: str = "half") -> dict[str, tuple]:
    """Stem of each kept patch to its HR and LR pixels, cut from the images by hand."""
    chosen = CoreSet.read(workspace.coreset(coreset))
    index = open_pool(workspace, scale).index
    names = sub_image_names(index)
    images = {i.path: decode_rgb(workspace.root.parent / "images" / i.path) for i in index.images}
    pairs = {}
    for patch in chosen.patch_ids.tolist():
        image = index.images[index.image_N[patch]]
        hr = images[image.path][: image.height, : image.width]
        lr = downscale(hr, scale)
        top, left = int(index.top_N[patch]), int(index.left_N[patch])
        size, side = index.size, index.size // scale
        pairs[names[patch].removesuffix(".png")] = (
            hr[top : top + size, left : left + size],
            lr[top // scale :, left // scale :][:side, :side],
        )
    return pairs


def assert_same(pairs: list[tuple[str, np.ndarray, np.ndarray]], expected: dict) -> None:
    assert len(pairs) == len(expected)
    assert {name.split(".")[0] for name, _, _ in pairs} == set(expected)
    for name, hr, lr in pairs:
        assert np.array_equal(hr, expected[name.split(".")[0]][0]), name
        assert np.array_equal(lr, expected[name.split(".")[0]][1]), name


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(("to", "trainer", "ending"), READERS)
def test_a_trainer_reads_its_block(workspace, consumers, to, trainer, ending, scale):
    if to == "basicsr-lmdb":
        pytest.importorskip("lmdb", reason="the extra 'export' is not installed")
    done = export(workspace, "half", to=to, scales=[2, 3])
    read = getattr(consumers, trainer.replace("traiNNer-", "trainner_"))
    pairs = read(done.place / f"{trainer}_x{scale}{ending}")
    assert_same(pairs, wanted(workspace, scale))


def test_basicsr_reads_the_folders_without_meta_info_too(workspace, consumers):
    done = export(workspace, "half")
    block = done.place / "basicsr_x2.yml"
    lines = block.read_text().splitlines(keepends=True)
    block.write_text("".join(line for line in lines if "meta_info_file" not in line))
    assert_same(consumers.basicsr(block), wanted(workspace, 2))


def test_the_readers_see_a_missing_and_a_changed_file(workspace, consumers):
    done = export(workspace, "half", link="copy")
    expected = wanted(workspace, 2)
    first = min((done.place / "HR").iterdir())
    Image.new("RGB", (48, 48)).save(first)
    with pytest.raises(AssertionError):
        assert_same(consumers.kair(done.place / "kair_x2.json"), expected)
    first.unlink()
    readers = (("kair", ".json"), ("traiNNer-redux", ".yml"), ("neosr", ".toml"))
    for trainer, ending in readers:
        read = getattr(consumers, trainer.replace("traiNNer-", "trainner_"))
        with pytest.raises(AssertionError):
            read(done.place / f"{trainer}_x2{ending}")
    with pytest.raises(FileNotFoundError):
        consumers.basicsr(done.place / "basicsr_x2.yml")


def test_blocks_ask_for_crops_that_fit_into_the_patches(workspace, consumers):
    done = export(workspace, "half", scales=[2, 3, 4])
    for scale in (2, 3, 4):
        text = {p.name: p.read_text() for p in done.place.glob(f"*_x{scale}.*")}
        side = 48 // scale
        assert "gt_size: 48\n" in text[f"basicsr_x{scale}.yml"]
        assert f"lq_size: {side}\n" in text[f"traiNNer-redux_x{scale}.yml"]
        assert f"patch_size = {side}\n" in text[f"neosr_x{scale}.toml"]
        block = json.loads(text[f"kair_x{scale}.json"])
        assert block["datasets"]["train"]["H_size"] == 48
        assert block["scale"] == scale


def test_meta_info_has_the_form_of_basicsr(workspace):
    done = export(workspace, "half", to="basicsr")
    names = sub_image_names(open_pool(workspace, 2).index)
    ids = CoreSet.read(workspace.coreset("half")).patch_ids
    text = (done.place / "meta_info.txt").read_bytes()
    assert text == "".join(f"{names[i]} (48,48,3)\n" for i in ids).encode()


def test_names_suit_every_reader(workspace):
    done = export(workspace, "half")
    names = [path.name for path in (done.place / "HR").iterdir()]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.png", name) for name in names)
    assert len({name.lower() for name in names}) == len(names)
    lr = {path.name for path in (done.place / "LR_bicubic" / "X2").iterdir()}
    assert lr == set(names)
    assert done.stamp["num_files"] == 2 * len(names) + 5


def test_pngs_are_plain(workspace):
    done = export(workspace, "half")
    for path in done.place.rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.info == {}


@pytest.mark.parametrize("scales", [[2], [2, 4]])
def test_datasets_reads_the_image_folder(workspace, tmp_path, scales):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    done = export(workspace, "weighted", to="hf", scales=scales)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package itself
        table = datasets.load_dataset(
            "imagefolder", data_dir=str(done.place), cache_dir=str(tmp_path / "cache")
        )["train"]
    words = {2: "lr"} if scales == [2] else {scale: f"lr_x{scale}" for scale in scales}
    facts = {"score", "weight", "patch_id", "image", "top", "left"}
    assert set(table.column_names) == {"hr", *words.values(), *facts}
    coreset = CoreSet.read(workspace.coreset("weighted"))
    scores_N = ScoreTable.read(workspace.scores("mse_x2")).scores_N
    assert table["patch_id"][:] == coreset.patch_ids.tolist()
    assert table["score"][:] == scores_N[coreset.patch_ids].tolist()
    assert table["weight"][:] == coreset.weights.tolist()
    index = open_pool(workspace, 2).index
    names = sub_image_names(index)
    for scale, word in words.items():
        pairs = [(names[r["patch_id"]], np.asarray(r["hr"]), np.asarray(r[word])) for r in table]
        assert_same(pairs, wanted(workspace, scale, "weighted"))
    assert table["image"][:] == [index.images[index.image_N[i]].path for i in coreset.patch_ids]


@pytest.mark.parametrize("scales", [[3], [2, 3]])
def test_webdataset_reads_the_shards(workspace, scales):
    package = pytest.importorskip("webdataset", reason="webdataset is not installed")
    done = export(workspace, "weighted", to="webdataset", scales=scales)
    shards = [str(path) for path in sorted(done.place.glob("*.tar"))]
    assert [Path(shard).name for shard in shards] == ["coreset-000000.tar"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package itself
        samples = list(package.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    coreset = CoreSet.read(workspace.coreset("weighted"))
    assert [s["json"]["patch_id"] for s in samples] == coreset.patch_ids.tolist()
    assert [s["json"]["weight"] for s in samples] == coreset.weights.tolist()
    for scale in scales:
        word = "lr.png" if scales == [3] else f"lr_x{scale}.png"
        pairs = [(s["__key__"], s["hr.png"], s[word]) for s in samples]
        assert_same(pairs, wanted(workspace, scale, "weighted"))


def test_every_form_is_read_by_a_test():
    tested = {to for to, _, _ in READERS} | {"hf", "webdataset"}  # and list, in test_listing.py
    assert set(EXPORTS) == tested | {"list"}
