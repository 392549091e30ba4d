"""Configs are found by name, and what is near is offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.core.config import TrainConfig
from srprune.core.configs import STUDIES, find_config, known_configs
from srprune.core.errors import ConfigError, MissingArtifact
from srprune.core.run_config import RunConfig
from srprune.core.yaml_file import load, parse
from srprune.studies.config import StudyConfig


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


READERS = {TrainConfig: "", RunConfig: "", StudyConfig: STUDIES}
KINDS = (
    ("fsrcnn_x2.yaml", TrainConfig, "a training config; give it to 'srprune train --config'"),
    ("demo.yaml", RunConfig, "a run config; give it to 'srprune run'"),
    ("ratio_sweep.yaml", StudyConfig, "a study; give it to 'srprune study'"),
)


@pytest.mark.parametrize(
    ("name", "said", "model"),
    [(name, said, model) for name, own, said in KINDS for model in READERS if model is not own],
)
def test_a_config_of_another_kind_is_named_in_one_line(name, said, model) -> None:
    path = find_config(name, READERS[model])
    with pytest.raises(ConfigError) as caught:
        load(path, model)
    assert str(caught.value) == f"{path} is {said}."


def test_a_key_of_another_kind_alone_makes_no_other_kind() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model'"):
        parse("images: a\nmodel: b\narms: {}", RunConfig, "a.yaml")
