"""Bad input ends in one clear line that names what is wrong, and leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from srprune.core.artifact import read_header, write_table
from tests.processes import Child

AS_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
NOISE = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
PATCHES = ("--size", "48", "--stride", "24")


# --- images -------------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:9000])


def text(path: Path) -> None:
    path.write_text("this is not an image\n")


def empty(path: Path) -> None:
    path.touch()


def small(path: Path) -> None:
    Image.fromarray(NOISE[:40]).save(path)


def bomb(path: Path) -> None:
    """A PNG file of a few bytes that claims 60000x60000 px."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


BAD = {
    truncated: "truncated",
    text: "is not a PNG image",
    empty: "is empty",
    small: "too small for a patch of 48 px",
    bomb: "decompression bomb",
}
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


# --- permissions, disk, Ctrl-C ------------------------------------------------------------------


@pytest.fixture
def as_user() -> tuple[str, ...]:
    """What stands before a command so that permissions count for it, even for root."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which(AS_USER[0]):
        pytest.skip("root may do everything, and there is no setpriv to give that up")
    if subprocess.run([*AS_USER, "true"], capture_output=True).returncode:
        pytest.skip("setpriv may not give up capabilities here")
    return AS_USER


@pytest.fixture
def locked(request):
    """Take permissions from a path until the test ends."""

    def lock(path: Path, mode: int) -> Path:
        request.addfinalizer(lambda: path.chmod(0o755))
        path.chmod(mode)
        return path

    return lock


def test_a_folder_that_may_not_be_read_is_named(refused, images, as_user, locked):
    locked(images, 0o000)
    said = refused("extract", images, prefix=as_user)
    assert str(images) in said
    assert "permission" in said


def test_an_image_that_may_not_be_read_is_named(refused, images, as_user, locked):
    locked(images / "a.png", 0o000)
    said = refused("extract", images, *PATCHES, prefix=as_user, lines=None)
    assert f"{images / 'a.png'} may not be read" in said


def test_a_workspace_that_may_not_be_written_is_named(refused, images, as_user, locked, tmp_path):
    workspace = tmp_path / "shut"
    workspace.mkdir()
    locked(workspace, 0o555)
    said = refused("extract", images, *PATCHES, "-w", workspace, prefix=as_user)
    assert said.startswith(f"no permission to write {workspace}")


def test_a_workspace_that_may_not_be_read_is_named(refused, prepared, as_user, locked):
    locked(prepared, 0o000)
    said = refused("select", "--ratio", "0.5", prefix=as_user)
    assert "ermission" in said
    assert "workspace" in said


def test_a_file_in_place_of_the_workspace_is_named(refused, images, tmp_path):
    (tmp_path / "file").touch()
    for command in (["extract", images, *PATCHES], ["select", "--ratio", "0.5"]):
        assert "'file' is a file" in refused(*command, "-w", "file")


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_extract_on_a_full_disk_leaves_nothing(refused, images, tmp_path, limit):
    said = refused("extract", images, *PATCHES, file_limit=limit)
    assert "no space left to write" in said
    assert "workspace/pixels/hr.u8" in said
    assert files(tmp_path / "workspace") == []


def test_score_on_a_full_disk_leaves_no_table(refused, prepared):
    shutil.rmtree(prepared / "scores")
    said = refused("score", file_limit=100)
    assert "no space left to write workspace/scores/mse_x2.parquet" in said
    assert files(prepared / "scores") == []


@pytest.mark.parametrize(
    ("limit", "every", "file"),
    [
        (600, 1000, "config.yaml"),
        (30_000, 1000, "weights.safetensors"),
        (30_000, 5, "checkpoints/000000005.pt"),
    ],
)
def test_train_on_a_full_disk_names_the_file(refused, prepared, tiny, limit, every, file):
    options = ("--name", "new", "--set", f"checkpoints.every={every}")
    said = refused(*tiny.train, *options, file_limit=limit)
    assert f"no space left to write workspace/runs/new/{file}" in said
    assert not (prepared / "runs" / "new" / "weights.safetensors").exists()


def test_train_ends_as_ever_when_the_disk_has_room_again(cli, refused, prepared, tiny):
    options = ("--set", "checkpoints.every=5", "--set", "checkpoints.keep=3")
    cli(*tiny.train, "--name", "whole", *options)
    refused(*tiny.train, "--name", "new", *options, file_limit=30_000)
    cli(*tiny.train, "--name", "new", *options, "--resume")
    whole, new = (
        load_file(prepared / "runs" / name / "weights.safetensors") for name in ("whole", "new")
    )
    assert whole.keys() == new.keys()
    assert all(np.array_equal(whole[name], new[name]) for name in whole)


def wait_for(path: Path, child: Child) -> None:
    """Wait until a child has written a file."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert child.poll() is None, f"ended before it wrote {path}: {child.stderr.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def interrupted(child: Child) -> str:
    """Press Ctrl-C; return what the child says."""
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert len(said.strip().splitlines()) == 1, said
    assert said.strip().startswith("Error: interrupted")
    return said


def test_ctrl_c_ends_training_with_130_and_resume_goes_on(
    cli, refused, start, prepared, tiny, unfinished
):
    job = [*tiny.train, "--set", "budget.steps=200", "--set", "checkpoints.every=10",
           "--name", "long"]  # fmt: skip
    folder = prepared / "runs" / "long"
    child = start(*job)
    wait_for(folder / "checkpoints" / "000000010.pt", child)
    assert "--resume" in interrupted(child)
    assert not (folder / "weights.safetensors").exists()
    assert unfinished(prepared) == []
    said = refused(*job)
    assert said.startswith("workspace/runs/long holds an interrupted run")
    assert "--resume" in said
    assert "--restart" in said
    assert "weights: workspace/runs/long" in cli(*job, "--resume").stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml", "curves.png", "log.csv", "tensorboard",
        "weights.safetensors"]  # fmt: skip


