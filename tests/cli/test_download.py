"""``srprune download`` as a person runs it, in a process of its own, against a local server."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# The program with one data set more, which comes from the server of the test.
PROGRAM = """
import json, sys
from srprune.cli.main import COMMANDS, main
from srprune.images.datasets import DATASETS, Archive, Dataset, Part
COMMANDS.setdefault("download", "srprune.cli.download:download")
archive = Archive(*json.loads(sys.argv.pop(1)))
DATASETS["tiny"] = Dataset(
    "Tiny", "for tests", {"train_hr": Part(archive, "tiny/HR", "Tiny/HR", 4)}, ("train_hr",)
)
sys.argv[0] = "srprune"
try:
    main()
finally:
    assert sys.argv[1:2] != ["download"] or "torch" not in sys.modules
"""
Program = Callable[..., subprocess.CompletedProcess[str]]


class Slow(SimpleHTTPRequestHandler):
    """Serves files, with ranges; those whose name begins with ``slow`` a piece at a time."""

    def do_GET(self) -> None:
        file = Path(self.directory, self.path.lstrip("/"))
        if not file.is_file():
            self.send_error(404)
            return
        body = file.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        try:
            for at in range(start, len(body), 10_000):
                self.wfile.write(body[at : at + 10_000])
                if self.path.startswith("/slow") and not start:
                    time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A zip of four images."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for seed in range(4):
            pixels = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, format="PNG")
            opened.writestr(f"tiny/HR/{seed}.png", image.getvalue())
    return file.getvalue()


@pytest.fixture
def base(tmp_path: Path, archive: bytes) -> Iterator[str]:
    """Address of a server that has the archive under two names."""
    files = tmp_path / "server"
    files.mkdir()
    for name in ("tiny.zip", "slow.zip"):
        (files / name).write_bytes(archive)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(files)))
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.fixture
def program(start, base: str, archive: bytes) -> Program:
    """Run ``srprune`` and wait; ``status`` is the exit that it must have."""

    def run(
        *arguments: object,
        status: int = 0,
        name: str = "tiny.zip",
        wait: bool = True,
        light: bool = True,
        **more: Any,
    ):
        entry = [name, base, len(archive), hashlib.sha256(archive).hexdigest()]
        child = start(json.dumps(entry), *arguments, code=PROGRAM, light=light, **more)
        if not wait:
            return child
        out, err = child.communicate(timeout=60)
        assert child.returncode == status, out + err
        assert "Traceback" not in err
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

    return run


def test_what_is_downloaded_is_taken_by_extract(program, tmp_path, archive):
    said = program("download", "tiny").stdout
    assert "Tiny/HR: 4 images, from http://127.0.0.1" in said
    assert f"SHA-256 {hashlib.sha256(archive).hexdigest()} (as published)" in said
    assert "terms: for tests" in said
    assert not list(tmp_path.glob("*.part*")) and not list(tmp_path.glob("*.zip"))
    extracted = program("extract", "Tiny/HR", "--size", "48", "--stride", "48")
    assert "from 4 images" in extracted.stdout


def test_a_second_call_says_that_it_is_there(program):
    program("download", "tiny", "--out", "sets")
    said = program("download", "tiny", "--out", "sets").stdout
    assert "sets/Tiny/HR: 4 images, was there already, unchanged" in said


def test_json_tells_the_receipt(program, base, archive):
    (told,) = json.loads(program("download", "tiny", "--json").stdout)
    assert told["folder"] == "Tiny/HR"
    assert told["url"] == f"{base}/tiny.zip"
    assert told["archive_size"] == len(archive)
    assert told["num_images"] == 4


def test_ctrl_c_keeps_what_has_come_and_the_next_call_goes_on(program, tmp_path, archive):
    child = program("download", "tiny", name="slow.zip", wait=False)
    part = tmp_path / "slow.zip.part"
    until = time.monotonic() + 30
    while not part.exists() or part.stat().st_size == 0:
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err.strip().startswith("Error: interrupted. Give the same command again to go on")
    assert 0 < part.stat().st_size < len(archive)
    program("download", "tiny", name="slow.zip")
    assert (tmp_path / "Tiny" / "HR" / "3.png").is_file()
    assert not part.exists()


def test_dry_run_asks_nobody_and_writes_nothing(program, tmp_path):
    before = sorted(tmp_path.iterdir())
    said = program("download", "div2k", "set5", "--dry-run").stdout
    assert "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip, 3,530.6 MB" in said
    assert "https://cv.snu.ac.kr/research/EDSR/benchmark.tar, 250.1 MB" in said
    assert "SHA-256 9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335" in said
    assert "terms: Agustsson and Timofte" in said
    assert "to fetch: 4,229.7 MB" in said  # 3530.6 + 449.0 + 250.1
    assert "free in .:" in said
    assert sorted(tmp_path.iterdir()) == before


def test_dry_run_as_json(program):
    rows = json.loads(program("download", "bsd100", "urban100", "--dry-run", "--json").stdout)
    assert [row["folder"] for row in rows] == ["BSD100/HR", "Urban100/HR"]
    assert {row["size"] for row in rows} == {250_112_000}
    assert all(row["free"] > 0 and row["terms"] and not row["there"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["manga109"], "Manga109 cannot be downloaded by a program"),
        (["manga109", "--dry-run"], "https://huggingface.co/datasets/hal-utokyo/Manga109"),
        (["set6"], "unknown data set 'set6'. Did you mean: set5?"),
        (["set5", "--part", "train_hr"], "unknown part of set5 'train_hr'"),
        (["set5", "--mirror", "http://example.org"], "is not an address to download from"),
        ([], "Missing argument 'NAME...'"),
    ],
)
def test_what_cannot_be_had_is_one_line(program, tmp_path, arguments, said):
    before = sorted(tmp_path.iterdir())
    err = program("download", *arguments, status=2).stderr
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_mirror_without_the_file_is_named(program, base):
    (err,) = program(
        "download", "tiny", "--mirror", f"{base}/nothing", status=2
    ).stderr.splitlines()
    assert err.startswith(f"Error: there is no file at {base}/nothing/tiny.zip (404")


def test_a_file_in_place_of_the_folder_is_refused(program, tmp_path):
    (tmp_path / "sets").touch()
    assert "is a file" in program("download", "tiny", "--out", "sets", status=2).stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_a_full_disk_is_one_line_and_keeps_what_came(program, tmp_path):
    done = program("download", "tiny", status=2, file_limit=50_000)
    (err,) = done.stderr.splitlines()
    assert err.startswith("Error: no space left to write tiny.zip.part.")
    assert (tmp_path / "tiny.zip.part").stat().st_size == 50_000
    program("download", "tiny")
    assert (tmp_path / "Tiny" / "HR" / "0.png").is_file()


STUDY = """
title: Downloaded
images: tiny
extract: {size: 48, stride: 48}
scorers: {srcnn: {config: srcnn.yaml, set: {budget.steps: 2, batch: 2, lr_crop: 18}}}
set: {config: fsrcnn_x2.yaml, budget.steps: 2, batch: 2, lr_crop: 12, validation.benchmark: null}
axes: {core-set: {full: {pruning.ratio: 1, pruning.offset: 0}}}
compare: core-set
seeds: [0]
evaluate: {benchmarks: [held]}
"""


def test_a_study_downloads_the_data_set_that_it_names_once(program, tmp_path):
    """What ``--budget paper`` does with DIV2K: into the first folder of --data, unless there."""
    (tmp_path / "s.yaml").write_text(STUDY)
    for folder in ("held", "data"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (24, 24), (9, 80, 200)).save(tmp_path / "held" / "0.png")
    said = program("study", "run", "s.yaml", "--data", "data", light=False).stdout
    assert "Tiny is in none of data: downloading it into data" in said
    assert "16 patches of 48 px from 4 images" in said
    assert "1 of 1 cells" in said
    (tmp_path / "data" / "train").mkdir()
    (tmp_path / "data" / "Tiny").rename(tmp_path / "data" / "train" / "Tiny")
    again = program("study", "run", "s.yaml", "--data", "data", light=False).stdout
    assert "downloading" not in again
