"""The recipes in ``configs/``: their numbers are those published, and the trainer can run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import TrainConfig  # noqa: E402
from srprune.core.yaml_file import load  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.stages.job import check_crops  # noqa: E402
from srprune.training.optimizer import make_optimizer  # noqa: E402
from srprune.training.plan import plan_steps  # noqa: E402
from srprune.training.schedule import rate  # noqa: E402

FOLDER = Path(__file__).parents[2] / "configs"
SIZE = 480  # px of a patch
DIV2K = 32_592  # patches of DIV2K at the default size and stride

EDSR = (300_000, 16, 1e-4, "l1", {200_000: 0.5e-4})
EVERY_200_000 = {200_000 * n: 1e-4 / 2**n for n in range(1, 5)}
SWINIR = {250_000: 1e-4, 400_000: 0.5e-4, 450_000: 0.25e-4, 475_000: 0.125e-4}
PUBLISHED: dict[str, Any] = {  # steps, batch, learning rate, loss, drops of the rate
    "drrn": (326_800, 128, 0.1, "euclidean", {65_360 * n: 0.1 / 2**n for n in range(1, 5)}),
    "edsr_baseline": EDSR,
    "edsr_large": EDSR,
    "idn": (600_000, 64, 1e-4, "l1", {250_000: 1e-5, 500_000: 1e-6}),
    "msrresnet": (1_000_000, 16, 2e-4, "l1", {}),
    "rcan": (1_000_000, 16, 1e-4, "l1", EVERY_200_000),
    "rdn": (1_000_000, 16, 1e-4, "l1", EVERY_200_000),
    "srresnet": (1_000_000, 16, 1e-4, "mse", {}),
    "swinir": (500_000, 32, 2e-4, "l1", SWINIR),
    "swinir_light": (500_000, 64, 2e-4, "l1", SWINIR),
}
CROPS = {  # LR px at x2, x3 and x4
    "drrn": (16, 11, 8),
    "edsr_baseline": (48, 48, 48),
    "edsr_large": (48, 48, 48),
    "idn": (29, 15, 11),
    "msrresnet": (32, 32, 32),
    "rcan": (48, 48, 48),
    "rdn": (48, 32, 32),
    "srresnet": (48, 32, 24),
    "swinir": (48, 48, 48),
    "swinir_light": (64, 64, 64),
}
RECIPES = [f"{model}_x{scale}" for model in PUBLISHED for scale in (2, 3, 4)]


TRAININGS = sorted(file.stem for file in FOLDER.glob("*.yaml") if "\nmodel:" in file.read_text())


def config(stem: str) -> TrainConfig:
    return load(FOLDER / f"{stem}.yaml", TrainConfig)


@pytest.mark.parametrize("stem", RECIPES)
def test_numbers_are_those_published(stem: str) -> None:
    recipe, (model, scale) = config(stem), stem.rsplit("_x", 1)
    steps, batch, lr, loss, drops = PUBLISHED[model]
    assert (recipe.model, recipe.scale) == (model, int(scale))
    assert recipe.lr_crop == CROPS[model][recipe.scale - 2]
    assert (recipe.budget.steps, recipe.batch) == (steps, batch)
    assert (recipe.optimizer.lr, recipe.loss) == (lr, loss)
    assert lr * rate(recipe.schedule, 0, steps) == lr
    for drop, after in drops.items():
        close = 50  # a share of four digits meets a step so closely
        assert lr * rate(recipe.schedule, drop + close, steps) == pytest.approx(after)
        assert lr * rate(recipe.schedule, drop - close, steps) > 1.5 * after


def test_msrresnet_ends_at_the_published_rate() -> None:
    recipe = config("msrresnet_x4")
    assert 2e-4 * rate(recipe.schedule, 999_999, 1_000_000) == pytest.approx(1e-7)
    assert recipe.optimizer.betas == (0.9, 0.99)
    for restart in (250_000, 500_000, 750_000):
        assert 2e-4 * rate(recipe.schedule, restart - 1, 1_000_000) == pytest.approx(1e-7)
        assert rate(recipe.schedule, restart, 1_000_000) == 1


@pytest.mark.parametrize("stem", RECIPES)
def test_the_moving_average_is_that_of_the_authors(stem: str) -> None:
    averaged = stem.rsplit("_x", 1)[0] in ("swinir", "swinir_light", "msrresnet")
    assert config(stem).ema == (0.999 if averaged else None)


@pytest.mark.parametrize("model", PUBLISHED)
def test_scales_differ_in_their_crops_alone(model: str) -> None:
    ours = {"scale", "lr_crop"}
    two, three, four = (config(f"{model}_x{scale}").model_dump() for scale in (2, 3, 4))
    if model == "idn":  # a sum over the crop there, a mean here
        for recipe, side in ((two, 57), (three, 43), (four, 41)):
            decay = recipe["optimizer"].pop("weight_decay")
            assert decay == pytest.approx(1e-4 / side**2, rel=0.02)
    for other in (three, four):
        assert {key for key in two if two[key] != other[key]} <= ours


@pytest.mark.parametrize("stem", TRAININGS)
def test_the_trainer_can_run_it(stem: str) -> None:
    """Steps on DIV2K, crops of its patches, and a rate for each parameter of the network."""
    recipe = config(stem)
    plan = plan_steps(
        recipe.budget,
        batch=recipe.batch,
        num_full=DIV2K,
        num_patches=int(DIV2K * recipe.pruning.ratio),
        step_matching=recipe.pruning.step_matching,
    )
    assert plan.steps == plan.full_steps == recipe.budget.steps
    with torch.device("meta"):
        check_crops(recipe, SIZE)
        network, _ = build(recipe.model, recipe.scale, recipe.model_args)
    optimizer = make_optimizer(network, recipe.optimizer, network.last_layer)
    rates = {group["peak_lr"] for group in optimizer.param_groups}
    factors = (1.0, recipe.optimizer.last_layer_lr, recipe.optimizer.bias_lr)
    assert {recipe.optimizer.lr * factor for factor in factors} <= rates