def test_sigterm_saves_a_checkpoint_and_resume_goes_on(cli, start, prepared, tiny, unfinished):
    job = [*tiny.train, "--set", "budget.steps=200", "--set", "checkpoints.every=300",
           "--name", "long"]  # fmt: skip
    folder = prepared / "runs" / "long"
    child = start(*job)
    wait_for(folder / "log.csv", child)
    child.terminate()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143
    assert said.startswith("Error: stopped at step ") and "--resume" in said
    assert len(list((folder / "checkpoints").iterdir())) == 1
    assert unfinished(prepared) == []
    assert "weights: workspace/runs/long" in cli(*job, "--resume").stdout


def test_ctrl_c_ends_extraction_with_130_and_the_same_command_goes_on(cli, start, tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    noise = Image.fromarray(np.tile(NOISE, (12, 12, 1)))
    for number in range(16):
        noise.rotate(90 * number).save(folder / f"{number}.png", compress_level=1)
    child = start("extract", folder, "--size", "480", "--stride", "480", "--workers", "1")
    wait_for(tmp_path / "workspace" / "pixels" / "hr.u8.journal", child)
    interrupted(child)
    assert not (tmp_path / "workspace" / "patches.parquet").exists()
    assert "from 16 images" in cli("extract", folder, "--size", "480", "--stride", "480").stdout
    assert files(tmp_path / "workspace") == [
        "patches.parquet", "pixels/hr.u8", "pixels/hr.u8.json"]  # fmt: skip


# --- commands and options -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extrac", "images"], "Did you mean: extract?"),
        (["select"], "Missing option '--ratio'"),
        (["select", "--ratoi", "0.5"], "Did you mean"),
        (["select", "--ratio", "half"], "'half' is not a valid float"),
        (["score", "--scale", "5"], "scale is 5; it must be 2, 3 or 4"),
        (["eval", "--protocol", "y"], "'y' is not one of"),
        (["list", "networks"], "'networks' is not one of"),
        (["extract", "images", "--workers", "0"], "--workers"),
    ],
)
def test_a_usage_fault_is_one_line_that_points_at_the_help(refused, arguments, said):
    message = refused(*arguments)
    assert said in message
    assert "--help" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ratio", "0"], "ratio is 0; it must be above 0 and at most 1."),
        (["--ratio", "1.5"], "ratio is 1.5; it must be above 0 and at most 1."),
        (["--ratio", "nan"], "ratio is nan"),
        (["--ratio", "0.5", "--offset", "1"], "offset is 1; it must be at least 0 and below 1."),
        (["--ratio", "0.7", "--offset", "0.4"], "need 78 patches, 7 more than the 71 there are"),
        (["--ratio", "0.001"], "keeps none. Choose a ratio of at least 0.014"),
        (["--ratio", "0.5", "--rule", "desc"], "unknown rule 'desc'. Did you mean: des?"),
        (
            ["--ratio", "0.5", "--scores", "mse_x3"],
            "no score table 'mse_x3'. Did you mean: mse_x2? Known: mse_x2.",
        ),
    ],
)
def test_a_core_set_that_cannot_be_is_refused(refused, prepared, arguments, said):
    shutil.rmtree(prepared / "coresets")
    assert said in refused("select", *arguments)
    assert not (prepared / "coresets").exists()


