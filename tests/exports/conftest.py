"""A workspace with an index, scores and core-sets over images with awkward names."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract

NAMES = ("a b.png", "a_b.png", "folder/x2.v1.png", "img10.png", "img2.png", "Ünter.png")
SIZE, STRIDE = 48, 24


def picture(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.sin(y / (3 + seed)) * np.cos(x / 4.5)
    noise = rng.normal(0, 9, (height, width, 3)) * (x / width)[:, :, None]
    return np.clip(120 + 70 * waves[:, :, None] + noise, 0, 255).astype(np.uint8)


def write_images(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(72 + 12 * (seed % 3) + seed, 84, seed)).save(path)
    return folder


def write_coreset(
    workspace: Workspace, name: str, ids: np.ndarray, weights: np.ndarray | None = None
) -> CoreSet:
    scores = ScoreTable.read(workspace.scores("mse_x2"))
    params = {
        "rule": "des",
        "ratio": 0.5,
        "offset": 0.05,
        "seed": None,
        "scores": "mse_x2",
        "num_patches": len(scores.scores_N),
        "num_skipped": 2,
    }
    parents = {"patches": scores.header.parents["patches"], "scores": scores.fingerprint}
    path = workspace.coreset(name)
    return CoreSet.write(path, ids, parents=parents, params=params, made={}, weights=weights)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``images`` beside a ``workspace`` with the core-sets ``half`` and ``weighted``."""
    root = tmp_path_factory.mktemp("exports")
    source = ImageSource.find(str(write_images(root / "images")))
    workspace = Workspace(root / "workspace")
    index = extract(source, ExtractConfig(size=SIZE, stride=STRIDE), workspace)
    rng = np.random.default_rng(5)
    ScoreTable.write(
        workspace.scores("mse_x2"),
        rng.random(len(index)),
        parents={"patches": index.fingerprint},
        params={"method": "mse"},
        made={},
    )
    ids = np.sort(rng.choice(len(index), len(index) // 2, replace=False))
    write_coreset(workspace, "half", ids)
    weights = rng.uniform(0.5, 1.5, len(ids))
    write_coreset(workspace, "weighted", ids, weights / weights.mean())
    return root


@pytest.fixture
def place(once: Path, tmp_path: Path) -> Path:
    """A copy of that in ``tmp_path``."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def workspace(place: Path) -> Workspace:
    return Workspace(place / "workspace")


@pytest.fixture(scope="session")
def consumers() -> ModuleType:
    """The readers of ``consumers.py``; tests are no package, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location(
        "consumers", Path(__file__).parent / "consumers.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
