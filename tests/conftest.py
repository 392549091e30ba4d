"""Fixtures of all tests: real images, a real command line, the real data where there are any."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``srprune ...`` in ``tmp_path`` as a real process that must exit with ``status``."""

    def run(
        *arguments: object, status: int = 0, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SRPRUNE_")},
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "srprune", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if status == 2:
            assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images, where ``SRPRUNE_DATA`` names one."""
    folder = os.environ.get("SRPRUNE_DATA")
    if not folder or not Path(folder, "benchmark").is_dir():
        pytest.skip("SRPRUNE_DATA does not point at the real images")
    return Path(folder)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An RGB image with smooth and busy parts, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.sin(y / (3 + seed % 5)) * np.cos(x / 4.5) * (x / width) ** 2
    planes = [120 + 80 * waves + 20 * c + rng.normal(0, 12, (height, width)) * (y / height)
              for c in range(3)]  # fmt: skip
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four small PNG images, named so that the file system's order is not theirs."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("img10", "img2", "b", "a")):
        height, width = 96 + 12 * seed, 144 - 12 * seed
        Image.fromarray(picture(height, width, seed)).save(folder / f"{name}.png")
    return folder
