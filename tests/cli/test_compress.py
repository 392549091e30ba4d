"""The whole pipeline over compressed pixels makes what it makes over plain ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from srprune.core.artifact import read_header

ZST = "pixels/hr.u8.zst"


def weights(workspace: Path, run: str) -> bytes:
    return (workspace / "runs" / run / "weights.safetensors").read_bytes()


def test_scores_and_weights_keep_their_fingerprints(cli, prepared, tiny):
    table = prepared / "scores/mse_x2.parquet"
    plain = [read_header(file).fingerprint for file in (prepared / "patches.parquet", table)]
    cli(*tiny.extract, "--compress")
    table.unlink()
    cli("score")
    assert plain == [
        read_header(file).fingerprint for file in (prepared / "patches.parquet", table)
    ]
    assert sorted(path.name for path in (prepared / "pixels").glob("*.zst")) == [
        "hr.u8.zst", "lr_x2.u8.zst"]  # fmt: skip
    assert not list((prepared / "pixels").glob("*.u8"))
    for residency in ("host", "disk"):
        cli(*tiny.train, "--set", f"data.residency={residency}", "--name", residency)
        assert tensors_of(weights(prepared, residency)) == tensors_of(weights(prepared, tiny.run))


def tensors_of(file: bytes) -> bytes:
    """The tensors of a safetensors file, without the header that says when they were made."""
    return file[8 + int.from_bytes(file[:8], "little") :]


def test_a_plain_workspace_can_be_compressed(cli, prepared, tiny):
    facts = [
        json.loads(cli(*tiny.extract, "--json", *more).stdout) for more in ([], ["--compress"])
    ]
    assert facts[0] == facts[1]
    assert (prepared / ZST).exists() and not (prepared / "pixels/hr.u8").exists()
    cli("score", "--method", "laplacian")
    cli(*tiny.extract)  # finds what is there
    assert (prepared / ZST).exists() and not (prepared / "pixels/hr.u8").exists()


def test_damage_is_one_line(cli, prepared, tiny, refused):
    cli(*tiny.extract, "--compress")
    with (prepared / ZST).open("r+b") as file:
        file.seek(200)
        file.write(b"damage")
    said = refused("score", "--method", "laplacian")
    assert said == (
        f"the pixels of a.png in workspace/{ZST} are damaged. Delete that file and run "
        "'srprune extract --compress' on the same images again."
    )
    (prepared / ZST).unlink()
    cli(*tiny.extract, "--compress")
    cli("score", "--method", "laplacian")


def test_an_extraction_that_was_killed_goes_on(cli, images, tmp_path, tiny):
    cli(*tiny.extract, "--compress", "-w", "straight")
    job = (*tiny.extract, "--compress", "--workers", "1", "-w", "broken")
    sizes = json.loads((tmp_path / "straight" / f"{ZST}.json").read_text())["sizes"]
    done = cli(*job, status=2, file_limit=sizes[0] + sizes[1] + 100)
    assert "no space left to write broken/pixels/hr.u8.zst" in done.stderr
    journal = (tmp_path / "broken" / f"{ZST}.journal").read_text()
    assert journal.count('"image"') == 2
    cli(*job)
    for name in (ZST, f"{ZST}.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (
            tmp_path / "straight" / name
        ).read_bytes()
