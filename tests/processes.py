"""Commands as processes: forked from one that has everything imported, or interpreters anew."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

# A process that forks a child for each command: the same code, fault for fault, without the seconds
# that torch takes to load. Only on Linux, where that is safe. It answers a job with the number of
# the child, and that number with the child's exit, null while it runs. Before, it has loaded
# everything, or little.
EVERYTHING = """
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
import srprune
for module in walk_packages(srprune.__path__, "srprune."):
    if module.name != "srprune.__main__":
        import_module(module.name)
# what commands import on the way, where it is installed: pyarrow does pandas
for name in (
    "pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "torchvision.utils",
    "matplotlib.backends.backend_pdf", "fontTools.subset", "torch.utils.tensorboard", "spandrel",
    "sklearn.cluster", "lmdb", "imagecodecs", "open_clip",
    "diffusers.models.transformers.dit_transformer_2d", "diffusers.models.autoencoders.vae",
):
    with suppress(ImportError):
        import_module(name)
"""
# What no command can do without; the children show what else they load.
LIGHT = """
import sys
import numpy, pyarrow.parquet
import srprune.cli.main
assert "torch" not in sys.modules
"""
SERVER = """
import gc, json, os, resource, sys
gc.freeze()  # children share the pages of all this
for line in sys.stdin:
    job = json.loads(line)
    if "child" in job:
        number, status = os.waitpid(job["child"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if number else None), flush=True)
        continue
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
        code = 0
        try:
            exec(job["code"], {"__name__": "__main__"})
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # taking down all that was imported would take seconds
    print(child, flush=True)
"""
COMMAND = "from srprune.cli.main import main\nmain()"


def child_environment(**settings: str) -> dict[str, str]:
    """This environment without what a developer may have set, one thread, and ``settings``."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("SRPRUNE_")}
    return {**own, "OMP_NUM_THREADS": "1", **settings}


class Server:
    """The process that forks children."""

    def __init__(self, said: Path, loaded: str = EVERYTHING) -> None:
        self.said, self.count = said, 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", loaded + SERVER],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **job: object) -> int | None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer: int | None = json.loads(self.process.stdout.readline())
        return answer

    def fork(
        self,
        folder: Path,
        *arguments: object,
        code: str = COMMAND,
        file_limit: int | None = None,
        **settings: str,
    ) -> Forked:
        """Run ``code`` in a child, in ``folder``; no file of its grows beyond ``file_limit``."""
        self.count += 1
        said = [self.said / f"{self.count}.{name}" for name in ("out", "err")]
        for file in said:
            file.touch()
        number = self.ask(
            folder=str(folder),
            environment=child_environment(**settings),
            file_limit=file_limit,
            stdout=str(said[0]),
            stderr=str(said[1]),
            arguments=[str(word) for word in arguments],
            code=code,
        )
        assert number
        return Forked(self, number, said)

    def close(self) -> None:
        with self.process as process:
            process.kill()


class Forked:
    """A child of the server; what it has of ``subprocess.Popen`` is the same."""

    def __init__(self, server: Server, pid: int, said: Sequence[Path]) -> None:
        self.server, self.pid, self.said = server, pid, said
        self.returncode: int | None = None

    @property
    def stderr(self) -> TextIO:
        return self.said[1].open()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.server.ask(child=self.pid)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("srprune", timeout)
            time.sleep(0.002)
        return code

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        self.wait(timeout)
        out, err = (file.read_text() for file in self.said)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # none but it has its number until the server was asked for its end
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Child = subprocess.Popen[str] | Forked


def launch(
    server: Server | None,
    folder: Path,
    *arguments: object,
    code: str = COMMAND,
    fresh: bool = False,
    prefix: Sequence[str] = (),
    file_limit: int | None = None,
    **settings: str,
) -> Child:
    """Start ``srprune ARGUMENTS``, or ``code`` in place of it, in ``folder``, and go on.

    ``prefix`` stands before the command, ``file_limit`` is the size in bytes beyond which no
    file grows, ``fresh`` starts an interpreter of its own.
    """
    if server and not fresh and not prefix:
        return server.fork(folder, *arguments, code=code, file_limit=file_limit, **settings)
    program = ["-m", "srprune"] if code == COMMAND else ["-c", code]
    return subprocess.Popen(
        [*prefix, sys.executable, *program, *map(str, arguments)],
        cwd=folder,
        env=child_environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: limit_files(file_limit)) if file_limit else None,
    )


def free_port() -> int:
    """A port below those that the system gives to whoever connects, so that it stays free."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


def together(
    server: Server | None, folder: Path, *arguments: object, code: str = COMMAND, size: int = 2
) -> list[subprocess.CompletedProcess[str]]:
    """Run processes that are told of each other as torchrun tells them, on one machine."""
    port = free_port()
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }
    children = [
        launch(
            server, folder, *arguments, code=code, **common, RANK=str(rank), LOCAL_RANK=str(rank)
        )
        for rank in range(size)
    ]
    try:
        said = [child.communicate(timeout=300) for child in children]
    finally:
        for child in children:
            child.kill()
    words = [str(word) for word in arguments]
    return [
        subprocess.CompletedProcess(words, child.wait(), out, err)
        for child, (out, err) in zip(children, said, strict=True)
    ]


def limit_files(size: int) -> None:
    """Make this process a user of a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
