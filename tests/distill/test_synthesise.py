"""A set is drawn, stopped, gone on with, and refused when it is another or was edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers")

from srprune.core.artifact import read_table
from srprune.core.config import ExtractConfig
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    InputError,
    MissingArtifact,
    Stopped,
)
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.distill import guards
from srprune.distill.config import SynthesiseConfig
from srprune.distill.provenance import IMAGES, TABLE, DistilledSet, Sample, check_folder
from srprune.images.decode import content_of
from srprune.stages.distill.synthesise import JOURNAL, SHEET, synthesise
from srprune.stages.extract import ImageSource, extract, open_hr
from tests.conftest import small_images
from tests.distill.untrained import SIZE, make_generator, make_workspace

CPU = torch.device("cpu")


def draw(workspace: Workspace, *, batch: int = 4, seed: int = 0, each: int = 3, **more: Any):
    settings = {"guidance": 2.0, "sampling_steps": 4} | more.pop("settings", {})
    config = SynthesiseConfig(per_category=each, batch=batch, seed=seed, **settings)
    return synthesise(workspace, more.pop("generator", "dit"), config, device=CPU, **more)


def after(count: int):
    """A question that is answered with yes when it was asked so often."""
    asked = iter(range(1000))
    return lambda: next(asked) >= count


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / IMAGES).iterdir())}


def columns(folder: Path) -> dict[str, list[Any]]:
    return {k: v.tolist() for k, v in read_table(folder / TABLE, "DistilledSet")[1].items()}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    draw(make_workspace(folder), name="whole")
    return folder


@pytest.fixture
def workspace(made_once: Path, tmp_path: Path) -> Workspace:
    """With the set ``whole``."""
    return Workspace(shutil.copytree(made_once / "workspace", tmp_path / "workspace"))


def test_a_set_is_a_workspace_of_images_that_tell_their_origin(workspace: Workspace) -> None:
    folder = workspace.distilled("whole")
    distilled = check_folder(folder)
    assert sorted(files(folder))[:4] == [
        "00000_c0.png",
        "00001_c1.png",
        "00002_c2.png",
        "00003_c0.png",
    ]
    assert len(distilled) == 9
    assert distilled.categories.tolist() == [0, 1, 2] * 3
    assert distilled.header.params == {
        "ratio": None,
        "per_category": 3,
        "guidance": 2.0,
        "sampling_steps": 4,
        "seed": 0,
        "size": SIZE,
        "categories": 3,
        "counts": [3, 3, 3],
        "reject_copies": False,
        "rejected": {},
    }
    index = PatchIndex.read(Workspace(folder).patches)
    assert (index.size, index.stride, len(index)) == (SIZE, SIZE, 9)
    assert list(index.contents.values()) == [sample.image for sample in distilled.samples]
    store = open_hr(Workspace(folder), index)
    for place, sample in enumerate(distilled.samples):
        with Image.open(folder / IMAGES / sample.image) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIZE, SIZE))
            pixels = np.asarray(image)
        assert np.array_equal(store.image(place), pixels)
        assert content_of(pixels) == sample.content
    assert len({sample.content for sample in distilled.samples}) == 9
    assert (folder / SHEET).is_file()
    assert not (folder / JOURNAL).exists()
    parents = distilled.header.parents
    assert parents.keys() == {"patches", "coreset", "groups", "generator"}
    assert parents["patches"] == PatchIndex.read(workspace.patches).fingerprint


def test_the_nearest_patch_is_one_of_the_generators_own(workspace: Workspace) -> None:
    index = PatchIndex.read(workspace.patches)
    store = open_hr(workspace, index)
    for sample in DistilledSet.read(workspace.distilled("whole")).samples:
        assert sample.patch_id % 2 == 0  # the core-set
        with Image.open(workspace.distilled("whole") / IMAGES / sample.image) as image:
            pixels = np.asarray(image)[:, :: -1 if sample.mirrored else 1]
        i = sample.patch_id
        patch = store.crop(index.image_N[i], index.top_N[i], index.left_N[i], SIZE)
        mse = ((pixels.astype(float) - patch) ** 2).mean()
        assert sample.psnr_db == pytest.approx(10 * np.log10(255**2 / mse))
        assert sample.thumb_id is not None and sample.thumb_id % 2 == 0
        assert sample.highest_correlation == sample.thumb_correlation >= sample.correlation


@pytest.mark.parametrize("stops", [(0,), (1,), (1, 0, 1)])
def test_a_stopped_set_goes_on_and_ends_with_the_same_bytes(
    workspace: Workspace, stops: tuple[int, ...]
) -> None:
    done = 0
    for count in stops:
        done = min(done + 4 * count, 9)
        with pytest.raises(Stopped, match=rf"^stopped with {done} of 9 images in .*/broken\. The"):
            draw(workspace, name="broken", stopping=after(count))
        assert not (workspace.distilled("broken") / TABLE).exists()
    distilled = draw(workspace, name="broken")
    whole, broken = workspace.distilled("whole"), workspace.distilled("broken")
    assert files(broken) == files(whole)
    assert columns(broken) == columns(whole)
    assert distilled.fingerprint == DistilledSet.read(whole).fingerprint
    indices = [PatchIndex.read(Workspace(folder).patches) for folder in (whole, broken)]
    assert indices[0].fingerprint == indices[1].fingerprint


def test_the_batch_changes_no_image_but_for_rounding(workspace: Workspace) -> None:
    draw(workspace, name="single", batch=1)
    whole, single = workspace.distilled("whole"), workspace.distilled("single")
    assert files(single).keys() == files(whole).keys()
    for name in files(whole):
        one, other = (np.asarray(Image.open(f / IMAGES / name), int) for f in (whole, single))
        assert np.abs(one - other).max() <= 1
        assert (one != other).mean() < 0.01


def test_more_images_begin_with_the_same_ones(workspace: Workspace) -> None:
    draw(workspace, name="more", each=4, batch=1)
    draw(workspace, name="few", each=1, batch=1)
    few, more = files(workspace.distilled("few")), files(workspace.distilled("more"))
    assert few.items() <= more.items()
    assert len(set(more.values())) == 12


def test_blank_images_are_replaced(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = workspace.distilled("whole")
    spreads = [float(np.asarray(Image.open(p).convert("L")).std()) for p in
               (whole / IMAGES / name for name in files(whole))]  # fmt: skip
    monkeypatch.setattr(guards, "CONSTANT", float(np.median(spreads)))
    with pytest.raises(Stopped):
        draw(workspace, name="strict", stopping=after(3))
    distilled = draw(workspace, name="strict")
    again = draw(workspace, name="strict_again", batch=1)
    rejected = distilled.header.params["rejected"]
    assert rejected.keys() == {"constant"}
    assert rejected["constant"] >= 4
    assert again.header.params["rejected"] == rejected
    assert [s[:3] for s in again.samples] == [s[:3] for s in distilled.samples]
    assert distilled.categories.tolist() == [0, 1, 2] * 3
    numbers = {(s.category, s.number) for s in distilled.samples}
    assert max(number for _, number in numbers) > 2
    kept = DistilledSet.read(whole).samples
    for sample in distilled.samples:  # the same image, wherever it stands
        twin = [s for s in kept if (s.category, s.number) == (sample.category, sample.number)]
        assert all(
            np.abs(
                np.asarray(Image.open(whole / IMAGES / s.image), int)
                - np.asarray(Image.open(workspace.distilled("strict") / IMAGES / sample.image), int)
            ).max()
            <= 1
            for s in twin
        )


def test_near_copies_are_named_and_rejected_on_demand(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    psnr = [sample.psnr_db for sample in DistilledSet.read(workspace.distilled("whole")).samples]
    monkeypatch.setattr(guards, "COPY_CORRELATION", -1.0)
    monkeypatch.setattr(guards, "COPY_PSNR", float(np.median(psnr)))
    named = draw(workspace, name="named")
    assert len(named.near_copies) == 5
    assert named.header.params["rejected"] == {}
    without = draw(workspace, name="without", settings={"reject_copies": True})
    assert without.near_copies == []
    assert without.header.params["rejected"]["near-copy"] >= 5
    assert max(sample.psnr_db for sample in without.samples) < np.median(psnr)


def test_a_generator_that_gives_no_numbers_is_given_up(workspace: Workspace) -> None:
    make_generator(workspace, "wild", gain=1e20)
    with pytest.raises(InputError) as caught:
        draw(workspace, generator="wild", each=1)
    assert str(caught.value) == (
        "category 0 gave 0 of 1 images in 20 tries (20 not finite). Ask for less guidance, or "
        "train the generator anew with a lower optimizer.lr. That makes another set: add "
        "--restart, or another --name; with study, --edited."
    )
    assert not (workspace.distilled("wild_n3__seed0") / IMAGES).exists()


def test_a_whole_set_is_returned_as_it_is(workspace: Workspace) -> None:
    before = (workspace.distilled("whole") / TABLE).read_bytes()
    distilled = draw(workspace, name="whole", batch=2)
    assert (workspace.distilled("whole") / TABLE).read_bytes() == before
    assert distilled == DistilledSet.read(workspace.distilled("whole"))


def test_a_set_of_other_settings_is_refused_until_restarted(workspace: Workspace) -> None:
    before = files(workspace.distilled("whole"))
    with pytest.raises(ArtifactMismatch, match=r"\(seed 0 there, 1 asked for\)\. Choose another"):
        draw(workspace, name="whole", seed=1)
    make_generator(workspace, "other", seed=1)
    with pytest.raises(ArtifactMismatch, match=r"\(parents\.generator '\w+' there, '\w+' asked"):
        draw(workspace, name="whole", generator="other")
    with pytest.raises(Stopped):
        draw(workspace, name="begun", stopping=after(1))
    with pytest.raises(ArtifactMismatch, match=r"\(guidance 2\.0 there, 3\.0 asked for\)"):
        draw(workspace, name="begun", settings={"guidance": 3.0})
    assert files(workspace.distilled("whole")) == before
    draw(workspace, name="whole", seed=1, restart=True)
    assert not set(before.values()) & set(files(workspace.distilled("whole")).values())
    check_folder(workspace.distilled("whole"))


def test_restart_keeps_what_others_put_there(workspace: Workspace) -> None:
    folder, before = workspace.distilled("whole"), files(workspace.distilled("whole"))
    (folder / "runs").mkdir()
    (folder / "runs" / "note.txt").write_text("mine")
    (folder / IMAGES / "mine.png").write_bytes(before["00000_c0.png"])
    (folder / IMAGES / "note.txt").write_text("mine, too")
    for restart in (False, True):
        with pytest.raises(ArtifactError, match=r"mine\.png was not synthesised.* of their own\.$"):
            draw(workspace, name="whole", restart=restart)
    assert files(folder).items() > before.items()
    assert (folder / TABLE).exists()
    (folder / IMAGES / "mine.png").unlink()
    (folder / IMAGES / "00001_c1.png").write_bytes(b"edited")
    draw(workspace, name="whole", restart=True)
    assert (folder / IMAGES / "note.txt").read_text() == "mine, too"
    (folder / IMAGES / "note.txt").unlink()
    assert files(folder) == before
    assert (folder / "runs" / "note.txt").read_text() == "mine"


def test_an_image_that_was_added_meanwhile_is_refused_before_more_are_drawn(
    workspace: Workspace,
) -> None:
    with pytest.raises(Stopped):
        draw(workspace, name="begun", stopping=after(1))
    images = workspace.distilled("begun") / IMAGES
    shutil.copy(images / "00000_c0.png", images / "mine.png")
    # as a kill leaves it between an image and the journal
    shutil.copy(images / "00000_c0.png", images / "00004_c1.png")
    with pytest.raises(ArtifactError, match=r"mine\.png was not synthesised.* is 1\. Keep"):
        draw(workspace, name="begun")
    assert len(files(images.parent)) == 6
    (images / "mine.png").unlink()
    draw(workspace, name="begun")
    assert files(images.parent) == files(workspace.distilled("whole"))


def test_a_set_that_was_edited_meanwhile_is_refused(workspace: Workspace) -> None:
    with pytest.raises(Stopped):
        draw(workspace, name="begun", stopping=after(1))
    (workspace.distilled("begun") / IMAGES / "00001_c1.png").unlink()
    with pytest.raises(ArtifactError, match=r"00001_c1\.png is not there\. Run .* --restart"):
        draw(workspace, name="begun")


def image(**changes: Any) -> str:
    """A line of a journal, of an image that is not there."""
    sample = Sample("00000_c0.png", 0, 0, "c0", 5, False, 0.25, 10.0, False, 7, True, 0.5)
    return json.dumps({"seconds": 1, "drawn": [{**sample._asdict(), **changes}]})


@pytest.mark.parametrize(
    "line",
    [
        '{"seconds": 1}',
        '{"seconds": 1, "drawn": [{"category": 9, "number": 0, "why": "black"}]}',
        '{"seconds": 1, "drawn": [{"category": -1, "number": 0, "why": "black"}]}',
        '{"seconds": 1, "drawn": [{"category": 0, "number": 1, "why": "black"}]}',
        '{"seconds": 1, "drawn": [{"category": 0, "number": 0, "why": null}]}',
        '{"seconds": NaN, "drawn": []}',
        '{"seconds": 1, "drawn": [{"category": 0, "number": 0}]}',
        "[]",
        image(image=None),
        image(image="../00000_c0.png"),
        image(mirrored=0),
        image(patch_id=2**63),
        image(content=None),
        image(thumb_id=None),
        image(thumb_id=-1),
    ],
)
def test_a_journal_of_nonsense(workspace: Workspace, line: str) -> None:
    with pytest.raises(Stopped):
        draw(workspace, name="begun", stopping=after(0))
    with (workspace.distilled("begun") / JOURNAL).open("a") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(ArtifactError, match=r"drawn\.jsonl is damaged\. Pass --restart"):
        draw(workspace, name="begun")


def test_a_generator_without_room_names_no_batch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(InputError, match=r"The generator itself has no room: choose another --dev"):
        draw(workspace, name="large")


def test_images_of_unknown_origin(workspace: Workspace) -> None:
    (workspace.distilled("whole") / TABLE).unlink()
    with pytest.raises(ArtifactError, match=r"has no images\.parquet beside it, so nobody knows"):
        draw(workspace, name="whole")


def test_what_the_generator_was_trained_on_must_be_there(workspace: Workspace) -> None:
    workspace.groups("seven").rename(workspace.groups("renamed"))
    draw(workspace, each=1)
    workspace.groups("renamed").unlink()
    with pytest.raises(MissingArtifact, match=r"groups no longer holds what the generator"):
        draw(workspace, each=2)


def test_a_generator_of_other_patches(workspace: Workspace, tmp_path: Path) -> None:
    images = small_images(tmp_path / "images")
    (images / "a.png").unlink()
    extract(ImageSource.find(str(images)), ExtractConfig(size=SIZE, stride=SIZE), workspace)
    with pytest.raises(ArtifactMismatch, match=r"was made from patches \w+, but \w+ is at hand"):
        draw(workspace)
    assert not workspace.distilled("dit_n9__seed0").exists()