def test_of_two_score_tables_one_must_be_named(cli, refused, prepared):
    shutil.copy(prepared / "scores/mse_x2.parquet", prepared / "scores/mine.parquet")
    said = refused("select", "--ratio", "0.5")
    assert said.startswith("there are 2 score tables: mine, mse_x2. Choose one: --scores NAME.")
    cli("select", "--ratio", "0.5", "--scores", "mine")


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("pretrain", "srprune extract IMAGES"),
        ("score", "srprune extract IMAGES"),
        ("score --method sobel", "srprune extract IMAGES"),
        ("select --ratio 0.5", "srprune extract IMAGES"),
        ("train --config fsrcnn_x2.yaml", "srprune extract IMAGES"),
        ("eval --benchmark photos", "srprune train"),
    ],
)
def test_without_the_stage_before_a_command_says_which_to_run(refused, tmp_path, command, first):
    assert f"Run '{first}' first." in refused(*command.split())
    assert files(tmp_path) == []


def test_without_scores_select_and_train_say_which_command_to_run(refused, prepared, tiny):
    shutil.rmtree(prepared / "scores")
    assert "Run 'srprune score' first." in refused("select", "--ratio", "0.5")
    assert "Run 'srprune score --method mse' first." in refused(*tiny.train)


# --- configs ------------------------------------------------------------------------------------

FAULTY = """\
model: fsrcnn
scale: 5
bacth: 16
batch: sixteen
budget: {steps: 100}
augment: on
seed: 010
lr_crop: 12
lr_crop: 16
optimizer: {lr: 1e-4}
validation:
  evry: 10
"""


def test_all_faults_of_a_config_show_at_once_with_file_and_line(refused, tmp_path):
    (tmp_path / "bad.yaml").write_text(FAULTY)
    said = refused("train", "--config", "bad.yaml", lines=None).splitlines()

    def line(number: int) -> str:
        return "\n".join(each for each in said if f"(bad.yaml, line {number})" in each)

    assert "scale is 5; it must be one of 2, 3, 4" in line(2)
    assert "unknown key 'bacth'. Did you mean: batch?" in line(3)
    assert "batch is 'sixteen'; it must be a whole number" in line(4)
    assert "augment is 'on'; it must be true or false" in line(6)
    assert "010" in line(7)
    assert "key 'lr_crop' stands twice, in line 8 and in line 9" in line(9)
    assert "unknown key 'validation.evry'. Did you mean: every?" in line(12)
    assert len(said) == 7, said  # and 1e-4 is a number
    assert files(tmp_path) == ["bad.yaml"]


