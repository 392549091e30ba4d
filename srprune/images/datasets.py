"""Data sets that ``srprune download`` knows: where they are, how large, under which terms.

Sizes and SHA-256 of DIV2K are those that TensorFlow Datasets pins:
https://github.com/tensorflow/datasets/blob/64fa5464e5ccd52efa9bf2541e4b0235fc79d649/tensorflow_datasets/datasets/div2k/checksums.tsv
The Git LFS pointers of https://huggingface.co/datasets/goodfellowliu/DIV2K (commit d8a7b7e) name
the same size and SHA-256 for the four archives of the training set.

Size and SHA-256 of EDSR's ``benchmark.tar``, which holds four benchmarks, are those in
https://github.com/YeapJieShen/single-image-super-resolution/blob/9bff979566c7cbb841200ad540932feb0833ba8d/tests/reference/fetch_urban100.py
The folders inside it are those that torchSR reads:
https://github.com/Coloquinte/torchSR/blob/99674a4460bab19e90dd69efab1d33c9006e9562/torchsr/datasets/benchmarks.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from srprune.images.benchmarks import BENCHMARKS


@dataclass(frozen=True)
class Archive:
    """A zip or tar file on a server.

    Attributes:
        name: of the file; its ending tells how it is read.
        base: address of the folder that it is in; a mirror replaces this.
        size: bytes.
        sha256: 64 hex digits, or None where nobody has published them.
    """

    name: str
    base: str
    size: int
    sha256: str | None

    def url(self, mirror: str | None = None) -> str:
        """Address of the file, at the source or at a mirror."""
        return f"{(mirror or self.base).rstrip('/')}/{self.name}"


@dataclass(frozen=True)
class Part:
    """A folder of images inside an archive.

    Attributes:
        archive: where it comes from.
        inside: path of the folder in the archive.
        folder: path that it gets below the user's folder.
        num_images: how many images it holds, exactly.
    """

    archive: Archive
    inside: str
    folder: str
    num_images: int


@dataclass(frozen=True)
class Dataset:
    """A data set under its id.

    Attributes:
        title: name as printed in papers.
        terms: one line: what the images may be used for, and who says so.
        parts: by name; none where the data set may not be fetched by a program.
        default: names of the parts that are fetched when none is named.
        ask: where to ask for it, for a data set without parts.
    """

    title: str
    terms: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    default: tuple[str, ...] = ()
    ask: str = ""


_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
_EDSR = Archive(
    "benchmark.tar",
    "https://cv.snu.ac.kr/research/EDSR",
    250_112_000,
    "80c21c333bbf6ceb5308b7243761f8284478274413a97b96f1d63e9045fd93e8",
)


def _div2k(name: str, folder: str, num_images: int, size: int, sha256: str) -> Part:
    """A part of DIV2K; its archives hold the folder under the name that it keeps."""
    return Part(Archive(f"{name}.zip", _DIV2K, size, sha256), folder, folder, num_images)


def _benchmark(name: str, inside: str, terms: str) -> Dataset:
    """A benchmark out of EDSR's archive; LR is made from HR, as MATLAB makes it."""
    spec = BENCHMARKS[name]
    hr = Part(_EDSR, f"benchmark/{inside}/HR", f"{spec.title}/HR", spec.num_images)
    return Dataset(spec.title, f"{spec.about}; {terms}", {"hr": hr}, ("hr",))


DATASETS: dict[str, Dataset] = {
    "div2k": Dataset(
        "DIV2K",
        "Agustsson and Timofte, CVPRW 2017; for academic research only, the images stay their "
        "owners' (https://data.vision.ee.ethz.ch/cvl/DIV2K/)",
        {
            "train_hr": _div2k(
                "DIV2K_train_HR",
                "DIV2K_train_HR",
                800,
                3_530_603_713,
                "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
            ),
            "train_lr_x2": _div2k(
                "DIV2K_train_LR_bicubic_X2",
                "DIV2K_train_LR_bicubic/X2",
                800,
                925_390_592,
                "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850",
            ),
            "train_lr_x3": _div2k(
                "DIV2K_train_LR_bicubic_X3",
                "DIV2K_train_LR_bicubic/X3",
                800,
                427_847_282,
                "ad5c8e5507e2765823d3c2c5bd0934842efcd487c5370604c224090898b3163a",
            ),
            "train_lr_x4": _div2k(
                "DIV2K_train_LR_bicubic_X4",
                "DIV2K_train_LR_bicubic/X4",
                800,
                246_914_039,
                "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a",
            ),
            "valid_hr": _div2k(
                "DIV2K_valid_HR",
                "DIV2K_valid_HR",
                100,
                448_993_893,
                "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
            ),
            "valid_lr_x2": _div2k(
                "DIV2K_valid_LR_bicubic_X2",
                "DIV2K_valid_LR_bicubic/X2",
                100,
                117_763_600,
                "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57",
            ),
            "valid_lr_x3": _div2k(
                "DIV2K_valid_LR_bicubic_X3",
                "DIV2K_valid_LR_bicubic/X3",
                100,
                54_513_392,
                "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3",
            ),
            "valid_lr_x4": _div2k(
                "DIV2K_valid_LR_bicubic_X4",
                "DIV2K_valid_LR_bicubic/X4",
                100,
                31_505_881,
                "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553",
            ),
        },
        ("train_hr", "valid_hr"),
    ),
    "set5": _benchmark("set5", "Set5", "no licence is stated, used for research"),
    "set14": _benchmark("set14", "Set14", "no licence is stated, used for research"),
    "bsd100": _benchmark(
        "bsd100",
        "B100",
        "for non-commercial research and education "
        "(https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/)",
    ),
    "urban100": _benchmark(
        "urban100",
        "Urban100",
        "photographs from Flickr, CC BY 4.0 (https://huggingface.co/datasets/eugenesiow/Urban100)",
    ),
    "manga109": Dataset(
        "Manga109",
        "Matsui et al., 2017; for academic use only, must not be passed on to others "
        "(http://www.manga109.org/en/download.html)",
        ask="https://huggingface.co/datasets/hal-utokyo/Manga109",
    ),
}
