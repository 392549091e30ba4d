"""Configs are found by name, and what is near is offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.core.configs import find_config, known_configs
from srprune.core.errors import MissingArtifact


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_name_is_found_from_any_folder() -> None:
    assert "demo.yaml" in known_configs()
    assert find_config("demo.yaml").read_text().startswith("#")


def test_a_path_and_the_own_folder_come_first() -> None:
    for file in (Path("configs/demo.yaml"), Path("demo.yaml"), Path("other/mine.yaml")):
        file.parent.mkdir(exist_ok=True)
        file.write_text("images: mine\n")
        assert find_config("demo.yaml" if file.name == "demo.yaml" else str(file)) == file
    assert find_config(str(Path("other/mine.yaml").absolute())).is_absolute()


def test_own_configs_are_known() -> None:
    Path("configs").mkdir()
    Path("configs/zzz.yaml").write_text("")
    assert "zzz.yaml" in known_configs() and "demo.yaml" in known_configs()


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(MissingArtifact, match=r"no config dmo\.yaml\. Did you mean: demo\.yaml\?"):
        find_config("dmo.yaml")
    with pytest.raises(MissingArtifact, match=r"no config qqqqq\. Known: .*srcnn\.yaml"):
        find_config("qqqqq")


def test_a_folder_is_no_config() -> None:
    Path("demo.yaml").mkdir()
    assert find_config("demo.yaml").is_file()
