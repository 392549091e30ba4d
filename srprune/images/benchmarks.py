"""Benchmarks: named folders of HR images to measure on. Never train on them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srprune.core.errors import InputError, MissingArtifact
from srprune.core.names import unknown
from srprune.images.decode import list_images


@dataclass(frozen=True)
class BenchmarkSpec:
    """What a benchmark is.

    Attributes:
        title: name as printed in papers.
        folders: folder names under which it is found, below a root.
        num_images: how many images the published figures average over.
        about: one line: origin and terms.
    """

    title: str
    folders: tuple[str, ...]
    num_images: int
    about: str


BENCHMARKS: dict[str, BenchmarkSpec] = {
    "set5": BenchmarkSpec("Set5", ("Set5", "set5"), 5, "Bevilacqua et al., BMVC 2012"),
    "set14": BenchmarkSpec("Set14", ("Set14", "set14"), 14, "Zeyde et al., 2010"),
    "bsd100": BenchmarkSpec(
        "BSD100", ("BSD100", "B100", "BSDS100", "bsd100"), 100, "Martin et al., ICCV 2001"
    ),
    "urban100": BenchmarkSpec("Urban100", ("Urban100", "urban100"), 100, "Huang et al., CVPR 2015"),
    "manga109": BenchmarkSpec(
        "Manga109", ("Manga109", "manga109"), 109, "Matsui et al., 2017; on request, academic use"
    ),
}
PAPER = ("set5", "set14", "bsd100", "urban100")
INNER = ("HR", "GTmod12")  # folders of HR images inside that of a benchmark

# Photographs inside scikit-image's wheel: always there, offline. Held out: the four that no
# demo trains on. The two motorcycle images are a stereo pair, so both stand on one side.
PHOTOS_TRAIN = (
    "astronaut.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
)
PHOTOS_HELD_OUT = ("camera.png", "chelsea.png", "coffee.png", "rocket.jpg")
PHOTOS = "photos"
PHOTOS_TITLE = "Photos (held out)"


@dataclass(frozen=True)
class Benchmark:
    """Images to measure on, found on disk.

    Attributes:
        name: id such as ``set5``, or the name of the folder.
        title: for people.
        folder: where the images are.
        images: paths relative to ``folder``, sorted.
    """

    name: str
    title: str
    folder: Path
    images: tuple[str, ...]

    def picture(self, image: str) -> Path:
        """Where a picture that was made of an image goes, below any folder: ``NAME/IMAGE.png``.

        Where ``x.png`` and ``x.jpg`` are among the images, all keep their endings before it.
        """
        path = Path(self.name, image)
        alike = len({Path(each).with_suffix("") for each in self.images}) < len(self.images)
        return path.with_name(f"{path.name}.png") if alike else path.with_suffix(".png")


def photos_folder() -> Path:
    """The folder of the photographs inside scikit-image.

    Raises:
        InputError: scikit-image is not installed, or without its images.
    """
    spec = importlib.util.find_spec("skimage")  # found, not imported: that takes a second
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0], "data") if places else Path()
    missing = [name for name in PHOTOS_TRAIN + PHOTOS_HELD_OUT if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"the embedded photographs need scikit-image with its data; {missing[0]} is missing "
            "there. Install it again: pip install --force-reinstall scikit-image."
        )
    return folder


def check_typed(name: str) -> None:
    """Refuse the word ``photos`` from a person in whose folder there is one of that name.

    In a config it is no riddle: those that come with srprune mean the embedded photographs.

    Raises:
        InputError: it may mean either.
    """
    if name == PHOTOS and Path(PHOTOS).is_dir():
        raise InputError(
            f"{PHOTOS} names the photographs inside scikit-image, but there is a folder of that "
            f"name here. Write ./{PHOTOS} for the folder, or run this in another folder for the "
            "photographs."
        )


def find_benchmark(name: str, roots: Sequence[Path]) -> Benchmark:
    """Find a benchmark by id, or take any folder of HR images.

    Args:
        name: ``set5``, ``set14``, ``bsd100``, ``urban100``, ``manga109``, ``photos``, or a folder.
        roots: folders that are searched for ``<Title>/HR``, ``<Title>/GTmod12`` or ``<Title>``,
            themselves or in their ``benchmark`` folder.

    Raises:
        UnknownName: neither a known id nor a folder.
        MissingArtifact: a known benchmark that is in none of the roots.
        InputError: a known benchmark with more or fewer images than published figures have.
    """
    if name == PHOTOS:
        return Benchmark(PHOTOS, PHOTOS_TITLE, photos_folder(), PHOTOS_HELD_OUT)
    if name.lower() in BENCHMARKS:
        spec = BENCHMARKS[name.lower()]
        for root in roots:
            for base in (root, root / "benchmark", root / "benchmarks"):
                for title in spec.folders:
                    for folder in (*(base / title / inner for inner in INNER), base / title):
                        if folder.is_dir():
                            return _complete(name.lower(), spec, folder)
        searched = ", ".join(map(str, roots)) or "nowhere"
        raise MissingArtifact(
            f"benchmark {spec.title} was not found (searched: {searched}). Put its HR images into "
            f"ROOT/{spec.title}/HR and give --data ROOT, or set SRPRUNE_DATA."
        )
    folder = Path(name)
    if folder.is_dir():
        return Benchmark(known_as(name), known_as(name), folder, tuple(list_images(folder)))
    if folder.name != name:  # written like a path
        raise InputError(f"there is no folder {name} to evaluate on.")
    raise unknown("benchmark", name, [*BENCHMARKS, PHOTOS])


def known_as(name: str) -> str:
    """The name that a benchmark has in tables, whether its files are here or not.

    A folder has its own name; one that only says which images they are, its parent's: those of
    ``General100/HR`` are ``General100``. A folder ``photos`` is no benchmark of that name.

    Args:
        name: as :func:`find_benchmark` takes it.
    """
    if name == PHOTOS or name.lower() in BENCHMARKS:
        return name.lower()
    folder = Path(name).resolve()
    own = folder.parent if folder.name in INNER and folder.parent.name else folder
    return f"{own.parent.name}_{PHOTOS}" if own.name == PHOTOS else own.name


def _complete(name: str, spec: BenchmarkSpec, folder: Path) -> Benchmark:
    """A known benchmark, if all of its images are there: other means would not compare."""
    images = tuple(list_images(folder))
    if len(images) != spec.num_images:
        raise InputError(
            f"{spec.title} has {spec.num_images} images, but {folder} holds {len(images)}. "
            f"Put exactly its HR images there, or name the folder itself: --benchmark {folder}."
        )
    return Benchmark(name, spec.title, folder, images)


def title_of(name: str) -> str:
    """What people call a benchmark; a folder keeps its name."""
    if name == PHOTOS:
        return PHOTOS_TITLE
    return BENCHMARKS[name].title if name in BENCHMARKS else name
