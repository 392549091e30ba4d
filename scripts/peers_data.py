"""Training data as peers store and load it, for a comparison beside ours.

Written out after BasicSR, KAIR, traiNNer-redux and neosr (PNG sub-images, and LMDB of the same
bytes) and after EDSR (pickled whole images).
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.stages.extract import ImageSource, extract, sub_image_names
from srprune.stages.pool import open_pool

HAS_CV2, HAS_LMDB = (importlib.util.find_spec(name) is not None for name in ("cv2", "lmdb"))
if HAS_CV2:
    import cv2
if HAS_LMDB:
    import lmdb

SCALE, SIZE, STRIDE, LR_CROP = 2, 480, 240, 48
AHEAD = 2  # batches that each worker fetches ahead: torch's default
LUMA = np.float32([65.481, 128.553, 24.966])
DECODER = f"OpenCV {cv2.__version__}" if HAS_CV2 else "Pillow"

Pair = tuple[Tensor, Tensor]
Get = Callable[[str, str], bytes]


@dataclass
class Data:
    """One set of patches, as each way stores it."""

    folder: Path
    pool: PatchPool
    names: list[str]


def prepare(images: str, folder: Path) -> Data:
    """Write the patches as our store, as PNG, as LMDB, and the images as pickles."""
    workspace = Workspace(folder)
    config = ExtractConfig(size=SIZE, stride=STRIDE)
    index = extract(ImageSource.find(images), config, workspace, skip_bad=True, write_patches=True)
    pool, names = open_pool(workspace, SCALE), sub_image_names(index)
    pngs = folder / "sub_images"  # extract wrote HR there
    (pngs / "LR").mkdir()
    for patch, name in enumerate(names):
        pixels = Image.fromarray(pool.lr_crop(patch, 0, 0, SIZE // SCALE))
        pixels.save(pngs / "LR" / name, compress_level=3)  # as BasicSR's script does
    for kind, store in (("HR", pool.hr_store), ("LR", pool.lr_store)):
        (folder / "pickles" / kind).mkdir(parents=True)
        for i in range(len(store)):
            with (folder / "pickles" / kind / f"{i}.pt").open("wb") as file:
                pickle.dump(np.array(store.image(i)), file)
        if HAS_LMDB:
            contents = {name: (pngs / kind / name).read_bytes() for name in names}
            size = 2 * sum(map(len, contents.values())) + 2**24
            with (
                lmdb.open(str(folder / f"{kind}.lmdb"), map_size=size) as env,
                env.begin(write=True) as transaction,
            ):
                for name, content in contents.items():
                    transaction.put(name.encode(), content)
    return Data(folder, pool, names)


class LmdbFiles:
    """BasicSR's client for LMDB; opened on first use, in the process that uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._envs = folder, {}

    def __call__(self, kind: str, name: str) -> bytes:
        """The PNG file of a patch."""
        if kind not in self._envs:
            self._envs[kind] = lmdb.open(
                str(self._folder / f"{kind}.lmdb"),
                readonly=True, lock=False, readahead=False, meminit=False,
            )  # fmt: skip
        with self._envs[kind].begin(write=False) as transaction:
            return transaction.get(name.encode())

    def close(self) -> None:
        """Before a fork: a worker may not open what its parent has open."""
        while self._envs:
            self._envs.popitem()[1].close()


def png_files(folder: Path, kind: str, name: str) -> bytes:
    return (folder / "sub_images" / kind / name).read_bytes()


def decode(content: bytes) -> np.ndarray:
    """BasicSR's ``imfrombytes``: the whole image, as floats (BGR from OpenCV)."""
    if HAS_CV2:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    else:
        pixels = np.asarray(Image.open(io.BytesIO(content)))
    return pixels.astype(np.float32) / 255


def crop_and_turn(lr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``paired_random_crop`` and ``augment``: two flips and a transposition by chance."""
    side = LR_CROP
    top, left = random.randint(0, lr.shape[0] - side), random.randint(0, lr.shape[1] - side)
    lr = lr[top : top + side, left : left + side]
    top, left, side = SCALE * top, SCALE * left, SCALE * side
    hr = hr[top : top + side, left : left + side]
    if random.random() < 0.5:
        lr, hr = lr[:, ::-1], hr[:, ::-1]
    if random.random() < 0.5:
        lr, hr = lr[::-1], hr[::-1]
    if random.random() < 0.5:
        lr, hr = lr.transpose(1, 0, 2), hr.transpose(1, 0, 2)
    return lr, hr


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()


class PairedImages(Dataset[Pair]):
    """BasicSR's ``PairedImageDataset``; ``get`` is its file client, ``luma`` its ``color: y``."""

    def __init__(self, get: Get, names: list[str], *, luma: bool = False) -> None:
        self._get, self._names, self._luma = get, names, luma

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, i: int) -> Pair:
        hr, lr = (decode(self._get(kind, self._names[i])) for kind in ("HR", "LR"))
        lr, hr = map(self._colour, crop_and_turn(lr, hr))
        return as_tensor(lr), as_tensor(hr)

    def _colour(self, pixels: np.ndarray) -> np.ndarray:
        rgb = pixels[..., ::-1] if HAS_CV2 else pixels
        return (np.dot(rgb, LUMA) + np.float32(16))[..., None] / 255 if self._luma else rgb


class PickledImages(Dataset[Pair]):
    """EDSR's ``SRData`` with ``ext sep``: an item is a crop of a whole unpickled image."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder / "pickles", count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> Pair:
        files = (self._folder / kind / f"{i}.pt" for kind in ("LR", "HR"))
        lr, hr = crop_and_turn(*(pickle.loads(file.read_bytes()) for file in files))
        return as_tensor(lr).div_(255), as_tensor(hr).div_(255)


@contextmanager
def fetching(
    dataset: Dataset[Pair],
    batch: int,
    workers: int,
    device: torch.device,
    close: Callable[[], None] = lambda: None,
) -> Iterator[Callable[[], Pair]]:
    """A DataLoader that never ends, running at its own pace; its workers end with the context."""
    draws = RandomSampler(dataset, replacement=True, num_samples=1 << 40)  # BasicSR enlarges too
    pin = device.type == "cuda"
    loader = DataLoader(
        dataset, batch, sampler=draws, num_workers=workers, pin_memory=pin, drop_last=True
    )
    held = [iter(loader)]
    for _ in range(workers * AHEAD):  # what was fetched ahead would be had for nothing
        next(held[0])

    def fetch() -> Pair:
        lr, hr = next(held[0])
        return lr.to(device, non_blocking=True), hr.to(device, non_blocking=True)

    try:
        yield fetch
    finally:
        held.clear()  # the last reference to the workers
        close()
