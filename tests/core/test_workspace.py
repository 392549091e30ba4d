"""The workspace: where everything stands, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.core.errors import InputError, MissingArtifact
from srprune.core.workspace import VARIABLE, Workspace, coreset_name, short, the_one


def test_the_folder_given_comes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    assert Workspace.resolve(Path("here")).root == Path("here")
    assert Workspace.resolve(None).root == Path("/elsewhere")
    for unset in ("", None):
        monkeypatch.setenv(VARIABLE, unset) if unset is not None else monkeypatch.delenv(VARIABLE)
        assert Workspace.resolve(None).root == Path("workspace")


def test_asking_for_a_path_makes_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    paths = [workspace.patches, workspace.hr_pixels, workspace.lr_pixels(2), workspace.reports]
    paths += [workspace.scores("a"), workspace.coreset("a"), workspace.run("a")]
    paths += [workspace.scorer("a"), workspace.results("a")]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(workspace.root) for path in paths)
    assert workspace.score_tables() == workspace.runs() == workspace.scorers() == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_finished_is_listed_by_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for file in (
        workspace.scores("b"),
        workspace.scores("a"),
        workspace.run("y") / "weights.safetensors",
        workspace.run("x") / "weights.safetensors",
        workspace.run("unfinished") / "checkpoint.pt",
        workspace.scorer("srcnn_x2") / "weights.safetensors",
        workspace.scores("a").with_name(".c.parquet.1.part"),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    assert workspace.score_tables() == [workspace.scores("a"), workspace.scores("b")]
    assert workspace.runs() == [workspace.run("x"), workspace.run("y")]
    assert workspace.scorers() == [workspace.scorer("srcnn_x2")]


def test_the_one_is_the_only_one() -> None:
    arguments = ("score table", "--scores", "srprune score")
    a, b = Path("s/a.parquet"), Path("s/b.parquet")
    assert the_one([a], *arguments) == a
    with pytest.raises(MissingArtifact, match=r"no score table yet. Run 'srprune score' first"):
        the_one([], *arguments)
    with pytest.raises(InputError, match=r"2 score tables: a, b. Choose one: --scores NAME"):
        the_one([a, b], *arguments)
    with pytest.raises(InputError, match=r": run_a\.1, run_b\. "):
        the_one([Path("run_a.1"), Path("run_b")], "run", "--run", "x")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.5, "0.50"), (1, "1.00"), (0.05, "0.05"), (0.125, "0.125"), (0.001, "0.001")],
)
def test_shares_in_names(share: float, text: str) -> None:
    assert short(share) == text


def test_names_of_coresets() -> None:
    assert coreset_name("des", 0.5, 0.05, "mse_x2", 0) == "des_r0.50_o0.05__mse_x2"
    assert coreset_name("asc", 1.0, 0.0, "sobel", 3) == "asc_r1.00__sobel"
    assert coreset_name("random", 0.5, 0.0, None, 7) == "random_r0.50__seed7"
