"""Patches that overlap, and networks that were really trained: random weights hide the rim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.models.build import build
from srprune.models.restorer import NetworkRestorer, restorer_of
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool
from tests.conftest import picture

SIZE, STRIDE = 120, 36


@pytest.fixture(scope="session")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> PatchPool:
    """Two images, 168x192 and 132x156 px, and their 13 windows of 120 px."""
    folder = tmp_path_factory.mktemp("overlapping")
    (folder / "images").mkdir()
    for seed, sides in enumerate(((168, 192), (132, 156))):
        Image.fromarray(picture(*sides, seed)).save(folder / "images" / f"{seed}.png")
    workspace = Workspace(folder / "workspace")
    source = ImageSource.find(str(folder / "images"))
    extract(source, ExtractConfig(size=SIZE, stride=STRIDE), workspace)
    return open_pool(workspace, 2)


def trained(pool: PatchPool, model: str, steps: int, **args: Any) -> NetworkRestorer:
    """A network after some steps on crops of the patches, which it then restores."""
    torch.manual_seed(0)
    network, domain = build(model, pool.scale, args)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    hr = torch.from_numpy(pool.hr_patches(np.arange(len(pool)))).permute(0, 3, 1, 2) / 255
    lr = torch.from_numpy(pool.lr_patches(np.arange(len(pool)))).permute(0, 3, 1, 2) / 255
    side, s = 24, pool.scale
    for _ in range(steps):
        ids = rng.integers(len(pool), size=4)
        y, x = rng.integers(SIZE // s - side, size=2)
        planes = domain.input(lr[ids, :, y : y + side, x : x + side])
        truth = domain.target(hr[ids, :, s * y : s * (y + side), s * x : s * (x + side)])
        loss = (network(planes) - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return restorer_of(model, network, domain, f"{model}{steps}")


@pytest.fixture(scope="session")
def srcnn(overlapping: PatchPool) -> NetworkRestorer:
    """SRCNN 9-1-5 on Y, trained."""
    return trained(overlapping, "srcnn", 80, init="he")


@pytest.fixture(scope="session")
def weak(overlapping: PatchPool) -> NetworkRestorer:
    """The same, after a few steps."""
    return trained(overlapping, "srcnn", 8, init="he")


@pytest.fixture(scope="session")
def fsrcnn_rgb(overlapping: PatchPool) -> NetworkRestorer:
    """FSRCNN on RGB, trained."""
    return trained(overlapping, "fsrcnn", 40, channels="rgb")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")
