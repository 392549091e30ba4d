"""The pixel store: filled in any order, resumed after a kill, and the same bytes every time."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import ArtifactError, ImageError, MissingArtifact, StorageError
from srprune.images.store import PixelStore, build_store, finish_store, open_store

SHAPES = [(3, 4), (5, 2), (1, 1), (4, 4), (2, 7)]
JOURNAL = "hr.u8.journal"
PART = "hr.u8.part"


class Killed(BaseException):
    """As a kill ends a fill: not an error that anything may catch and go on from."""


class Source:
    """Images that know who asked for them; some are bad, and some kill."""

    def __init__(self, bad: tuple[int, ...] = (), killed_after: int = 99) -> None:
        self.asked: list[int] = []
        self._bad = bad
        self._left = killed_after
        self._lock = threading.Lock()

    def __call__(self, i: int) -> tuple[npt.NDArray[np.uint8], str]:
        with self._lock:
            if self._left == 0:
                raise Killed
            self._left -= 1
            self.asked.append(i)
        if i in self._bad:
            raise ImageError("is bad")
        return pixels(i), f"word{i}"


def pixels(i: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(i).integers(256, size=(*SHAPES[i], 3), dtype=np.uint8)


def build(
    path: Path, fill: Source, plan: str = "plan", workers: int = 1
) -> tuple[dict[int, str], dict[int, ImageError]]:
    return build_store(path, plan, SHAPES, fill, label="x", workers=workers)


def built(folder: Path) -> PixelStore:
    build(folder / "hr.u8", Source())
    return finish_store(folder / "hr.u8", "key", SHAPES)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- building ---


@pytest.mark.parametrize("workers", [1, 3])
def test_a_store_holds_the_pixels_of_every_image(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "deep" / "hr.u8"
    reports: list[tuple[str, int, int]] = []
    done, bad = build_store(
        path, "plan", SHAPES, Source(), label="decode", workers=workers,
        progress=lambda label, done, total, note="": reports.append((label, done, total)),
    )  # fmt: skip
    assert done == {i: f"word{i}" for i in range(5)} and bad == {}
    assert reports[-1] == ("decode", 5, 5) and len(reports) == 5
    assert files(path.parent) == [JOURNAL, PART]
    store = finish_store(path, "key", SHAPES)
    assert files(path.parent) == ["hr.u8", "hr.u8.json"]
    assert len(store) == 5 and store.num_bytes == path.stat().st_size
    for i in range(5):
        np.testing.assert_array_equal(store.image(i), pixels(i))


def test_pixels_are_a_map_that_cannot_be_written(tmp_path: Path) -> None:
    store = built(tmp_path)
    np.testing.assert_array_equal(store.crop(3, 1, 2, 2), pixels(3)[1:3, 2:4])
    assert not store.image(0).flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        store.image(0)[0, 0, 0] = 1


def test_images_stand_one_after_the_other(tmp_path: Path) -> None:
    store = built(tmp_path)
    assert store.offsets == [0, 36, 66, 69, 117]
    np.testing.assert_array_equal(store.flat, np.concatenate([pixels(i).ravel() for i in range(5)]))
    assert isinstance(store.flat, np.memmap)
    assert np.shares_memory(store.flat, store.image(2))
    with pytest.raises(ValueError, match="read-only"):
        store.flat[0] = 1


def test_offsets_skip_the_holes_of_bad_images(tmp_path: Path) -> None:
    build(tmp_path / "hr.u8", Source(bad=(0, 3)))
    store = finish_store(tmp_path / "hr.u8", "key", SHAPES, [1, 2, 4])
    assert store.offsets == [36, 66, 117]
    assert len(store.flat) == 159 > store.num_bytes
    for i, start in zip((1, 2, 4), store.offsets, strict=True):
        np.testing.assert_array_equal(store.flat[start : start + pixels(i).size], pixels(i).ravel())


@settings(max_examples=25, deadline=None)
@given(kills=st.lists(st.integers(0, 4), max_size=4), workers=st.integers(1, 3))
def test_kills_cost_nothing_but_time(
    tmp_path_factory: pytest.TempPathFactory, kills: list[int], workers: int
) -> None:
    straight, path = (tmp_path_factory.mktemp("store") / "hr.u8" for _ in range(2))
    built(straight.parent)
    asked: list[int] = []
    for killed_after in kills:
        source = Source(killed_after=killed_after)
        dies = killed_after < 5 - len(asked)
        with pytest.raises(Killed) if dies else contextlib.nullcontext():
            build(path, source, workers=workers)
        asked += source.asked
    last = Source()
    build(path, last, workers=workers)
    assert sorted(asked + last.asked) == [0, 1, 2, 3, 4]  # none twice
    finish_store(path, "key", SHAPES)
    for name in ("hr.u8", "hr.u8.json"):
        assert path.with_name(name).read_bytes() == straight.with_name(name).read_bytes()


def test_a_kill_before_the_first_image_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build(tmp_path / "hr.u8", Source(killed_after=0))
    assert files(tmp_path) == []


@pytest.mark.parametrize("other", ["plan", "shapes"])
def test_another_plan_starts_afresh(tmp_path: Path, other: str) -> None:
    with pytest.raises(Killed):
        build(tmp_path / "hr.u8", Source(killed_after=3))
    source = Source()
    if other == "plan":
        build(tmp_path / "hr.u8", source, plan="other")
        assert source.asked == [0, 1, 2, 3, 4]
    else:
        build_store(tmp_path / "hr.u8", "plan", SHAPES[:4], source, label="x", workers=1)
        assert source.asked == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", [1, 2, 20, 40])
def test_a_line_of_the_journal_that_was_cut_off_is_done_again(tmp_path: Path, lost: int) -> None:
    path, journal = tmp_path / "hr.u8", tmp_path / JOURNAL
    with pytest.raises(Killed):
        build(path, Source(killed_after=3))
    text = journal.read_bytes()
    journal.write_bytes(text[:-lost])
    whole = sum(line.endswith(b"}") for line in text[:-lost].splitlines()[1:])
    source = Source(killed_after=1)
    with pytest.raises(Killed):
        build(path, source)
    assert source.asked == [whole]
    last = Source()
    build(path, last)
    assert last.asked == list(range(whole + 1, 5))  # the second kill lost nothing of the first
    store = finish_store(path, "key", SHAPES)
    assert all(np.array_equal(store.image(i), pixels(i)) for i in range(5))


@pytest.mark.parametrize("journal", [b"", b"{", b"[]\n", b"3\n", b"\xff\xfe", b"{}\n"])
def test_a_damaged_journal_starts_afresh(tmp_path: Path, journal: bytes) -> None:
    with pytest.raises(Killed):
        build(tmp_path / "hr.u8", Source(killed_after=3))
    (tmp_path / JOURNAL).write_bytes(journal)
    source = Source()
    build(tmp_path / "hr.u8", source)
    assert source.asked == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lost", ["one image", "the end", "everything"])
def test_pixels_that_a_loss_of_power_took_are_made_again(tmp_path: Path, lost: str) -> None:
    """The journal names four images, and the disk has kept fewer."""
    path, part = tmp_path / "hr.u8", tmp_path / PART
    with pytest.raises(Killed):
        build(path, Source(killed_after=4))
    kept = part.read_bytes()
    if lost == "one image":
        part.write_bytes(kept[:36] + bytes(30) + kept[66:])
    else:
        part.write_bytes(kept[: 68 if lost == "the end" else 0])
    source = Source()
    done, _ = build(path, source)
    again = {"one image": [1], "the end": [2, 3], "everything": [0, 1, 2, 3]}[lost]
    assert source.asked == [*again, 4]
    assert done == {i: f"word{i}" for i in range(5)}
    store = finish_store(path, "key", SHAPES)
    assert all(np.array_equal(store.image(i), pixels(i)) for i in range(5))


def test_bad_images_are_reported_and_leave_holes(tmp_path: Path) -> None:
    path = tmp_path / "hr.u8"
    done, bad = build(path, Source(bad=(0, 3)))
    assert sorted(done) == [1, 2, 4] and sorted(bad) == [0, 3]
    assert str(bad[3]) == "is bad"
    store = finish_store(path, "key", SHAPES, [1, 2, 4])
    again = open_store(path, "key", [SHAPES[i] for i in (1, 2, 4)])
    for position, i in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(store.image(position), pixels(i))
        np.testing.assert_array_equal(again.image(position), pixels(i))
    assert len(again) == 3


def test_bad_images_alone_leave_nothing(tmp_path: Path) -> None:
    done, bad = build(tmp_path / "hr.u8", Source(bad=(0, 1, 2, 3, 4)))
    assert done == {} and len(bad) == 5 and files(tmp_path) == []


def test_an_image_of_another_shape_is_bad(tmp_path: Path) -> None:
    def fill(i: int) -> tuple[npt.NDArray[np.uint8], str]:
        return np.zeros((4, 3, 3), dtype=np.uint8), "x"

    done, bad = build_store(tmp_path / "s", "p", [(3, 4), (4, 3)], fill, label="x", workers=1)
    assert sorted(done) == [1] and "decodes to (4, 3, 3), not to (3, 4)" in str(bad[0])


def test_other_errors_come_out(tmp_path: Path) -> None:
    def fill(i: int) -> tuple[npt.NDArray[np.uint8], str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build_store(tmp_path / "s", "p", SHAPES, fill, label="x", workers=2)
    assert files(tmp_path) == []


# --- opening ---


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"are not there\. Run 'srprune extract'"):
        open_store(tmp_path / "hr.u8", "key", SHAPES)


def test_another_key(tmp_path: Path) -> None:
    built(tmp_path)
    with pytest.raises(MissingArtifact, match="those of key, but other is at hand"):
        open_store(tmp_path / "hr.u8", "other", SHAPES)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"key": "key"}'])
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    built(tmp_path)
    (tmp_path / "hr.u8.json").write_text(text)
    with pytest.raises(MissingArtifact, match="are not there"):
        open_store(tmp_path / "hr.u8", "key", SHAPES)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_length(tmp_path: Path, change: int) -> None:
    size = built(tmp_path).num_bytes
    (tmp_path / "hr.u8").write_bytes(bytes(size + change))
    with pytest.raises(ArtifactError, match=f"has {size + change} bytes; {size} were expected"):
        open_store(tmp_path / "hr.u8", "key", SHAPES)


def test_finishing_over_an_older_store_replaces_it(tmp_path: Path) -> None:
    built(tmp_path)
    build(tmp_path / "hr.u8", Source(bad=(2,)), plan="other")
    finish_store(tmp_path / "hr.u8", "new", SHAPES, [0, 1, 3, 4])
    assert json.loads((tmp_path / "hr.u8.json").read_text())["key"] == "new"
    assert files(tmp_path) == ["hr.u8", "hr.u8.json"]


# --- no space ---

FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from srprune.core.errors import StorageError
from srprune.images.store import build_store

def fill(i):
    return np.zeros((100, 100, 3), np.uint8), "x"

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # as if the disk were full after that
try:
    build_store(Path(sys.argv[1]), "plan", [(100, 100)] * 4, fill, label="x", workers=2)
except StorageError as error:
    print(error)
"""


def test_a_full_disk_shows_before_any_image_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path / "hr.u8"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"no space left to write {tmp_path / 'hr.u8'}"), done.stderr
    assert files(tmp_path) == []


def test_more_pixels_than_the_disk_has_room_for_are_refused_at_once(tmp_path: Path) -> None:
    source = Source()
    with pytest.raises(StorageError, match=r"the pixels need 30000000\.0 GB, but .* free"):
        build_store(tmp_path / "hr.u8", "p", [(10**8, 10**8)], source, label="x", workers=1)
    assert source.asked == [] and files(tmp_path) == []
