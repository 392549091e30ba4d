"""A training that cannot be ends in one line, before it begins where that can be known."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.cli.spoiled import BAD, NOISE, files, text, truncated


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
