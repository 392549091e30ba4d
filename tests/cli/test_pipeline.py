"""The pipeline as a user types it, command after command, on tiny images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.cli.main import COMMANDS
from srprune.core.artifact import read_header
from srprune.core.patches import PatchIndex


def test_the_six_commands_say_what_they_did(cli, images, tiny, tmp_path, unfinished):
    said = cli(*tiny.extract, fresh=True).stdout
    assert "71 patches of 48 px (stride 24) from 4 images" in said
    assert "index: workspace/patches.parquet" in said

    said = cli(*tiny.pretrain, fresh=True).stdout
    assert "srcnn x2, 8,129 parameters, seed 0" in said
    assert "full set: 71 patches, 20 steps of 2 crops" in said
    assert "psnr_bicubic" in said
    assert said.index("20 steps") < said.index("weights: workspace/scorers/srcnn_x2/weights")

    said = cli("score").stdout
    assert "71 patches scored by mse: lowest " in said
    assert "scores: workspace/scores/mse_x2.parquet" in said

    said = cli(*tiny.select, fresh=True).stdout
    assert "N 71, skipped 4, kept 36 (50.7%)" in said
    assert "share of the sum of scores: " in said
    assert "share of each image: lowest " in said
    assert "unique pixels covered: " in said
    assert f"core-set: workspace/coresets/{tiny.coreset}.parquet" in said

    said = cli(*tiny.train).stdout
    assert "fsrcnn x2, 12,809 parameters, seed 0" in said
    assert f"core-set: {tiny.coreset}" in said
    assert "full set: 71 patches, 20 steps of 2 crops = 0.6 epochs" in said
    assert "this run: 36 patches, 20 steps of 2 crops = 1.1 epochs (steps matched)" in said
    assert f"weights: workspace/runs/{tiny.run}/weights.safetensors" in said

    said = cli("eval", "--benchmark", "photos").stdout
    assert said.startswith("protocol rgb8@1   scale x2   model fsrcnn   train set ")
    assert "mean of 4" in said
    assert "camera.png" in said
    assert unfinished(tmp_path) == []


def test_a_second_call_makes_nothing_again(cli, prepared, tiny):
    cli("eval", "--benchmark", "photos")
    before = stamps(prepared)
    for command in (tiny.extract, tiny.pretrain, ["score"], tiny.select, tiny.train,
                    ["eval", "--benchmark", "photos"]):  # fmt: skip
        cli(*command)
        assert stamps(prepared) == before, command


def test_the_same_inputs_give_the_same_fingerprints_in_another_workspace(cli, prepared, tiny):
    for command in (tiny.extract, tiny.pretrain, ["score"], tiny.select, tiny.train):
        cli(*command, SRPRUNE_WORKSPACE="other")
    other = prepared.with_name("other")
    for name in ("patches", "scores/mse_x2", f"coresets/{tiny.coreset}"):
        path = f"{name}.parquet"
        assert read_header(other / path).fingerprint == read_header(prepared / path).fingerprint
    facts = [
        json.loads(cli("inspect", w / "runs" / tiny.run / "weights.safetensors", "--json").stdout)
        for w in (prepared, other)
    ]
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]


def test_the_workspace_option_wins_over_the_variable(cli, images, tiny, tmp_path):
    cli(*tiny.extract, "-w", "here", SRPRUNE_WORKSPACE="there")
    assert (tmp_path / "here" / "patches.parquet").is_file()
    assert not (tmp_path / "there").exists()


def test_select_tells_the_same_as_json(cli, prepared, tiny):
    facts = json.loads(cli(*tiny.select, "--json").stdout)
    assert facts["num_patches"] == 71
    assert facts["num_skipped"] == 4
    assert facts["num_kept"] == 36
    assert facts["coreset"] == tiny.coreset
    assert 0 < facts["loss_share"] < 1
    low, high = facts["score_range"]
    assert low < high
    assert 0 < facts["pixel_share"] <= 1


@pytest.mark.parametrize(
    ("options", "name", "kept"),
    [
        (["--rule", "asc", "--ratio", "0.25"], "asc_r0.25__mse_x2", 18),
        (["--rule", "random", "--ratio", "0.5", "--seed", "3"], "random_r0.50__seed3", 36),
        (["--ratio", "1"], "des_r1.00__mse_x2", 71),
    ],
)
def test_each_rule_writes_its_core_set(cli, prepared, options, name, kept):
    facts = json.loads(cli("select", *options, "--json").stdout)
    assert (facts["coreset"], facts["num_kept"]) == (name, kept)
    assert read_header(prepared / f"coresets/{name}.parquet").params["num_kept"] == kept


@pytest.mark.parametrize("method", ["bicubic", "sobel", "laplacian", "random"])
def test_scores_that_need_no_model_are_made_and_selected_from(cli, images, tiny, method):
    cli(*tiny.extract)
    assert f"71 patches scored by {method}" in cli("score", "--method", method).stdout
    assert "kept 36" in cli("select", "--ratio", "0.5").stdout  # the only table is found


def test_train_takes_a_core_set_file_and_a_name(cli, prepared, tiny):
    cli("select", "--ratio", "0.25")
    coreset = "workspace/coresets/des_r0.25__mse_x2.parquet"
    said = cli(*tiny.train, "--coreset", coreset, "--name", "mine").stdout
    assert "this run: 18 patches" in said
    assert (prepared / "runs" / "mine" / "weights.safetensors").is_file()


def test_without_step_matching_a_core_set_gets_fewer_steps(cli, prepared, tiny):
    said = cli(*tiny.train, "--dry-run", "--set", "pruning.step_matching=false").stdout
    assert "this run: 36 patches, 11 steps of 2 crops" in said
    assert "(same epochs, fewer steps)" in said


def test_a_dry_run_prints_config_and_steps_and_trains_nothing(cli, prepared, tiny):
    said = cli(*tiny.train, "--dry-run", "--name", "new").stdout
    assert "model: fsrcnn" in said
    assert "this run: 36 patches, 20 steps of 2 crops" in said
    assert "weights: workspace" not in said
    assert not (prepared / "runs" / "new").exists()


def test_a_trained_run_gets_a_preview(cli, prepared, tiny, tmp_path):
    pytest.importorskip("torchvision", exc_type=Exception)
    picture(tmp_path / "watch" / "one.png")
    said = cli(
        "train", *tiny.fsrcnn, "--name", "seen", "--set", "validation.benchmark=watch"
    ).stdout
    assert "validation: step 20, psnr_y " in said
    assert "preview: " in said
    path = tmp_path / said.split("preview: ")[1].split("\n")[0]
    with Image.open(path) as preview:
        assert preview.format == "PNG"


def test_eval_writes_parquet_csv_and_json_that_agree(cli, prepared, tmp_path):
    picture(tmp_path / "mine" / "one.png")
    picture(tmp_path / "mine" / "deep" / "two.png", seed=1)
    printed = cli("eval", "--benchmark", "mine", "--json", "--save-images", "sr").stdout
    (told,) = json.loads(printed)
    (path,) = (prepared / "results").glob("*.parquet")
    assert path.name.endswith("__mine__rgb8_1.parquet")
    written = json.loads(path.with_suffix(".json").read_text())
    with open(path.with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert written == told
    assert [float(row["value"]) for row in rows] == [row["value"] for row in told["rows"]]
    assert [row["image"] for row in rows] == ["deep/two.png", "deep/two.png", "one.png", "one.png"]
    assert {row["metric"] for row in rows} == {"psnr_y", "ssim_y"}
    assert told["header"]["fingerprint"] == read_header(path).fingerprint
    psnr = [row["value"] for row in told["rows"] if row["metric"] == "psnr_y"]
    assert told["means"]["mine"]["psnr_y"] == pytest.approx(np.mean(psnr), abs=1e-12)
    for name in ("one.png", "deep/two.png"):
        with Image.open(tmp_path / "sr" / "mine" / name) as sr:
            assert (sr.format, sr.size, sr.mode) == ("PNG", (96, 72), "RGB")


def test_eval_measures_several_models_and_prints_means_alone(cli, prepared, tiny, tmp_path):
    picture(tmp_path / "mine" / "one.png")
    said = cli("eval", "bicubic", tiny.run, "--benchmark", "mine", "--means-only").stdout
    assert said.count("mean of 1") == 2
    assert "one.png" not in said
    tables = json.loads(cli("eval", "bicubic", tiny.run, "--benchmark", "mine", "--json").stdout)
    assert [table["model"] for table in tables] == ["bicubic", "fsrcnn"]


def test_a_run_is_found_by_name_by_folder_and_by_file(cli, prepared, tiny, tmp_path):
    picture(tmp_path / "mine" / "one.png")
    folder = f"workspace/runs/{tiny.run}"
    said = {
        cli("eval", *model, "--benchmark", "mine").stdout
        for model in ([], [tiny.run], [folder], [f"{folder}/weights.safetensors"])
    }
    assert len(said) == 1


def test_y1_takes_a_network_on_luma_and_says_so(cli, prepared, tmp_path):
    picture(tmp_path / "mine" / "one.png")
    assert cli("eval", "--benchmark", "mine", "--protocol", "y@1").stdout.startswith("protocol y@1")


def test_write_patches_writes_each_crop_under_its_name(cli, images, tiny, tmp_path):
    picture(images / "in folder" / "a b.png", seed=7)
    cli(*tiny.extract, "--write-patches")
    index = PatchIndex.read(tmp_path / "workspace" / "patches.parquet")
    folder = tmp_path / "workspace" / "sub_images" / "HR"
    assert len(list(folder.iterdir())) == len(index)
    seen: dict[int, int] = {}
    for image, top, left in zip(index.image_N, index.top_N, index.left_N, strict=True):
        path = index.images[image].path
        seen[image] = seen.get(image, 0) + 1
        stem = path.removesuffix(".png").replace("/", "_").replace(" ", "_")
        crop = pixels(folder / f"{stem}_s{seen[image]:03d}.png")
        whole = pixels(images / path)
        assert np.array_equal(crop, whole[top : top + 48, left : left + 48])


def test_inspect_tells_of_every_artifact(cli, prepared, tiny, tmp_path):
    picture(tmp_path / "mine" / "one.png")
    cli("eval", "--benchmark", "mine")
    kinds = {
        "patches.parquet": ("PatchIndex", "71 patches of 48 px from 4 images"),
        "scores/mse_x2.parquet": ("ScoreTable", "71 scores"),
        f"coresets/{tiny.coreset}.parquet": ("CoreSet", "36 of 71 patches"),
        "scorers/srcnn_x2/best.safetensors": ("Weights", "srcnn"),
        "scorers/srcnn_x2/weights.safetensors": ("Weights", "srcnn"),
        f"runs/{tiny.run}/weights.safetensors": ("Weights", "fsrcnn"),
        f"results/{tiny.run}__mine__rgb8_1.parquet": ("EvalTable", "mine psnr_y: "),
    }
    artifacts = {
        path.relative_to(prepared).as_posix()
        for ending in ("parquet", "safetensors")
        for path in prepared.rglob(f"*.{ending}")
    }
    assert artifacts == set(kinds)
    for name, (kind, fact) in kinds.items():
        said = cli("inspect", prepared / name).stdout
        assert said.startswith(f"{kind} ")
        assert fact in said
        facts = json.loads(cli("inspect", prepared / name, "--json").stdout)
        assert facts["kind"] == kind
        assert facts["made"]["command"].startswith("srprune ")


def test_list_models_tells_their_facts(cli):
    """Published: 12,809 parameters, and SwinIR's 11.8M; RCAN's pooling sees the whole image."""
    head, *lines = cli("list", "models").stdout.splitlines()
    assert head.split() == [
        "model",
        "parameters",
        "gflops",
        "receptive_field",
        "input",
        "scales",
        "source",
    ]
    rows = {line.split()[0]: line for line in lines}
    assert "12,809" in rows["fsrcnn"] and "Y, LR" in rows["fsrcnn"]
    assert "11,752,487" in rows["swinir"] and "JingyunLiang/SwinIR" in rows["swinir"]
    assert " all " in rows["rcan"]
    assert "Y, bicubic" in rows["drrn"] and "x2 x3 x4" in rows["drrn"]
    facts = json.loads(cli("list", "models", "--json").stdout)
    assert [fact["model"] for fact in facts] == list(rows)


def test_list_as_json(cli):
    assert "des" in json.loads(cli("list", "rules", "--json").stdout)


def test_doctor_says_what_is_installed(cli):
    said = cli("doctor").stdout
    assert said.startswith("srprune ")
    for name in ("torch", "numpy", "pillow", "pyarrow", "torchvision", "matplotlib"):
        assert f"  {name} " in said


def test_help_lists_all_commands_in_the_order_of_the_pipeline(cli):
    said = cli("--help").stdout
    listed = [line.split()[0] for line in said.split("Commands:")[1].splitlines() if line.strip()]
    assert listed == list(COMMANDS)


def test_version_is_that_of_the_package(cli):
    from importlib.metadata import version

    assert cli("--version").stdout.split()[-1] == version("srprune")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what it holds."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def picture(path: Path, seed: int = 0, shape: tuple[int, int] = (72, 96)) -> None:
    """Write a small smooth image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = [128 + 90 * np.sin(x / (k + seed)) * np.cos(y / 7) for k in (4, 6, 9)]
    Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)).save(path)


