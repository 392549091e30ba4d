"""The packed store: the plain store's pixels and promises, in fewer bytes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import ArtifactError, ImageError, MissingArtifact
from srprune.images import packed_store
from srprune.images.packed_store import PackedStore
from srprune.images.packing import BAND
from srprune.images.pixels import (
    build_pixels,
    discard_part,
    finish_pixels,
    open_pixels,
    remove_pixels,
)

SHAPES = [(3, 4), (2 * BAND + 5, 20), (1, 1), (BAND, 9), (BAND + 1, 7)]
NAMES = ("a.png", "b.png", "c.png", "d.png", "e.png")
FILE, PART, JOURNAL = "hr.u8.zst", "hr.u8.zst.part", "hr.u8.zst.journal"


class Killed(BaseException):
    """As a kill ends a fill: not an error that anything may catch and go on from."""


class Source:
    """Images that know who asked for them; some are bad, and some kill."""

    def __init__(self, bad: tuple[int, ...] = (), killed_at: int | None = None) -> None:
        self.asked: list[int] = []
        self._bad, self._killed_at = bad, killed_at
        self._lock = threading.Lock()

    def __call__(self, i: int) -> tuple[np.ndarray, str]:
        with self._lock:
            self.asked.append(i)
        if i == self._killed_at:
            raise Killed
        if i in self._bad:
            raise ImageError("is bad")
        return pixels(i), f"word{i}"


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(16, size=(*SHAPES[i], 3), dtype=np.uint8)


def build(path, fill, plan="plan", workers=1, compress=True, **more):
    return build_pixels(
        path, plan, SHAPES, fill, compress=compress, label="x", workers=workers, **more
    )


def built(folder: Path, compress: bool = True):
    build(folder / "hr.u8", Source(), compress=compress)
    return finish_pixels(folder / "hr.u8", "key", SHAPES, compress=compress, names=NAMES)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- building ---


@pytest.mark.parametrize("workers", [1, 3])
def test_a_store_holds_the_pixels_of_every_image(tmp_path, workers):
    path = tmp_path / "deep" / "hr.u8"
    reports = []
    done, bad = build(
        path, Source(), workers=workers, progress=lambda *report: reports.append(report)
    )
    assert done == {i: f"word{i}" for i in range(5)} and bad == {}
    assert reports == [("x", i, 5) for i in range(1, 6)]
    assert files(path.parent) == [JOURNAL, PART]
    store = finish_pixels(path, "key", SHAPES, compress=True)
    assert isinstance(store, PackedStore) and files(path.parent) == [FILE, FILE + ".json"]
    assert len(store) == 5 and store.num_bytes == (path.parent / FILE).stat().st_size
    for i in range(5):
        np.testing.assert_array_equal(store.image(i), pixels(i))


def test_pixels_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="read-only"):
        built(tmp_path).image(0)[0, 0, 0] = 1


def test_it_takes_fewer_bytes_than_the_plain_store(tmp_path):
    packed, plain = built(tmp_path / "packed"), built(tmp_path / "plain", compress=False)
    assert packed.num_bytes < 0.8 * plain.num_bytes


def test_threads_change_no_byte(tmp_path):
    built(tmp_path / "one")
    build(tmp_path / "many" / "hr.u8", Source(), workers=4)
    finish_pixels(tmp_path / "many" / "hr.u8", "key", SHAPES, compress=True)
    for name in (FILE, FILE + ".json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


@settings(max_examples=25, deadline=None)
@given(kills=st.lists(st.integers(0, 4), max_size=4), workers=st.integers(1, 3))
def test_kills_cost_nothing_but_time(tmp_path_factory, kills, workers):
    straight, path = (tmp_path_factory.mktemp("store") / "hr.u8" for _ in range(2))
    built(straight.parent)
    finished = 0
    for killed_at in kills:
        with pytest.raises(Killed) if killed_at >= finished else contextlib.nullcontext():
            build(path, Source(killed_at=killed_at), workers=workers)
            finished = 5
        finished = max(finished, killed_at)
    last = Source()
    build(path, last, workers=workers)
    assert sorted(last.asked) == list(range(finished, 5))  # none twice
    finish_pixels(path, "key", SHAPES, compress=True)
    for name in (FILE, FILE + ".json"):
        assert path.with_name(name).read_bytes() == straight.with_name(name).read_bytes()


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_what_a_kill_cut_off_is_done_again(tmp_path, lost):
    path = tmp_path / "hr.u8"
    with pytest.raises(Killed):
        build(path, Source(killed_at=3))
    journal, part = tmp_path / JOURNAL, tmp_path / PART
    text = journal.read_bytes()
    journal.write_bytes(text[:-lost])
    with part.open("ab") as file:  # half of the next image
        file.write(b"half")
    whole = sum(line.endswith(b"}") for line in text[:-lost].splitlines()[1:])
    source = Source()
    build(path, source)
    assert source.asked == list(range(whole, 5))
    store = finish_pixels(path, "key", SHAPES, compress=True)
    built(tmp_path / "straight")
    assert (tmp_path / FILE).read_bytes() == (tmp_path / "straight" / FILE).read_bytes()
    np.testing.assert_array_equal(store.image(4), pixels(4))


@pytest.mark.parametrize("damage", ["plan", "journal", "no part", "short part"])
def test_a_part_that_is_of_no_use_is_begun_afresh(tmp_path, damage):
    path = tmp_path / "hr.u8"
    with pytest.raises(Killed):
        build(path, Source(killed_at=3))
    if damage == "journal":
        (tmp_path / JOURNAL).write_bytes(b"\xff\xfe")
    elif damage == "no part":
        (tmp_path / PART).unlink()
    elif damage == "short part":
        (tmp_path / PART).write_bytes(b"x")
    source = Source()
    build(path, source, plan="other" if damage == "plan" else "plan")
    assert source.asked == [0, 1, 2, 3, 4]
    assert finish_pixels(path, "key", SHAPES, compress=True).offsets[0] == 0


def test_a_kill_before_the_first_image_leaves_nothing(tmp_path):
    with pytest.raises(Killed):
        build(tmp_path / "hr.u8", Source(killed_at=0))
    assert files(tmp_path) == []


def test_bad_images_are_reported_and_take_no_room(tmp_path):
    path = tmp_path / "hr.u8"
    done, bad = build(path, Source(bad=(0, 3)))
    assert sorted(done) == [1, 2, 4] and sorted(bad) == [0, 3] and str(bad[3]) == "is bad"
    store = finish_pixels(path, "key", SHAPES, [1, 2, 4], compress=True)
    assert store.offsets[0] == 0 and store.num_bytes == (tmp_path / FILE).stat().st_size
    for position, i in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(store.image(position), pixels(i))


def test_bad_images_alone_leave_nothing(tmp_path):
    done, bad = build(tmp_path / "hr.u8", Source(bad=(0, 1, 2, 3, 4)))
    assert done == {} and len(bad) == 5 and files(tmp_path) == []


def test_an_image_of_another_shape_is_bad(tmp_path):
    done, bad = build(tmp_path / "hr.u8", lambda i: (np.zeros((3, 4, 3), dtype=np.uint8), "x"))
    assert sorted(done) == [0]
    assert str(bad[3]) == f"decodes to (3, 4, 3), not to {SHAPES[3]}"


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from srprune.core.errors import StorageError
from srprune.images.pixels import build_pixels

def fill(i):
    return np.random.default_rng(i).integers(256, size=(100, 100, 3), dtype=np.uint8), "x"

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)  # as if the disk were full
try:
    shapes = [(100, 100)] * 4
    build_pixels(Path(sys.argv[1]), "plan", shapes, fill, compress=True, label="x", workers=2)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(("room", "left"), [(20_000, []), (50_000, [JOURNAL, PART])])
def test_a_full_disk_keeps_what_is_finished(tmp_path, room, left):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path / "hr.u8", str(room)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"no space left to write {tmp_path / FILE}"), done.stderr
    assert files(tmp_path) == left


# --- opening ---


@pytest.mark.parametrize("compress", [False, True])
def test_whichever_is_there_is_opened(tmp_path, compress):
    built(tmp_path, compress)
    store = open_pixels(tmp_path / "hr.u8", "key", SHAPES)
    assert isinstance(store, PackedStore) == compress
    np.testing.assert_array_equal(store.image(1), pixels(1))


@pytest.mark.parametrize("compress", [False, True])
def test_one_form_takes_the_place_of_the_other(tmp_path, compress):
    built(tmp_path, not compress)
    with pytest.raises(Killed):
        build(tmp_path / "hr.u8", Source(killed_at=2), compress=not compress)
    built(tmp_path, compress)
    name = FILE if compress else "hr.u8"
    assert files(tmp_path) == [name, name + ".json"]


def test_of_both_the_one_with_the_pixels_asked_for_is_opened(tmp_path):
    built(tmp_path / "other", compress=True)
    built(tmp_path, compress=False)
    for name in (FILE, FILE + ".json"):
        (tmp_path / "other" / name).rename(tmp_path / name)
    assert isinstance(open_pixels(tmp_path / "hr.u8", "key", SHAPES), PackedStore)
    description = json.loads((tmp_path / (FILE + ".json")).read_text())
    (tmp_path / (FILE + ".json")).write_text(json.dumps({**description, "key": "other"}))
    assert not isinstance(open_pixels(tmp_path / "hr.u8", "key", SHAPES), PackedStore)
    remove_pixels(tmp_path / "hr.u8")
    assert files(tmp_path) == ["other"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_part_can_be_discarded(tmp_path, compress):
    built(tmp_path, compress)
    before = files(tmp_path)
    build(tmp_path / "hr.u8", Source(), compress=compress)
    discard_part(tmp_path / "hr.u8")
    assert files(tmp_path) == before


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(MissingArtifact, match=r"hr\.u8 are not there\. Run 'srprune extract'"):
        open_pixels(tmp_path / "hr.u8", "key", SHAPES)


def test_another_key(tmp_path):
    built(tmp_path)
    with pytest.raises(MissingArtifact, match="those of key, but other is at hand"):
        open_pixels(tmp_path / "hr.u8", "other", SHAPES)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "key", "num_bytes": 3}'])
def test_a_damaged_description(tmp_path, text):
    built(tmp_path)
    (tmp_path / (FILE + ".json")).write_text(text)
    with pytest.raises(MissingArtifact, match=r"hr\.u8\.zst are not there"):
        open_pixels(tmp_path / "hr.u8", "key", SHAPES)


def test_another_coding(tmp_path):
    built(tmp_path)
    file = tmp_path / (FILE + ".json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "coding": "rle"}))
    with pytest.raises(ArtifactError, match=r"is packed as rle; this srprune reads .*Delete it"):
        open_pixels(tmp_path / "hr.u8", "key", SHAPES)


def test_a_file_of_another_length(tmp_path):
    size = built(tmp_path).num_bytes
    (tmp_path / FILE).write_bytes(bytes(size - 1))
    with pytest.raises(ArtifactError, match=f"has {size - 1} bytes; {size} were expected"):
        open_pixels(tmp_path / "hr.u8", "key", SHAPES)


# --- reading ---


@pytest.mark.parametrize("how", ["image", "crop"])
def test_damage_is_one_line_that_names_the_image(tmp_path, how):
    store = built(tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(store.offsets[3] + 30)
        file.write(b"damage")
    store = open_pixels(tmp_path / "hr.u8", "key", SHAPES, NAMES)
    with pytest.raises(ArtifactError) as caught:
        store.image(3) if how == "image" else store.crop(3, 2, 1, 5)
    assert str(caught.value) == (
        f"the pixels of d.png in {tmp_path / FILE} are damaged. Delete that file and run "
        "'srprune extract --compress' on the same images again."
    )
    np.testing.assert_array_equal(store.image(1), pixels(1))  # the others are whole


@settings(max_examples=60, deadline=None)
@given(top=st.integers(0, 2 * BAND + 4), left=st.integers(0, 19), size=st.integers(1, 20))
def test_crops_are_those_of_the_image(tmp_path_factory, top, left, size):
    folder = tmp_path_factory.getbasetemp() / "crops"
    store = open_pixels(folder / "hr.u8", "key", SHAPES) if folder.exists() else built(folder)
    top, left = min(top, SHAPES[1][0] - size), min(left, SHAPES[1][1] - size)
    expected = pixels(1)[top : top + size, left : left + size]
    np.testing.assert_array_equal(store.crop(1, top, left, size), expected)


def test_a_crop_reads_only_its_bands(tmp_path):
    store = built(tmp_path)
    last = store.offsets[2] - 1  # the lowest band of image 1
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(last)
        file.write(b"?")
    store = open_pixels(tmp_path / "hr.u8", "key", SHAPES)
    np.testing.assert_array_equal(store.crop(1, BAND, 0, 20), pixels(1)[BAND : BAND + 20])
    with pytest.raises(ArtifactError):
        store.crop(1, 2 * BAND, 0, 5)


def test_memory_is_bounded(tmp_path, monkeypatch):
    band = BAND * 9 * 3
    monkeypatch.setattr(packed_store, "CACHE_BYTES", 2 * band)
    store = built(tmp_path)
    for _ in range(3):
        for i, (height, width) in enumerate(SHAPES):
            for top in range(0, height, 3):
                side = min(3, height - top, width)
                expected = pixels(i)[top : top + side, :side]
                np.testing.assert_array_equal(store.crop(i, top, 0, side), expected)
                held = [pixels_.size for pixels_ in store._bands.values()]
                assert sum(held) == store._cached and (sum(held) <= 2 * band or len(held) == 1)


def test_threads_do_not_disturb_each_other(tmp_path):
    store = built(tmp_path)

    def read(i: int) -> bool:
        side = min(SHAPES[i])
        whole = np.array_equal(store.image(i), pixels(i))
        return whole and np.array_equal(store.crop(i, 0, 0, side), pixels(i)[:side, :side])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, [i % 5 for i in range(200)]))
