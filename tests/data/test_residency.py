"""Where pixels stand: the place that was asked for if it has room, else the next best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.patches import ImageRecord, PatchIndex  # noqa: E402
from srprune.data.crops import DeviceCrops, HostCrops  # noqa: E402
from srprune.data.memory import free_memory  # noqa: E402
from srprune.data.residency import choose_residency, open_crops  # noqa: E402
from srprune.images.grid import grid  # noqa: E402
from srprune.images.store import PixelStore  # noqa: E402

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OTHER = torch.device("mps")  # cannot say what is free
FREE = 10**6
TOO_MUCH = 2**60
CROWD = 2**50  # processes that leave none of them a byte

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with 1 MB free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (FREE, 10 * FREE))


# --- choosing ---


@pytest.mark.usefixtures("gpu")
def test_auto_falls_back_from_device_to_host_to_disk() -> None:
    assert choose_residency("auto", FREE // 2, CUDA) == "device"
    assert choose_residency("auto", FREE // 2 + 1, CUDA) == "host"  # half is for the training
    assert choose_residency("auto", TOO_MUCH, CUDA) == "disk"


@pytest.mark.usefixtures("gpu")
def test_processes_share_main_memory_but_not_a_gpu() -> None:
    assert choose_residency("auto", FREE // 2, CUDA, CROWD) == "device"
    assert choose_residency("auto", FREE // 2 + 1, CUDA, CROWD) == "disk"
    assert choose_residency("auto", FREE, CPU, CROWD) == "disk"
    with pytest.raises(InputError, match=r"residency is host, .* 0\.0 GB are free"):
        choose_residency("host", FREE, CUDA, CROWD)


def test_auto_keeps_half_of_main_memory_for_the_training() -> None:
    assert choose_residency("auto", free_memory() // 4, CPU) == "host"
    assert choose_residency("auto", free_memory() * 3 // 4, CPU) == "disk"
    assert choose_residency("host", free_memory() * 3 // 4, CPU) == "host"  # the user knows better


def test_where_a_device_cannot_be_asked_main_memory_counts() -> None:
    assert choose_residency("auto", FREE, OTHER) == "device"
    assert choose_residency("auto", TOO_MUCH, OTHER) == "disk"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("asked", ["device", "host", "disk"])
def test_what_was_asked_for_is_what_comes_where_there_is_room(asked: str) -> None:
    assert choose_residency(asked, FREE, CUDA) == asked


def test_a_cpu_has_one_memory() -> None:
    assert choose_residency("device", FREE, CPU) == "host"
    assert choose_residency("auto", FREE, CPU) == "host"


@pytest.mark.usefixtures("gpu")
def test_what_was_asked_for_must_have_room() -> None:
    with pytest.raises(InputError) as caught:
        choose_residency("device", 2500 * FREE, CUDA)
    assert str(caught.value) == (
        "data.residency is device, but the pixels have 2.5 GB and 0.0 GB are free there. "
        "Choose auto or disk."
    )
    with pytest.raises(InputError, match="residency is device"):
        choose_residency("device", FREE + 1, CUDA)


@pytest.mark.parametrize("device", [CPU, OTHER])
@pytest.mark.parametrize("asked", ["host", "device"])
def test_more_pixels_than_memory_are_refused(asked: str, device: Any) -> None:
    with pytest.raises(InputError, match=rf"residency is {asked}, but the pixels have 115292150"):
        choose_residency(asked, TOO_MUCH, device)


@pytest.mark.parametrize("device", [CPU, OTHER])
def test_a_disk_holds_what_is_on_it(device: Any) -> None:
    assert choose_residency("disk", TOO_MUCH, device) == "disk"


# --- opening ---

SHAPES = [(48, 36), (36, 60)]
SIZE, SIDE = 24, 10


@pytest.fixture
def index() -> PatchIndex:
    images = tuple(ImageRecord(f"{i}.png", *shape, str(i)) for i, shape in enumerate(SHAPES))
    return PatchIndex(SIZE, 12, images, *grid(SHAPES, SIZE, 12))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    bytes_ = np.random.default_rng(3).integers(256, size=3 * (48 * 36 + 36 * 60), dtype=np.uint8)
    bytes_.tofile(tmp_path / "hr.u8")
    return tmp_path / "hr.u8"


def cut(crops: HostCrops | DeviceCrops, picks: np.ndarray) -> np.ndarray:
    if isinstance(crops, HostCrops):
        return crops.cut(*picks)
    pixels: np.ndarray = crops.cut(*torch.from_numpy(picks)).numpy()
    return pixels


def test_pixels_for_a_device_pass_through_a_small_buffer(
    index: PatchIndex, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int | tuple[int, ...]] = []

    def empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        made.append(shape)
        return np.zeros(shape, dtype)

    monkeypatch.setattr("srprune.data.residency.PIECE", 3 * 48 * 36)
    monkeypatch.setattr("srprune.data.residency.np.empty", empty)
    store, ids = PixelStore(path, SHAPES, [0, 3 * 48 * 36]), np.arange(len(index))
    open_crops(index, ids, store, 1, SIDE, "device", CPU)
    own = [shape for shape in made if isinstance(shape, int)]  # NumPy 1 asks for some, too
    assert own == [3 * 48 * 36, 3 * 36 * 60]


@pytest.mark.parametrize(
    ("residency", "kind"), [("device", DeviceCrops), ("host", HostCrops), ("disk", HostCrops)]
)
def test_only_the_disk_is_read_again(
    index: PatchIndex, path: Path, residency: Any, kind: type
) -> None:
    store = PixelStore(path, SHAPES, [0, 3 * 48 * 36])
    ids = np.array([8, 2])
    crops = open_crops(index, ids, store, 1, SIDE, residency, CPU)
    assert isinstance(crops, kind)
    picks = np.array([[0, 1, 1], [14, 0, 3], [5, 14, 0], [0, 0, 0]])
    expected = np.stack(
        [
            store.crop(
                int(index.image_N[ids[place]]),
                int(index.top_N[ids[place]]) + top,
                int(index.left_N[ids[place]]) + left,
                SIDE,
            )
            for place, top, left, _ in picks.T.tolist()
        ]
    )
    np.testing.assert_array_equal(cut(crops, picks), expected)
    with path.open("r+b") as file:  # the same file, other pixels
        file.write(bytes(path.stat().st_size))
    again = cut(crops, picks)
    np.testing.assert_array_equal(again, np.zeros_like(again) if residency == "disk" else expected)