def test_written_patches_are_those_of_the_index_at_hand(cli, images, tmp_path):
    folder = tmp_path / "workspace" / "sub_images" / "HR"
    for size in (48, 24):
        cli("extract", images, "--size", size, "--stride", size, "--write-patches")
        files = sorted(folder.glob("*.png"))
        for file in files:
            with Image.open(file) as image:
                assert image.size == (size, size)
        assert len(files) == len(PatchIndex.read(tmp_path / "workspace" / "patches.parquet"))


def test_bicubic_beside_a_model_takes_its_scale(cli, prepared, tiny):
    cli(*tiny.train, "--set", "scale=3", "--set", "pruning.rule=random", "--name", "three")
    done = cli("eval", "bicubic", "three", "--benchmark", "photos", "--means-only")
    assert done.stdout.count("scale x3") == 2


def test_a_run_starts_from_the_weights_of_another(cli, prepared, tiny):
    said = cli(*tiny.train, "--name", "next", "--init", tiny.run, "--dry-run").stdout
    assert f"starts from 23 of 23 tensors from workspace/runs/{tiny.run}/weights" in said
    four = ("--set", "scale=4", "--set", "lr_crop=8", "--set", "pruning.ratio=1",
            "--set", "pruning.offset=0", "--name", "four")  # fmt: skip
    said = cli(*tiny.train, *four, "--init", tiny.run, "--set", "init.strict=false").stdout
    assert "tensors from" in said and "weights: workspace/runs/four" in said


def test_extract_tells_the_same_as_json(cli, images, tiny):
    facts = json.loads(cli(*tiny.extract, "--json").stdout)
    assert (facts["num_patches"], facts["size"], facts["stride"], facts["num_images"]) == (
        71,
        48,
        24,
        4,
    )
    assert (
        facts["fingerprint"]
        == json.loads(cli("inspect", "workspace/patches.parquet", "--json").stdout)["fingerprint"]
    )
