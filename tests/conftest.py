"""Fixtures of all tests: real images, a real command line, the real data where there are any."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from tests.processes import LIGHT, Child, Server, launch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: pytest-xdist uses the cores already

Cli = Callable[..., subprocess.CompletedProcess[str]]


# how long an example takes is the machine's affair, not a fault; where more examples are needed
# to meet the rare ones, a test says how many
settings.register_profile("untimed", deadline=None, max_examples=40)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What is loaded by now stays; to look through it for garbage takes 7% of the time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # else libraries complain of leaks


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """The process that forks commands."""
    if sys.platform != "linux":
        yield None
        return
    server = Server(tmp_path_factory.mktemp("said"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def light_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """The process that forks commands which have not even torch loaded."""
    if sys.platform != "linux":
        yield None
        return
    server = Server(tmp_path_factory.mktemp("said"), LIGHT)
    yield server
    server.close()


@pytest.fixture
def cli(tmp_path: Path, server: Server | None) -> Cli:
    """Run ``srprune ...`` in ``tmp_path`` as a real process; ``status`` is the exit it must have.

    ``prefix`` stands before the command, ``file_limit`` is the size in bytes beyond which no
    file grows, ``fresh`` starts an interpreter of its own.
    """

    def run(
        *arguments: object,
        status: int = 0,
        prefix: Sequence[str] = (),
        file_limit: int | None = None,
        fresh: bool = False,
        **settings: str,
    ) -> subprocess.CompletedProcess[str]:
        child = launch(
            server,
            tmp_path,
            *arguments,
            prefix=prefix,
            file_limit=file_limit,
            fresh=fresh,
            **settings,
        )
        try:
            out, err = child.communicate(timeout=300)
        finally:
            child.kill()
        assert child.returncode == status, f"exit {child.returncode}\n{out}\n{err}"
        if status == 2:
            assert "Traceback" not in err
        words = [str(word) for word in arguments]
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    return run


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail with one clear line; return what it says after ``Error: ``.

    ``lines`` is 1, or None where the message is a list. Nothing half-written may stay.
    """

    def run(*arguments: object, status: int = 2, lines: int | None = 1, **more: object) -> str:
        done = cli(*arguments, status=status, **more)
        said = done.stderr.strip()
        assert said.startswith("Error: "), done.stderr
        assert said.count("Error: ") == 1, done.stderr
        assert lines is None or len(said.splitlines()) == lines, done.stderr
        assert leftovers(tmp_path) == []
        return said.removeprefix("Error: ")

    return run


@pytest.fixture(scope="session")
def unfinished() -> Callable[[Path], list[str]]:
    """The function that finds temporary files."""
    return leftovers


def leftovers(folder: Path) -> list[str]:
    """Temporary files and unfinished stores below a folder."""
    marks = (".part", ".journal", ".tmp")
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        str(path.relative_to(folder)) for path in files if any(m in path.name for m in marks)
    )


@pytest.fixture
def start(
    tmp_path: Path, server: Server | None, light_server: Server | None
) -> Iterator[Callable[..., Child]]:
    """Start a child in ``tmp_path`` and go on; what still runs at the end is killed.

    ``code`` runs in place of ``srprune``, with the arguments behind it; ``light`` is a process
    that has next to nothing loaded; ``fresh`` starts an interpreter of its own.
    """
    children: list[Child] = []

    def run(*arguments: object, light: bool = False, **more: Any) -> Child:
        forks = light_server if light else server
        children.append(launch(forks, tmp_path, *arguments, **more))
        return children[-1]

    yield run
    for child in children:
        child.kill()
        child.communicate()


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


def small_images(folder: Path) -> Path:
    """Write four small PNG images, named so that the file system's order is not theirs."""
    folder.mkdir()
    for seed, name in enumerate(("img10", "img2", "b", "a")):
        height, width = 96 + 12 * seed, 144 - 12 * seed
        Image.fromarray(picture(height, width, seed)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four small PNG images."""
    return small_images(tmp_path / "images")


class Tiny:
    """The commands of the pipeline as tests give them: twenty steps on two small crops."""

    steps = ("--set", "budget.steps=20", "--set", "batch=2")
    extract = ("extract", "images", "--size", "48", "--stride", "24")
    pretrain = ("pretrain", *steps, "--set", "lr_crop=18")  # skip_rim needs 33 px at HR
    select = ("select", "--ratio", "0.5", "--offset", "0.05")
    fsrcnn = ("--config", "fsrcnn_x2.yaml", *steps, "--set", "lr_crop=12")
    train = ("train", *fsrcnn, "--set", "validation.benchmark=null")
    coreset = "des_r0.50_o0.05__mse_x2"  # what select makes
    run = f"fsrcnn_x2__{coreset}__seed0"  # what train makes


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    """The tiny commands."""
    return Tiny


@pytest.fixture(scope="session")
def prepared_once(server: Server | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images`` and a finished ``workspace``; do not write into it."""
    folder = tmp_path_factory.mktemp("prepared")
    small_images(folder / "images")
    for command in (Tiny.extract, Tiny.pretrain, ["score"], Tiny.select, Tiny.train):
        child = launch(server, folder, *command)
        _, said = child.communicate(timeout=300)
        assert child.returncode == 0, said
    assert (folder / "workspace" / "runs" / Tiny.run / "weights.safetensors").is_file()
    return folder


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Path:
    """A workspace of its own in ``tmp_path``, with every stage done, beside its ``images``."""
    shutil.copytree(prepared_once / "images", tmp_path / "images")
    shutil.copytree(prepared_once / "workspace", tmp_path / "workspace")
    return tmp_path / "workspace"
