"""What every scoring method of the table must keep to; a new one needs no new test here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from srprune.core.config import ExtractConfig, TrainConfig
from srprune.core.errors import InputError, MissingArtifact, UnknownName
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.scoring import NO_MODEL, RECONSTRUCTION, SCORERS
from srprune.stages.extract import ImageSource, extract, read_index
from srprune.stages.fit import fit
from srprune.stages.pretrain import plan_pretraining
from srprune.stages.score import Options, score
from tests.conftest import small_images

every_method = pytest.mark.parametrize("method", list(SCORERS))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patches, and two scoring models of a few steps; do not write into it."""
    folder = tmp_path_factory.mktemp("scorers")
    workspace = Workspace(folder / "workspace")
    source = ImageSource.find(str(small_images(folder / "images")))
    extract(source, ExtractConfig(size=48, stride=24), workspace)
    for name, steps in (("srcnn_x2", 4), ("weak", 1)):
        config = TrainConfig(
            model="srcnn", model_args={"init": "he"}, budget={"steps": steps}, batch=2, lr_crop=18
        )
        fit(plan_pretraining(config, workspace, name=name), device=torch.device("cpu"))
    return workspace.root


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Workspace:
    """A copy of its own."""
    return Workspace(shutil.copytree(prepared, tmp_path / "workspace"))


def models(method: str) -> list[str]:
    """As many scoring models as a method takes at least."""
    return ["weak", "srcnn_x2"][2 - RECONSTRUCTION.get(method, NO_MODEL).least :]


def fresh_scores(workspace: Workspace, method: str, batch: int = 4) -> ScoreTable:
    """Scores that no earlier call has left behind."""
    shutil.rmtree(workspace.root / "scores", ignore_errors=True)
    return score(workspace, method=method, scorers=models(method), batch=batch, device="cpu")[1]


@every_method
def test_scores_are_one_finite_number_a_patch(workspace: Workspace, method: str) -> None:
    name, table = score(workspace, method=method, scorers=models(method), device="cpu")
    scores = table.scores_N
    assert scores.dtype == np.float64
    assert scores.shape == (len(read_index(workspace)),)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > len(scores) / 2  # a score that ranks
    assert table.method == method
    assert name.startswith(method)
    again = ScoreTable.read(workspace.scores(name), patches=read_index(workspace).fingerprint)
    assert np.array_equal(again.scores_N, scores)
    assert [path.suffix for path in (workspace.root / "scores").iterdir()] == [".parquet"]


@every_method
def test_scores_are_the_same_again(workspace: Workspace, method: str) -> None:
    first = fresh_scores(workspace, method)
    again = fresh_scores(workspace, method)
    assert np.array_equal(first.scores_N, again.scores_N)
    assert first.fingerprint == again.fingerprint


@every_method
def test_the_batch_does_not_change_the_scores(workspace: Workspace, method: str) -> None:
    alone = fresh_scores(workspace, method, batch=1).scores_N
    together = fresh_scores(workspace, method, batch=7).scores_N  # the last batch is not full
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@every_method
def test_a_finished_table_is_returned_as_it_is(workspace: Workspace, method: str) -> None:
    name, first = score(workspace, method=method, scorers=models(method), device="cpu")
    before = workspace.scores(name).stat()

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        raise AssertionError(f"{label} again")

    same_name, again = score(
        workspace, method=method, scorers=models(method), device="cpu", progress=progress
    )
    assert same_name == name
    assert np.array_equal(again.scores_N, first.scores_N)
    after = workspace.scores(name).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@every_method
def test_without_patches_the_command_that_makes_them_is_named(tmp_path: Path, method: str) -> None:
    with pytest.raises(MissingArtifact, match=r"Run 'srprune (extract|pretrain)"):
        score(Workspace(tmp_path / "nothing"), method=method, scorers=models(method), device="cpu")


def test_unknown_method_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean: sobel") as caught:
        score(Workspace(tmp_path), method="sobbel", device="cpu")
    assert all(name in str(caught.value) for name in SCORERS)


@pytest.mark.parametrize("method", [m for m in SCORERS if RECONSTRUCTION.get(m, NO_MODEL).most])
def test_a_wrong_number_of_models_is_one_clear_line(workspace: Workspace, method: str) -> None:
    takes = RECONSTRUCTION[method]
    wrong = 1 if takes.least == 2 else 3
    with pytest.raises(InputError, match=f"{method} takes {takes}.*given {wrong} times"):
        score(workspace, method=method, scorers=["srcnn_x2"] * wrong, device="cpu")


@pytest.mark.parametrize("method", [m for m in SCORERS if m not in RECONSTRUCTION])
def test_other_methods_take_no_model_and_make_no_maps(workspace: Workspace, method: str) -> None:
    with pytest.raises(InputError, match=f"{method} takes no scoring model"):
        score(workspace, method=method, scorers=["srcnn_x2"], device="cpu")
    with pytest.raises(InputError, match=f"since {method} makes no reconstruction"):
        score(workspace, method=method, options=Options(maps=True), device="cpu")
