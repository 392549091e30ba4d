"""eval with tiles, self-ensemble and precision: what is measured, what is written, what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.results import EvalTable


@pytest.fixture
def mine(tmp_path: Path, prepared: Path) -> Path:
    """Two small images to measure on, beside a finished workspace."""
    folder = tmp_path / "mine"
    folder.mkdir()
    y, x = np.mgrid[:90, :132]
    for name, k in (("one", 4), ("two", 5)):
        waves = [128 + 90 * np.sin(x / (k + c)) * np.cos(y / 7) for c in range(3)]
        Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


def table(workspace: Path, name: str) -> EvalTable:
    return EvalTable.read(workspace / "results" / f"{name}__mine__rgb8_1.parquet")


def figures(measured: EvalTable) -> list[float]:
    return [row.value for row in measured.rows]


def test_without_options_a_table_does_not_mention_them(cli, prepared, tiny, mine):
    assert "restored with" not in cli("eval", "--benchmark", "mine").stdout
    assert "inference" not in table(prepared, tiny.run).header.params


def test_tiles_give_the_figures_of_whole_images_and_a_table_of_their_own(cli, prepared, tiny, mine):
    cli("eval", "--benchmark", "mine")
    said = cli("eval", "--benchmark", "mine", "--tile", "24").stdout
    assert "restored with tiles of 24 LR px, overlap 8" in said
    whole, tiled = table(prepared, tiny.run), table(prepared, f"{tiny.run}_tile24_o8")
    assert figures(tiled) == pytest.approx(figures(whole), abs=1e-3)
    assert tiled.header.params["inference"] == {
        "tile": 24,
        "overlap": 8,
        "self_ensemble": False,
        "precision": "fp32",
    }
    assert {row.model for row in tiled.rows} == {"fsrcnn"}
    cli("eval", "--benchmark", "mine", "--tile", "24", "--overlap", "0")
    seams = table(prepared, f"{tiny.run}_tile24_o0")
    assert figures(seams) != pytest.approx(figures(whole), abs=1e-3)


def test_the_self_ensemble_has_a_plus_and_leaves_bicubic_alone(cli, prepared, tiny, mine):
    options = ("--benchmark", "mine", "--means-only")
    cli("eval", "bicubic", tiny.run, *options)
    said = cli("eval", "bicubic", tiny.run, *options, "--self-ensemble").stdout
    assert "model bicubic\n" in said
    assert "model fsrcnn+ " in said
    assert said.count("restored with self-ensemble") == 1
    plus = table(prepared, f"{tiny.run}+")
    assert {row.model for row in plus.rows} == {"fsrcnn+"}
    assert figures(plus) != pytest.approx(figures(table(prepared, tiny.run)), abs=1e-3)
    results = sorted(path.name for path in (prepared / "results").glob("bicubic*.parquet"))
    assert results == ["bicubic_x2__mine__rgb8_1.parquet"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision_stands_in_the_name_and_moves_little(cli, prepared, tiny, mine, precision):
    cli("eval", "--benchmark", "mine")
    said = cli("eval", "--benchmark", "mine", "--precision", precision).stdout
    assert f"restored with {precision}" in said
    exact, reduced = table(prepared, tiny.run), table(prepared, f"{tiny.run}_{precision}")
    assert figures(reduced) == pytest.approx(figures(exact), abs=0.5)
    assert figures(reduced) != figures(exact)


def test_a_table_is_returned_for_the_same_options_alone(cli, prepared, tiny, mine):
    options = ("eval", "--benchmark", "mine", "--tile", "40")
    cli(*options)
    path = prepared / "results" / f"{tiny.run}_tile40_o8__mine__rgb8_1.parquet"
    stamp = path.stat().st_mtime_ns
    cli(*options)
    assert path.stat().st_mtime_ns == stamp
    header = EvalTable.read(path).header
    wrong = {**header.params, "inference": {**header.params["inference"], "overlap": 9}}
    rows = EvalTable.read(path).rows
    EvalTable.write(path, rows, parents=header.parents, params=wrong, made=header.made)
    cli(*options)
    assert EvalTable.read(path).header.params == header.params


def test_y1_measures_with_all_options_at_once(cli, prepared, mine):
    options = ("--tile", "30", "--overlap", "5", "--self-ensemble", "--precision", "bf16")
    said = cli("eval", "--benchmark", "mine", "--protocol", "y@1", *options).stdout
    assert said.startswith("protocol y@1   scale x2   model fsrcnn+ ")
    assert "restored with tiles of 30 LR px, overlap 5; self-ensemble; bf16" in said


def test_check_tiling_of_the_photos(cli, prepared):
    checked = cli("eval", "--benchmark", "photos", "--tile", "100", "--check-tiling").stdout
    assert checked.startswith("model fsrcnn   scale x2   tiles of 100 LR px, overlap 8\n")
    assert "the overlap covers the 8 LR px that the network sees" in checked
    assert checked.count("largest difference") == 4
    assert "camera.png" in checked
    assert not (prepared / "results").exists()


def test_check_tiling_tells_of_too_small_an_overlap(cli, prepared, mine):
    options = ("eval", "--benchmark", "mine", "--tile", "20", "--check-tiling")
    said = cli(*options, "--overlap", "2").stdout
    assert "the overlap does not cover the 8 LR px that the network sees" in said
    (good,) = json.loads(cli(*options, "--json").stdout)
    (bad,) = json.loads(cli(*options, "--json", "--overlap", "2").stdout)
    assert [gap["image"] for gap in good["gaps"]] == ["one.png", "two.png"]
    assert max(gap["difference"] for gap in good["gaps"]) < 1e-6
    assert min(gap["difference"] for gap in bad["gaps"]) > 1e-5
    assert (good["covered"], bad["covered"]) == (True, False)
    assert (good["radius"], good["inference"]["overlap"]) == (8, 8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--overlap", "8"], "--overlap and --check-tiling need --tile N"),
        (["--check-tiling"], "--overlap and --check-tiling need --tile N"),
        (["--tile", "0"], "0 is not in the range"),
        (["--tile", "8", "--overlap", "-1"], "-1 is not in the range"),
        (["--precision", "fp8"], "'fp8' is not one of"),
        (["bicubic", "--tile", "8", "--check-tiling"], "bicubic is never tiled"),
    ],
)
def test_options_that_make_no_sense_are_refused(refused, mine, options, said):
    assert said in refused("eval", "--benchmark", "mine", *options)


def test_an_image_that_cannot_be_checked_is_named(refused, prepared, mine):
    (mine / "two.png").write_bytes(b"no image")
    said = refused("eval", "--benchmark", "mine", "--tile", "20", "--check-tiling")
    assert said.startswith("mine/two.png ")


def test_images_of_several_models_stand_in_folders_of_their_own(cli, tiny, mine, tmp_path):
    cli("eval", "bicubic", tiny.run, "--benchmark", "mine", "--save-images", "sr")
    found = {path.relative_to(tmp_path / "sr").as_posix() for path in tmp_path.glob("sr/*/*/*")}
    models = ("bicubic_x2", tiny.run)
    assert found == {f"{model}/mine/{name}.png" for model in models for name in ("one", "two")}