def test_an_exponent_without_a_point_is_a_number(cli, prepared, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: fsrcnn\nbudget: {steps: 100}\nlr_crop: 12\noptimizer: {lr: 1e-4}\n"
    )
    assert "lr: 0.0001" in cli("train", "--config", "mine.yaml", "--dry-run").stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimzer.lr=1", "unknown key 'optimzer'. Did you mean: optimizer?"),
        ("batch=0", "batch is 0; it must be at least 1"),
        ("model=fsrcn", "unknown model 'fsrcn'. Did you mean: fsrcnn?"),
        ("model_args.chanels=y", "unknown fsrcnn argument 'chanels'. Did you mean: channels?"),
        ("model_args.channels=cmyk", "model_args.channels is 'cmyk'; fsrcnn takes y, rgb."),
        ("pruning.rule=desc", "unknown rule 'desc'. Did you mean: des?"),
        ("pruning.ratio=0.99", "ratio 0.99 and offset 0.05 add up to 1.04"),
    ],
)
def test_a_faulty_override_is_named(refused, prepared, tiny, change, said):
    assert said in refused(*tiny.train, "--set", change)
    assert [run.name for run in (prepared / "runs").iterdir()] == [tiny.run]


def test_an_unknown_config_lists_what_there_is(refused):
    said = refused("train", "--config", "fsrcn_x2.yaml")
    assert said.startswith("there is no config fsrcn_x2.yaml. Did you mean: fsrcnn_x2.yaml?")
    assert "srcnn.yaml" in said


# --- artifacts ----------------------------------------------------------------------------------


def test_scores_of_another_index_are_refused(cli, refused, prepared):
    old = read_header(prepared / "patches.parquet").fingerprint
    cli("extract", "images", "--size", "48", "--stride", "48")
    new = read_header(prepared / "patches.parquet").fingerprint
    said = refused("select", "--ratio", "0.5")
    assert said.startswith(f"workspace/scores/mse_x2.parquet was made from patches {old}")
    assert new in said
    assert "Run 'srprune score --method mse --restart'." in said


def test_a_core_set_of_another_index_is_refused(cli, refused, prepared, tiny):
    cli("extract", "images", "--size", "48", "--stride", "48")
    coreset = f"workspace/coresets/{tiny.coreset}.parquet"
    said = refused(*tiny.train, "--coreset", coreset)
    assert said.startswith(f"{coreset} was made from patches ")


def test_a_scoring_model_of_another_index_is_refused(cli, refused, prepared):
    cli("extract", "images", "--size", "48", "--stride", "48")
    said = refused("score")
    assert said.startswith("workspace/scorers/srcnn_x2 was trained on patch index ")
    assert "srprune pretrain --restart" in said


def test_a_core_set_of_other_scores_is_refused(refused, prepared, tiny):
    rewrite_scores(prepared / "scores/mse_x2.parquet", lambda scores_N: scores_N[::-1])
    said = refused(*tiny.train, "--name", "new")
    assert "was made from other scores than workspace/scores/mse_x2.parquet" in said
    assert "srprune select" in said


def test_a_missing_core_set_is_named(refused, prepared, tiny):
    assert refused(*tiny.train, "--coreset", "no.parquet") == "there is no file no.parquet."


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(refused, prepared, value):
    def spoil(scores_N):
        scores_N[[7, 9]] = value
        return scores_N

    rewrite_scores(prepared / "scores/mse_x2.parquet", spoil)
    said = refused("select", "--ratio", "0.5")
    assert said.startswith(f"2 of 71 scores are not finite; the first is {value} of patch 7")
    assert "workspace/scores/mse_x2.parquet" in said


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def garbage(raw: bytes) -> bytes:
    return b"no Parquet file at all" * 50


def turned(raw: bytes) -> bytes:
    """One byte of the pixels of the columns is another one."""
    return raw[:300] + bytes([raw[300] ^ 0xFF]) + raw[301:]


