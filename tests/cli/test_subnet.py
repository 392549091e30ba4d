"""``subnet``: networks cut out of a supernet, which are measured as any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from srprune.core.results import EvalTable
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.images.decode import content_of
from srprune.models import MODELS
from srprune.models.build import build, load_weights, save_weights
from srprune.models.foreign import load_foreign
from srprune.models.supernet import Subnet

LEARNED = np.random.default_rng(0).integers(0, 255, (24, 36, 3), dtype=np.uint8)
IMAGES = {content_of(LEARNED): "photo.png"}
PATCHES = "feedfeedfeedfeed"


def write(workspace: Workspace, run: str, model: str) -> Any:
    """A trained run, as train leaves it."""
    torch.manual_seed(1)
    args = {**MODELS.load(model).spec.tiny}
    network, _ = build(model, 2, args)
    params = {"model": model, "model_args": args, "scale": 2, "train_set": "full", "seed": 7}
    save_weights(
        workspace.run(run) / "weights.safetensors",
        network,
        parents={"patches": PATCHES},
        params={**params, "steps": 20, "num_patches": 71},
        made={},
        info={"training_images": IMAGES},
    )
    return network.eval()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def network(workspace: Workspace) -> Any:
    """The supernet of the run ``large``."""
    return write(workspace, "large", "msrresnet_supernet")


def test_a_subnet_becomes_a_run_that_tells_where_it_is_from(cli, network, workspace):
    said = cli("subnet", "large", "--width", "6", "--depth", "1").stdout
    path = workspace.run("large__w6_d1") / "weights.safetensors"
    assert said.startswith("w6_d1: msrresnet, ")
    cut, _, header = load_weights(path)
    parent = read_weights_header(workspace.run("large") / "weights.safetensors")
    assert header.parents == {"supernet": parent.fingerprint, "patches": PATCHES}
    assert header.params == {
        "model": "msrresnet",
        "model_args": {"features": 6, "blocks": 1},
        "scale": 2,
        "train_set": "full",
        "num_patches": 71,
        "steps": 20,
        "seed": 7,
        "subnet": {
            "of": "msrresnet_supernet",
            "model_args": {"widths": [4, 6, 8], "depths": [1, 2]},
            "width": 6,
            "depth": 1,
        },
    }
    assert header.info == {"training_images": IMAGES, "run": "large"}
    x = torch.rand(1, 3, 9, 11)
    network.use(Subnet(6, 1))
    with torch.inference_mode():
        torch.testing.assert_close(cut.eval()(x), network(x), rtol=1e-4, atol=1e-5)


def test_the_same_subnet_is_left_as_it_is(cli, refused, network, workspace):
    command = ("subnet", "large", "--width", "4", "--depth", "2")
    cli(*command)
    path = workspace.run("large__w4_d2") / "weights.safetensors"
    before = path.read_bytes(), path.stat().st_mtime_ns
    cli(*command)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    said = refused("subnet", "large", "--width", "8", "--depth", "2", "--name", "large__w4_d2")
    assert "holds another run (" in said
    assert said.endswith("Choose another --name.")


def test_all_are_a_run_each_cheapest_first(cli, network, workspace):
    facts = json.loads(cli("subnet", "large", "--all", "--json").stdout)
    assert [(each["width"], each["depth"]) for each in facts] == [
        (subnet.width, subnet.depth) for subnet in network.subnets
    ]
    assert [each["flops"] for each in facts] == sorted(each["flops"] for each in facts)
    assert [each["run"] for each in facts] == [f"large__{s.label}" for s in network.subnets]
    for each in facts:
        cut, _, header = load_weights(workspace.run(each["run"]) / "weights.safetensors")
        assert Path(each["weights"]).parts[-2:] == (each["run"], "weights.safetensors")
        assert each["fingerprint"] == header.fingerprint
        assert each["parameters"] == sum(p.numel() for p in cut.parameters())


def test_eval_reads_it_and_the_leak_guard_knows_its_images(cli, refused, network, tmp_path):
    for folder, pixels in (("mine", LEARNED + 1), ("learned", LEARNED)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "one.png")
    cli("subnet", "large", "--width", "6", "--depth", "2", "--name", "small")
    cli("eval", "small", "--benchmark", "mine")
    (path,) = (tmp_path / "workspace" / "results").glob("small*__mine__rgb8_1.parquet")
    found = {(row.model, row.train_set, row.seed) for row in EvalTable.read(path).rows}
    assert found == {("msrresnet", "full", 7)}
    said = refused("eval", "small", "--benchmark", "learned")
    assert "is also a training image of small (photo.png, the same pixels)" in said


def test_other_programs_read_it(cli, workspace):
    """By its tensors alone; spandrel knows RCAN, whatever its sizes."""
    network = write(workspace, "large", "rcan_supernet")
    cli("subnet", "large", "--width", "6", "--depth", "1")
    path = workspace.run("large__w6_d1") / "weights.safetensors"
    found = load_foreign(path, None)
    assert found.model == "rcan"
    x = torch.rand(1, 3, 8, 9)
    network.use(Subnet(6, 1))
    with torch.inference_mode():
        expected = network(x)
        torch.testing.assert_close(found.network.eval()(x), expected, rtol=1e-4, atol=1e-4)
        spandrel = pytest.importorskip("spandrel")
        theirs = spandrel.ModelLoader(device="cpu").load_from_state_dict(load_file(path))
        torch.testing.assert_close(theirs.model.eval()(x.clone()), expected, rtol=1e-4, atol=1e-4)
    assert theirs.architecture.id == "RCAN"


def test_what_cannot_be_is_one_line(refused, network, workspace):
    write(workspace, "plain", "msrresnet")
    known = "Widths: 4, 6, 8; depths: 1, 2"
    said = refused("subnet", "large", "--width", "5", "--depth", "1")
    assert said == f"msrresnet_supernet has no subnet of width 5 and depth 1. {known}."
    said = refused("subnet", "large", "--width", "4")
    assert said.startswith(f"give --width and --depth, or --all. {known}.")
    said = refused("subnet", "plain", "--all")
    assert "holds a plain msrresnet, but a supernet is wanted." in said
    said = refused("subnet", "lage", "--all")
    assert said.startswith("there is no finished run lage in ")
    assert said.endswith("Runs: large, plain.")
    assert "leave out the others" in refused("subnet", "large", "--all", "--name", "x")
    assert [path.name for path in workspace.runs()] == ["large", "plain"]
