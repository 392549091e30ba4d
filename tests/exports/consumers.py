"""Readers of exported folders that follow the rules of the trainers' own code, written anew.

Each takes a dataset block as a user would paste it and returns the pairs that the trainer would
train on, as (file, HR pixels, LR pixels), RGB. Rules as read in BasicSR 8d56e3a, KAIR fc1732f,
traiNNer-redux 6862931 and neosr 31c7022.
"""

from __future__ import annotations

import io
import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

Pair = tuple[str, np.ndarray, np.ndarray]

KAIR_ENDINGS = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".ppm", ".PPM", ".bmp", ".BMP",
                ".tif")  # fmt: skip


def decoded(data: bytes) -> np.ndarray:
    """cv2.imdecode(..., IMREAD_COLOR) turned from BGR to RGB: three channels, whatever came."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def opened(path: str) -> np.ndarray:
    return decoded(Path(path).read_bytes())


# --- BasicSR: basicsr/data/paired_image_dataset.py, data_util.py, utils/file_client.py ----------


def basicsr(block: Path) -> list[Pair]:
    """Three modes: LMDB by io_backend, meta_info_file if given, else the folders."""
    options = yaml.safe_load(block.read_text())["datasets"]["train"]
    hr, lr = options["dataroot_gt"], options["dataroot_lq"]
    template = options["filename_tmpl"]
    if options["io_backend"]["type"] == "lmdb":
        return lmdb_pairs(hr, lr)
    if options.get("meta_info_file") is not None:
        with open(options["meta_info_file"]) as file:
            names = [line.split(" ")[0] for line in file]
    else:
        names = names_in(hr)
        others = names_in(lr)
        assert len(names) == len(others)
        assert all(template.format(Path(name).stem) + Path(name).suffix in others for name in names)
    pairs = []
    for name in names:
        stem, ending = os.path.splitext(os.path.basename(name))
        lr_path = os.path.join(lr, template.format(stem) + ending)
        pairs.append((name, opened(os.path.join(hr, name)), opened(lr_path)))
    return pairs


def lmdb_pairs(hr: str, lr: str) -> list[Pair]:
    """Keys from both meta_info files, up to the first dot; values decoded like files."""
    lmdb = pytest.importorskip("lmdb", reason="the extra 'export' is not installed")
    assert hr.endswith(".lmdb") and lr.endswith(".lmdb")
    keys = []
    for root in (hr, lr):
        with open(os.path.join(root, "meta_info.txt")) as file:
            keys.append([line.split(".")[0] for line in file])
    assert set(keys[0]) == set(keys[1])
    found = {}
    for root in (hr, lr):
        with (
            lmdb.open(root, readonly=True, lock=False, readahead=False) as environment,
            environment.begin(write=False) as transaction,
        ):
            for key in keys[0]:
                found[root, key] = decoded(bytes(transaction.get(key.encode("ascii"))))
    return [(key, found[hr, key], found[lr, key]) for key in sorted(keys[1])]


# --- KAIR: utils/utils_option.py, utils/utils_image.py, data/dataset_sr.py ------------------------


def kair(block: Path) -> list[Pair]:
    """All images below each folder, sorted; the n-th H goes with the n-th L."""
    text = "".join(line.split("//")[0] + "\n" for line in block.read_text().splitlines())
    whole = json.loads(text)
    options = whole["datasets"]["train"]
    assert options["dataset_type"] == "sr"
    assert whole["n_channels"] == 3
    paths = [kair_paths(os.path.expanduser(options[key])) for key in ("dataroot_H", "dataroot_L")]
    assert len(paths[0]) == len(paths[1]) > 0
    return [(os.path.basename(h), opened(h), opened(low)) for h, low in zip(*paths, strict=True)]


def kair_paths(root: str) -> list[str]:
    assert os.path.isdir(root)
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith(KAIR_ENDINGS)
    )


# --- traiNNer-redux: traiNNer/data/paired_image_dataset.py, data_util.py --------------------------


def trainner_redux(block: Path) -> list[Pair]:
    """Folders only; a key that it does not know is refused."""
    options = yaml.safe_load(block.read_text())["datasets"]["train"]
    known = {"name", "type", "dataroot_gt", "dataroot_lq", "filename_tmpl", "io_backend", "lq_size",
             "gt_size", "use_hflip", "use_rot", "num_worker_per_gpu", "batch_size_per_gpu",
             "accum_iter"}  # fmt: skip
    assert set(options) <= known
    assert options["type"] == "pairedimagedataset"
    assert options["io_backend"]["type"] == "disk"
    pairs = []
    for hr, lr in zip(options["dataroot_gt"], options["dataroot_lq"], strict=True):
        names = names_in(hr)
        assert set(names) == set(names_in(lr))
        assert options["filename_tmpl"] == "{}"
        pairs += [(n, opened(os.path.join(hr, n)), opened(os.path.join(lr, n))) for n in names]
    return pairs


# --- neosr: neosr/data/paired_dataset.py, data_util.py ------------------------------------------


def neosr(block: Path) -> list[Pair]:
    """LMDB where both roots end so; else LR paths are HR paths with the folder replaced."""
    options = tomllib.loads(block.read_text())["datasets"]["train"]
    assert options["type"] == "paired"
    hr, lr = options["dataroot_gt"], options["dataroot_lq"]
    if hr.endswith("lmdb") and lr.endswith("lmdb"):
        return lmdb_pairs(hr, lr)
    paths = [[os.path.join(f, n) for f, _, ns in os.walk(root) for n in ns] for root in (hr, lr)]
    assert len(paths[0]) == len(paths[1])
    there = set(paths[1])
    pairs = []
    for path in paths[0]:
        other = path.replace(hr, lr)
        assert other in there
        pairs.append((os.path.basename(path), opened(path), opened(other)))
    return pairs


def names_in(folder: str) -> list[str]:
    """Files of a folder itself, hidden ones left out, in the order of the disk."""
    return [e.name for e in os.scandir(folder) if e.is_file() and not e.name.startswith(".")]