@pytest.mark.parametrize("damage", [cut, garbage, turned])
def test_a_damaged_table_is_named(refused, prepared, damage):
    for file in ("scores/mse_x2.parquet", "patches.parquet"):
        path = prepared / file
        path.write_bytes(damage(path.read_bytes()))
        assert f"workspace/{file} " in refused("select", "--ratio", "0.5")


def test_a_table_of_another_kind_is_refused(refused, prepared, tiny):
    said = refused(*tiny.train, "--coreset", "workspace/scores/mse_x2.parquet")
    assert said.endswith("mse_x2.parquet holds a ScoreTable; a CoreSet was expected.")


def test_a_foreign_parquet_file_is_refused(refused, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert "srprune did not write it" in refused("inspect", "a.parquet")


def test_missing_pixels_are_named(refused, prepared):
    (prepared / "pixels/hr.u8").unlink()
    said = refused("score", "--method", "sobel")
    assert said.startswith("the pixels workspace/pixels/hr.u8 are not there. Run 'srprune extract'")


# --- training -----------------------------------------------------------------------------------


def test_crops_larger_than_patches_are_refused(refused, prepared, tiny):
    said = refused(*tiny.train, "--name", "new", "--set", "lr_crop=25")
    assert said.startswith("lr_crop is 25 px, but the patches have 24 px at LR.")
    assert files(prepared / "runs" / "new") == []


def test_crops_within_the_rim_are_refused(refused, prepared, tiny):
    said = refused(*tiny.pretrain, "--set", "lr_crop=10", "--name", "new")
    assert said.startswith("lr_crop is 10, 20 px at HR, but skip_rim leaves out")


def test_a_finished_run_of_another_config_is_kept_unless_restarted(cli, refused, prepared, tiny):
    weights = prepared / "runs" / tiny.run / "weights.safetensors"
    before = weights.read_bytes()
    said = refused(*tiny.train, "--set", "batch=3")
    assert said.startswith(f"workspace/runs/{tiny.run} holds a finished run of another config")
    assert "batch 2 there, 3 asked for" in said
    assert "--restart" in said
    assert weights.read_bytes() == before
    cli(*tiny.train, "--set", "batch=3", "--restart")
    assert weights.read_bytes() != before


def test_a_restart_that_is_refused_keeps_the_finished_run(refused, prepared, tiny):
    weights = prepared / "runs" / tiny.run / "weights.safetensors"
    before = weights.read_bytes()
    refused(*tiny.train, "--restart", "--set", "lr_crop=25")
    assert weights.read_bytes() == before


def test_a_pruned_scoring_model_is_refused(refused, prepared, tiny):
    said = refused(*tiny.pretrain, "--set", "pruning.ratio=0.5", "--name", "new")
    assert said.startswith("pruning.ratio is 0.5; a scoring model is trained on the full set.")


def test_a_missing_validation_benchmark_shows_before_training(refused, prepared, tiny):
    said = refused("train", *tiny.fsrcnn, "--name", "new", "--set", "validation.benchmark=set5")
    assert said.startswith("benchmark Set5 was not found")
    assert files(prepared / "runs" / "new") == []


@pytest.mark.parametrize("spoil", [truncated, text])
def test_a_validation_image_that_is_damaged_is_named(refused, prepared, tiny, tmp_path, spoil):
    (tmp_path / "mine").mkdir()
    Image.fromarray(NOISE).save(tmp_path / "mine" / "sound.png")
    spoil(tmp_path / "mine" / "bad.png")
    said = refused("train", *tiny.fsrcnn, "--name", "new", "--set", "validation.benchmark=mine")
    assert said.startswith("mine/bad.png ") and BAD[spoil] in said
    assert files(prepared / "runs" / "new") == []


def test_a_validation_image_that_is_too_small_shows_before_training(
    refused, prepared, tiny, tmp_path
):
    (tmp_path / "mine").mkdir()
    Image.fromarray(NOISE[:15, :15]).save(tmp_path / "mine" / "small.png")
    said = refused("train", *tiny.fsrcnn, "--name", "new", "--set", "validation.benchmark=mine")
    assert said.startswith("mine/small.png: the image has 14x14 px; at least 15 px a side are")
    assert files(prepared / "runs" / "new") == []


def test_a_device_that_is_not_there_is_refused(refused, prepared, tiny):
    assert refused(*tiny.train, "--device", "tpu").startswith("device tpu is not there.")


# --- evaluation ---------------------------------------------------------------------------------


def as_png(pixels: np.ndarray, folder: Path) -> None:
    Image.fromarray(pixels).save(folder / "other.png", compress_level=1)


def as_bmp(pixels: np.ndarray, folder: Path) -> None:
    Image.fromarray(pixels).save(folder / "other.bmp")


def mod_cropped(pixels: np.ndarray, folder: Path) -> None:
    height, width = pixels.shape[:2]
    cropped = pixels[: height - height % 12, : width - width % 12]
    Image.fromarray(cropped).save(folder / "other.tiff")


@pytest.mark.parametrize("copy", [as_png, as_bmp, mod_cropped])
def test_an_evaluation_image_that_trained_is_refused(refused, prepared, tiny, tmp_path, copy):
    folder = tmp_path / "mine"
    folder.mkdir()
    with Image.open(tmp_path / "images" / "b.png") as image:
        copy(np.asarray(image), folder)
    said = refused("eval", "--benchmark", "mine", "--save-images", "sr")
    assert f"other{next(folder.iterdir()).suffix} of mine is also a training image of" in said
    assert "(b.png, the same pixels)" in said
    assert "--allow-leak" in said
    assert not (prepared / "results").exists()


def test_a_leak_is_measured_where_it_is_allowed(cli, prepared):
    printed = cli("eval", "--benchmark", "images", "--allow-leak").stdout
    assert "mean of 4" in printed


def test_a_leak_is_refused_after_it_was_once_allowed(cli, refused, prepared):
    cli("eval", "--benchmark", "images", "--allow-leak")
    assert "also a training image" in refused("eval", "--benchmark", "images")


def test_an_evaluation_image_that_is_too_small_is_named(refused, prepared, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.fromarray(NOISE[:10, :10]).save(tmp_path / "mine" / "tiny.png")
    said = refused("eval", "bicubic", "--benchmark", "mine")
    assert said.startswith("mine/tiny.png: ")
    assert "10" in said
    assert not (prepared / "results").exists()


@pytest.mark.parametrize("spoil", [truncated, text, empty, bomb])
def test_an_evaluation_image_that_is_damaged_is_named(refused, prepared, tmp_path, spoil):
    (tmp_path / "mine").mkdir()
    spoil(tmp_path / "mine" / "bad.png")
    said = refused("eval", "bicubic", "--benchmark", "mine")
    assert said.startswith("mine/bad.png ")
    assert BAD[spoil] in said
    assert not (prepared / "results").exists()


def test_photos_where_a_folder_is_called_so(cli, refused, tmp_path, images):
    shutil.copytree(images, tmp_path / "photos")
    grid = ["--size", "48", "--stride", "24"]
    for words in (["extract", "photos", *grid], ["eval", "bicubic", "--benchmark", "photos"]):
        said = refused(*words)
        assert said.startswith("photos names the photographs inside scikit-image, but there is a ")
        assert "Write ./photos for the folder, or run this in another folder" in said
    said = cli("extract", "./photos", *grid).stdout
    assert f"{len(list(images.iterdir()))} images" in said


def test_a_model_that_is_not_there_is_named(refused, prepared, tiny):
    said = refused("eval", "fsrcn", "--benchmark", "photos")
    assert said.startswith("there is no model 'fsrcn': neither bicubic, nor a weights file, nor")
    assert tiny.run in said


@pytest.mark.parametrize("damage", [cut, garbage])
def test_damaged_weights_are_named(refused, prepared, tiny, damage):
    weights = prepared / "runs" / tiny.run / "weights.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    said = refused("eval", "--benchmark", "photos")
    assert said.startswith(f"workspace/runs/{tiny.run}/weights.safetensors ")


def test_of_two_runs_one_must_be_named(refused, prepared, tiny):
    shutil.copytree(prepared / "runs" / tiny.run, prepared / "runs" / "other")
    said = refused("eval", "--benchmark", "photos")
    assert said.startswith("there are 2 finished runs: ")
    assert f"{tiny.run}, other" in said


def test_a_scale_that_is_not_the_models_is_refused(refused, prepared, tiny):
    said = refused("eval", tiny.run, "--benchmark", "photos", "--scale", "3")
    assert said.endswith("is a model of x2, but --scale is 3.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "none of Set5, Set14, BSD100, Urban100 was found"),
        (["--benchmark", "set5"], "benchmark Set5 was not found"),
        (["--benchmark", "set51"], "unknown benchmark 'set51'. Did you mean: set5?"),
        (["--benchmark", "no/where"], "there is no folder no/where to evaluate on"),
    ],
)
def test_a_missing_benchmark_is_named(refused, options, said):
    assert said in refused("eval", "bicubic", *options)


# --- helpers ------------------------------------------------------------------------------------


def files(folder: Path) -> list[str]:
    """All files below a folder; none if it is not there."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def rewrite_scores(path: Path, change) -> None:
    """Write a score table with other scores, and a fingerprint that fits them."""
    import pyarrow.parquet as pq

    header, table = read_header(path), pq.read_table(path)
    columns = {name: table.column(name).to_numpy().copy() for name in table.column_names}
    columns["score"] = np.ascontiguousarray(change(columns["score"]))
    write_table(
        path, header.kind, columns, parents=header.parents, params=header.params, made=header.made
    )


# --- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["optimizer.name=adm"], "unknown optimizer 'adm'. Did you mean: adam?"),
        (["batch=64"], "batch is 64, but des_r0.50_o0.05__mse_x2 has 36 patches"),
        (["compute.accumulate=3"], "batch is 2, which cannot be cut into 3 equal parts"),
        (["model=swinir_light", "model_args={}"], "swinir_light works in windows of 8 px"),
        (["lr_crop=25"], "lr_crop is 25 px, but the patches have 24 px at LR"),
        (["init.weights=nowhere"], "there are no weights 'nowhere' to start from (init.weights)"),
        (["data.residency=gpu"], "data.residency is 'gpu'"),
        (["compute.compile=true", "compute.cuda_graph=true"], "one of compile and cuda_graph"),
    ],
)
def test_a_training_that_cannot_be_is_refused_before_it_begins(
    refused, prepared, tiny, changes, said
):
    options = [word for change in changes for word in ("--set", change)]
    assert said in refused(*tiny.train, *options, "--name", "new")
    assert not (prepared / "runs" / "new").exists()


def test_a_moving_average_that_steps_are_too_few_for_is_warned_of(cli, prepared, tiny):
    def said(*changes):
        options = [word for change in changes for word in ("--set", change)]
        return cli(*tiny.train, *options, "--dry-run").stderr

    few = said("ema=0.999", "budget.steps=1500")
    assert "still make up 22% of the moving average after 1,500 steps with ema 0.999; set it" in few
    assert "moving average" not in said("ema=0.999", "budget.steps=5000")
    assert "moving average" not in said("ema=0", "budget.steps=5")
    assert "moving average" not in said("budget.steps=5")


def test_validating_on_training_images_is_warned_of_by_name(cli, prepared, tiny):
    said = cli(*tiny.train[:-1], "validation.benchmark=images", "--dry-run").stderr
    assert "warning: 4 images of the benchmark images are also in the core-set (a.png, b" in said
