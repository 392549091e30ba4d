"""A supernet from its training to images restored tile by tile, as a user runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srprune.core.weights import read_weights_header
from tests.processes import Server, launch

RUN = "super"
TRAIN = [
    *("train", "--config", "wbsr_msrresnet_x2.yaml", "--name", RUN),
    *("--set", "model_args.widths=[4, 8]", "--set", "model_args.depths=[1, 2]"),
    *("--set", "batch=4", "--set", "lr_crop=12", "--set", "budget.steps=6"),
    *("--set", "balance.values=4000", "--set", "balance.components=3"),
    *("--set", "sampling.classes=4", "--set", "validation.benchmark=null"),
]


@pytest.fixture(scope="module")
def trained(
    prepared_once: Path, server: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A workspace with a supernet, trained with everything that WBSR asks for."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared_once / "workspace", folder / "workspace")
    child = launch(server, folder, *TRAIN)
    said, error = child.communicate(timeout=300)
    assert child.returncode == 0, error
    assert "hes: 4 classes of difficulty, drawn by weight from step 5 on" in said
    return folder / "workspace"


@pytest.fixture
def supernet(trained: Path, tmp_path: Path) -> Path:
    """Its run, where commands look for it."""
    (tmp_path / "workspace").symlink_to(trained)
    return trained / "runs" / RUN


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """One image, half flat and half noise, so that its tiles differ."""
    pixels = np.full((128, 160, 3), 128, dtype=np.uint8)
    noise = np.random.default_rng(1).integers(0, 255, (128, 80, 3), dtype=np.uint8)
    pixels[:, 80:] = noise
    (tmp_path / "halves").mkdir()
    Image.fromarray(pixels).save(tmp_path / "halves" / "half.png")
    return tmp_path / "halves"


def test_a_trained_supernet_is_measured_within_its_budget(
    supernet: Path, benchmark: Path, cli: Any, tmp_path: Path
) -> None:
    ways: list[Any] = ["eval", RUN, "--benchmark", benchmark, "--tile", 32, "--json"]

    def routing(*more: Any) -> Any:
        return json.loads(cli(*ways, *more).stdout)[0]["routing"]

    # both widths and depths: the cheapest subnet takes about a third of the dearest
    half = routing("--flops-budget", 0.6, "--save-maps", "maps")
    (image,) = half["images"]
    assert image["flops"] <= 0.6 * image["flops_full"]
    assert half["subnets"][0] == "w4_d1" and half["subnets"][-1] == "w8_d2"
    left = [m for (_, x), m in zip(image["corners"], image["subnets"], strict=True) if x < 16]
    right = [m for (_, x), m in zip(image["corners"], image["subnets"], strict=True) if x >= 44]
    assert max(left) < min(right)  # noise gets more network than what is flat
    with Image.open(tmp_path / "maps" / "halves" / "half.png") as picture:
        assert picture.format == "PNG"
    whole = routing("--flops-budget", 1)
    assert set(whole["images"][0]["subnets"]) == {3}
    own = routing("--router", "gradient")  # no budget: the router's own choice
    assert own["flops_budget"] is None and len(set(own["images"][0]["subnets"])) > 1

    said = cli(*ways[:-1], "--flops-budget", 0.6).stdout
    assert "router gradient, budget 60%: " in said and "of the largest subnet's" in said
    names = sorted(path.name for path in (tmp_path / "workspace" / "results").glob("super*.json"))
    assert "super_x2_gradient0.6_tile32__halves__rgb8_1.routing.json" in names


def test_the_largest_subnet_alone_is_the_run_itself(
    supernet: Path, benchmark: Path, cli: Any
) -> None:
    def psnr(*arguments: Any) -> float:
        said = cli("eval", *arguments, "--benchmark", benchmark, "--json").stdout
        return float(json.loads(said)[0]["means"]["halves"]["psnr_y"])

    whole = psnr(RUN)
    one_tile = psnr(RUN, "--tile", 96, "--flops-budget", 1)
    cli("subnet", RUN, "--width", 8, "--depth", 2, "--name", "largest")
    assert one_tile == pytest.approx(whole, abs=1e-4)
    assert psnr("largest") == pytest.approx(whole, abs=1e-4)


def test_tiles_are_those_of_the_router_unless_others_are_asked_for(
    supernet: Path, benchmark: Path, cli: Any, tmp_path: Path
) -> None:
    def done(*more: Any) -> tuple[Any, str]:
        ran = cli("eval", RUN, "--benchmark", benchmark, "--router", "gradient", "--json", *more)
        return json.loads(ran.stdout)[0], ran.stderr

    table, said = done()  # fitted on patches of 24 px at LR, where x2 has tiles of 64
    assert table["header"]["params"]["inference"]["tile"] == 24
    assert max(table["routing"]["images"][0]["tile"]) <= 24
    assert "note: " not in said
    names = [path.name for path in (tmp_path / "workspace" / "results").glob("super*.parquet")]
    assert "super_x2_gradient__halves__rgb8_1.parquet" in names
    assert "note: " not in done("--tile", 24)[1]
    table, said = done("--tile", 32)
    assert table["header"]["params"]["inference"]["tile"] == 32
    assert "note: the router gradient of super was fitted on tiles of 24 px at LR, and" in said


def test_the_class_module_is_part_of_what_is_counted(
    supernet: Path, benchmark: Path, cli: Any, refused: Callable[..., str]
) -> None:
    cli("route", RUN, "--router", "class_module", "--tile", 24, "--num-tiles", 40, "--steps", 2)
    way = ("eval", RUN, "--benchmark", benchmark, "--router", "class_module")
    told = json.loads(cli(*way, "--json").stdout)[0]
    assert told["header"]["params"]["router_flops"] == 4_276_416  # 36 squares of 4 px a side
    (image,) = told["routing"]["images"]
    high, wide = image["tile"]
    own = (high // 4) * (wide // 4) * 2 * (3 * 16 * 128 + 3 * 128 * 128 + 128 * 32)
    assert image["flops"] > len(image["subnets"]) * own
    said = refused(*way, "--flops-budget", 0.6)  # which the smallest subnet alone would meet
    assert "the smallest subnet and the router already take" in said


def test_images_of_a_router_are_told_from_training_images(
    supernet: Path, benchmark: Path, cli: Any, refused: Callable[..., str]
) -> None:
    fitted = ("route", RUN, "--router", "edge_psnr", "--tile", 24, "--validation", benchmark)
    cli(*fitted)
    said = refused("eval", RUN, "--benchmark", benchmark, "--router", "edge_psnr")
    (supernet / "routers" / "edge_psnr.json").unlink()
    assert "half.png of halves is also an image that the router of super was fitted on" in said
    assert "training" not in said


def test_weights_that_a_run_did_not_end_with_have_no_router(
    supernet: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    shutil.copy(supernet / "weights.safetensors", tmp_path / "mine.safetensors")
    said = refused("eval", "mine.safetensors", "--benchmark", "photos", "--flops-budget", 0.6)
    assert "mine.safetensors has no routers: they are fitted for the weights.safetensors" in said
    assert "srprune route" not in said


def test_the_loss_and_the_classes_are_kept_with_the_run(supernet: Path, cli: Any) -> None:
    header = read_weights_header(supernet / "weights.safetensors")
    assert header.params["config"]["subnets"] == {"draw": "sandwich", "between": 1}
    assert header.info["sigma"] > 0
    assert (supernet / "mixture.json").is_file()
    assert (supernet / "routers" / "gradient.json").is_file()
    name = "hes_lr_x2_K4__full"
    said = cli("report", "--groups", name, "--json").stdout
    figures = json.loads(said)["figures"]
    assert [Path(each).name for each in figures if "groups_" in each] == [
        f"groups_{name}.png",
        f"groups_{name}.pdf",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--flops-budget", "0.01"], "the smallest subnet already takes"),
        (["--flops-budget", "0.6", "--tile", "4"], "the tile is 4 LR px, but"),
        (["--flops-budget", "0.6", "--tile", "32", "--overlap", "20"], "the overlap is 20"),
        (["--router", "edge_psnr"], "srprune route super --router edge_psnr"),
        (["--router", "edges"], "unknown router 'edges'"),
        (["--router", "gradient", "--self-ensemble"], "go without --self-ensemble"),
        (["--save-maps", "maps"], "--save-maps needs --flops-budget or --router"),
        (["--overlap", "3"], "need --tile"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    supernet: Path, refused: Callable[..., str], arguments: list[str], words: str
) -> None:
    assert words in refused("eval", RUN, "--benchmark", "photos", *arguments)


def test_training_says_where_no_router_could_be_fitted(prepared: Path, cli: Any) -> None:
    few = ("sampling=null", "pruning={rule: random, ratio: 0.07, offset: 0}", "batch=2")
    said = cli(*TRAIN, *(word for each in few for word in ("--set", each))).stderr
    assert "note: no router gradient could be fitted to these patches" in said
    assert f"'srprune route {RUN} --router gradient' says why" in said


def test_a_plain_network_is_told_from_a_supernet(prepared: Path, refused: Any, tiny: Any) -> None:
    said = refused("eval", tiny.run, "--benchmark", "photos", "--flops-budget", "0.5")
    assert "is no supernet" in said
