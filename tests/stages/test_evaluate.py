"""What is measured: the same files, each benchmark once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.results import EvalTable  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.evaluation.run import Subject  # noqa: E402
from srprune.images.benchmarks import find_benchmark, photos_folder  # noqa: E402
from srprune.models.restorer import BicubicRestorer  # noqa: E402
from srprune.stages.evaluate import (  # noqa: E402
    Candidate,
    evaluate_model,
    files_of,
    find_benchmarks,
    own_folders,
)

CPU = torch.device("cpu")


def folder_of(root: Path, name: str) -> Path:
    root.mkdir()
    shutil.copyfile(photos_folder() / name, root / "image.png")
    return root


def test_copies_of_other_dates_are_the_same_files_and_other_bytes_are_not(tmp_path: Path) -> None:
    one, two = (folder_of(tmp_path / each, "camera.png") for each in ("a", "b"))
    os.utime(two / "image.png", ns=(1, 1))

    def fingerprints() -> list[list[str]]:
        return [list(files_of([find_benchmark(str(each), [])]).values()) for each in (one, two)]

    first, second = fingerprints()
    assert first == second
    raw = bytearray((two / "image.png").read_bytes())
    raw[-20] ^= 1
    (two / "image.png").write_bytes(raw)  # as many bytes as before, at another date
    same, other = fingerprints()
    assert same == first and other != first


def test_a_benchmark_is_named_once(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "Own").mkdir(parents=True)
        Image.new("RGB", (24, 24)).save(tmp_path / place / "Own" / "a.png")
    names = [str(tmp_path / place / "Own") for place in ("one", "two")]
    with pytest.raises(InputError, match=r"two benchmarks are called Own .*rename its folder"):
        find_benchmarks(names, [])
    with pytest.raises(InputError, match="two benchmarks are called photos"):
        find_benchmarks(["photos", "photos"], [])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of two small images, whose names differ in their endings alone."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name, colour in (("x.png", "red"), ("x.bmp", "blue")):
        Image.new("RGB", (24, 24), colour).save(folder / name)
    return folder


class Bicubic(BicubicRestorer):
    """Under another name, and on request without room."""

    def __init__(self, name: str, room: bool = True) -> None:
        super().__init__(2)
        self.name, self.room = name, room

    def __call__(self, lr_BChw: torch.Tensor) -> torch.Tensor:
        if not self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5 GiB.")
        return super().__call__(lr_BChw)


def candidate(name: str = "own", room: bool = True) -> Candidate:
    return Candidate(Subject(Bicubic(name, room), name), {})


def measure(folder: Path, model: Candidate, **more: object) -> EvalTable:
    benchmarks, workspace = [find_benchmark(str(folder), [])], Workspace(folder.parent / "w")
    given = {"protocol": "rgb8@1", "device": CPU, **more}
    return evaluate_model(model, benchmarks, workspace, **given)  # type: ignore[arg-type]


def test_images_whose_names_differ_in_their_endings_are_saved_apart(small: Path) -> None:
    measure(small, candidate(), save_images=small.parent / "sr")
    for name, colour in (("x.png", (255, 0, 0)), ("x.bmp", (0, 0, 255))):
        with Image.open(small.parent / "sr" / "small" / f"{name}.png") as sr:
            assert sr.getpixel((12, 12)) == colour


def test_pictures_of_several_models_stand_apart(tmp_path: Path) -> None:
    one, other = candidate("one"), candidate("other")
    assert own_folders([one], tmp_path) == [tmp_path]
    assert own_folders([one, other], tmp_path) == [tmp_path / "one_x2", tmp_path / "other_x2"]
    assert own_folders([one, one], None) == [None, None]
    with pytest.raises(InputError, match=r"two models are called one_x2, so .* one after the"):
        own_folders([one, other, candidate("one")], tmp_path)


def test_texts_beside_a_table_are_never_those_of_an_earlier_one(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the table and its texts, which then are written the next time."""
    measure(small, candidate())
    (path,) = (small.parent / "w" / "results").glob("*.parquet")
    texts = [path.with_suffix(ending) for ending in (".csv", ".json")]
    Image.new("RGB", (24, 24), "white").save(small / "y.png")

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("srprune.stages.evaluate.csv_text", killed)
        with pytest.raises(KeyboardInterrupt):
            measure(small, candidate())
    assert "y.png" in {row.image for row in EvalTable.read(path).rows}
    assert not any(text.exists() for text in texts)
    for lost in texts:
        measure(small, candidate())
        assert all("y.png" in text.read_text() for text in texts)
        lost.unlink()


def test_no_memory_says_that_tiles_help(small: Path) -> None:
    with pytest.raises(InputError, match=r"not enough memory\. .*give eval --tile N"):
        measure(small, candidate(room=False))
