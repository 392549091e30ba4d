"""The demo, made small: the whole chain in one command, and a second call that trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

SMALL = (
    "extract={size: 192, stride: 192}",
    "pretrain={config: srcnn.yaml, set: {budget.steps: 4, batch: 2, validation.every: 4}}",
    "train={config: fsrcnn_x2.yaml, set: {budget.steps: 4, batch: 2, lr_crop: 12, "
    "validation.benchmark: null}}",
    "arms={full: {ratio: 1}, des50: {ratio: 0.5}, random50: {rule: random, ratio: 0.5}}",
)


def test_the_demo_ends_with_its_table_and_a_second_call_trains_nothing(cli, tmp_path, unfinished):
    command = ["run", "demo.yaml", *(word for change in SMALL for word in ("--set", change))]
    said = cli(*command).stdout
    assert "patches of 192 px from 10 images" in said
    assert "scoring model srcnn_x2: 4 steps" in said
    assert "scores mse_x2" in said
    table = said[said.index("Photos") if "Photos" in said else said.index("photos (4 images)") :]
    for arm in ("bicubic", "full", "des50", "random50"):
        assert f"\n{arm} " in table
    workspace = tmp_path / "workspace" / "demo"
    written = [Path(line.split()[-1]) for line in said.splitlines() if line.startswith("written: ")]
    assert [file.name for file in written] == [
        "comparison.md",
        "figures.csv",
        "loss_curve_mse_x2.png",
        "contact_sheet_mse_x2.png",
    ]
    for file in written:
        assert (tmp_path / file).parent == workspace / "reports"
        if file.suffix == ".png":
            with Image.open(tmp_path / file) as image:
                image.load()
                assert image.format == "PNG"
    assert "| des50 |" in (workspace / "reports" / "comparison.md").read_text()
    assert unfinished(tmp_path) == []

    before = stamps(workspace)
    assert len([name for name in before if name.endswith("weights.safetensors")]) == 4
    again = cli(*command).stdout
    assert stamps(workspace) == before
    assert again[again.index("protocol ") :] == said[said.index("protocol ") :]

    told = cli(*command, "--json")
    facts = json.loads(told.stdout)
    assert "2,081" not in told.stdout and "scores mse_x2" in told.stderr
    assert [arm["name"] for arm in facts["arms"]] == ["bicubic", "full", "des50", "random50"]
    psnr = {arm["name"]: arm["cells"]["photos"]["psnr_y"]["mean"] for arm in facts["arms"]}
    assert f"{psnr['des50']:.2f}" in said
    assert facts["written"] == [str(file) for file in written]


def stamps(workspace: Path) -> dict[str, int]:
    """When each artifact was written; reports are written anew each time."""
    return {
        path.relative_to(workspace).as_posix(): path.stat().st_mtime_ns
        for path in workspace.rglob("*")
        if path.is_file() and path.parent.name != "reports"
    }


def test_a_faulty_run_config_is_refused_before_any_work(refused, tmp_path):
    said = refused("run", "demo.yaml", "--set", "arms={full: {ratio: 1}, odd: {rule: desc}}")
    assert said.startswith("unknown rule 'desc'. Did you mean: des?")
    said = refused("run", "demo.yaml", "--set", "train={config: fsrcnn_x2.yaml, set: {bacth: 2}}")
    assert "unknown key 'bacth'. Did you mean: batch?" in said
    for stage in ("pretrain", "train"):
        said = refused("run", "demo.yaml", "--set", f"{stage}.set.lr_crop=99")
        assert said.startswith(f"{stage}: lr_crop is 99 px, but the patches have")
    said = refused("run", "demo.yaml", "--set", "evaluate.benchmarks=[set5]")
    assert said.startswith("benchmark Set5 was not found")
    assert list(tmp_path.iterdir()) == []
