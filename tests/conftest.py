"""Fixtures of all tests: real images, a real command line, the real data where there are any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: pytest-xdist uses the cores already

Cli = Callable[..., subprocess.CompletedProcess[str]]


def child_environment(**settings: str) -> dict[str, str]:
    """This environment without what a developer may have set, one thread, and ``settings``."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("SRPRUNE_")}
    return {**own, "OMP_NUM_THREADS": "1", **settings}


# A process with everything imported that forks a child for each command: the same code, fault for
# fault, without the seconds that torch takes to load. Only on Linux, where that is safe.
SERVER = """
import gc, json, os, resource, sys
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
import srprune
from srprune.cli.main import main
for module in walk_packages(srprune.__path__, "srprune."):
    if module.name != "srprune.__main__":
        import_module(module.name)
# what commands import on the way, where it is installed: pyarrow does pandas
for name in (
    "pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "torchvision.utils",
    "torch.utils.tensorboard", "spandrel", "sklearn.cluster", "lmdb",
):
    with suppress(ImportError):
        import_module(name)
gc.freeze()  # children share the pages of all this
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        if job["file_limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"],) * 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in ((1, job["stdout"]), (2, job["stderr"])):
            os.dup2(os.open(path, os.O_WRONLY), number)
        sys.argv = ["srprune", *job["arguments"]]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)  # taking down all that was imported would take seconds
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str] | None]:
    """The process that forks commands."""
    if sys.platform != "linux":
        yield None
        return
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def cli(
    tmp_path: Path,
    server: subprocess.Popen[str] | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cli:
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
        environment, words = child_environment(**settings), [str(word) for word in arguments]
        if fresh or prefix or server is None:
            done = subprocess.run(
                [*prefix, sys.executable, "-m", "srprune", *words],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                preexec_fn=(lambda: limit_files(file_limit)) if file_limit else None,
            )
        else:
            said = tmp_path_factory.mktemp("said")
            out, err = said / "out", said / "err"
            out.touch()
            err.touch()
            job = {
                "folder": str(tmp_path),
                "environment": environment,
                "file_limit": file_limit,
                "stdout": str(out),
                "stderr": str(err),
                "arguments": words,
            }
            assert server.stdin and server.stdout
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            done = subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())
        assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if status == 2:
            assert "Traceback" not in done.stderr
        return done

    return run


def limit_files(size: int) -> None:
    """Make this process a user of a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


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
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a child in ``tmp_path`` and go on; what still runs at the end is killed.

    ``code`` runs in place of ``srprune``, with the arguments behind it.
    """
    children: list[subprocess.Popen[str]] = []

    def run(*arguments: object, code: str | None = None) -> subprocess.Popen[str]:
        program = ["-c", code] if code else ["-m", "srprune"]
        child = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=tmp_path,
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

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


PREPARE = """
import json, sys
from srprune.cli.main import cli
for command in json.loads(sys.argv[1]):
    cli.main(command, standalone_mode=False)
"""


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
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images`` and a finished ``workspace``; do not write into it."""
    folder = tmp_path_factory.mktemp("prepared")
    small_images(folder / "images")
    commands = json.dumps([Tiny.extract, Tiny.pretrain, ["score"], Tiny.select, Tiny.train])
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, commands],
        cwd=folder,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "workspace" / "runs" / Tiny.run / "weights.safetensors").is_file()
    return folder


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path) -> Path:
    """A workspace of its own in ``tmp_path``, with every stage done, beside its ``images``."""
    shutil.copytree(prepared_once / "images", tmp_path / "images")
    shutil.copytree(prepared_once / "workspace", tmp_path / "workspace")
    return tmp_path / "workspace"
