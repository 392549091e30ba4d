"""Dataset blocks of trainers' option files, ready to paste.

Keys as their own code reads them: BasicSR 8d56e3a (``basicsr/data/paired_image_dataset.py``), KAIR
fc1732f (``data/dataset_sr.py``), traiNNer-redux 6862931
(``traiNNer/data/paired_image_dataset.py``), neosr 31c7022 (``neosr/data/paired_dataset.py``).
Batch sizes and worker counts are those of their SwinIR or EDSR examples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LR_CROP = 48  # LR px, as in SwinIR's and EDSR's training


@dataclass(frozen=True)
class Roots:
    """Where the pairs of one scale stand.

    Attributes:
        name: of the core-set.
        scale: 2, 3 or 4.
        size: side of a patch, HR px.
        hr: absolute path of the HR folder or LMDB.
        lr: absolute path of the LR folder or LMDB.
        meta_info: BasicSR's list of files, if there is one.
        lmdb: whether the roots are LMDBs.
    """

    name: str
    scale: int
    size: int
    hr: Path
    lr: Path
    meta_info: Path | None = None
    lmdb: bool = False

    @property
    def lr_crop(self) -> int:
        """Side of a training crop, LR px; at most the patch."""
        return min(LR_CROP, self.size // self.scale)

    @property
    def hr_crop(self) -> int:
        """Side of a training crop, HR px."""
        return self.lr_crop * self.scale


def basicsr(roots: Roots) -> str:
    """YAML of BasicSR."""
    meta_info = (
        [f"    meta_info_file: {_quoted(roots.meta_info)}"] if roots.meta_info is not None else []
    )
    return _lines(
        f"scale: {roots.scale}",
        "",
        "datasets:",
        "  train:",
        f"    name: {json.dumps(roots.name)}",
        "    type: PairedImageDataset",
        f"    dataroot_gt: {_quoted(roots.hr)}",
        f"    dataroot_lq: {_quoted(roots.lr)}",
        *meta_info,
        "    filename_tmpl: '{}'",
        "    io_backend:",
        f"      type: {'lmdb' if roots.lmdb else 'disk'}",
        "",
        f"    gt_size: {roots.hr_crop}",
        "    use_hflip: true",
        "    use_rot: true",
        "",
        "    use_shuffle: true",
        "    num_worker_per_gpu: 6",
        "    batch_size_per_gpu: 16",
        "    dataset_enlarge_ratio: 100  # workers start anew less often; steps are total_iter",
        "    prefetch_mode: ~",
    )


def kair(roots: Roots) -> str:
    """JSON of KAIR; every key that its reader asks for, since it takes a missing one as null."""
    train = {
        "name": "train_dataset",
        "dataset_type": "sr",
        "dataroot_H": str(roots.hr),
        "dataroot_L": str(roots.lr),
        "H_size": roots.hr_crop,
        "dataloader_shuffle": True,
        "dataloader_num_workers": 16,
        "dataloader_batch_size": 32,
    }
    whole = {"scale": roots.scale, "n_channels": 3, "datasets": {"train": train}}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def trainner_redux(roots: Roots) -> str:
    """YAML of traiNNer-redux; it refuses keys that it does not know."""
    return _lines(
        f"scale: {roots.scale}",
        "",
        "datasets:",
        "  train:",
        f"    name: {json.dumps(roots.name)}",
        "    type: pairedimagedataset",
        "    dataroot_gt: [",
        f"      {_quoted(roots.hr)}",
        "    ]",
        "    dataroot_lq: [",
        f"      {_quoted(roots.lr)}",
        "    ]",
        "    filename_tmpl: '{}'",
        "    io_backend:",
        "      type: disk",
        "",
        f"    lq_size: {roots.lr_crop}",
        "    use_hflip: true",
        "    use_rot: true",
        "",
        "    num_worker_per_gpu: 8",
        "    batch_size_per_gpu: 8",
        "    accum_iter: 1",
    )


def neosr(roots: Roots) -> str:
    """TOML of neosr; its ``patch_size`` counts LR px."""
    return _lines(
        f"scale = {roots.scale}",
        "",
        "[datasets.train]",
        'type = "paired"',
        f"dataroot_gt = {_literal(roots.hr)}",
        f"dataroot_lq = {_literal(roots.lr)}",
        f"patch_size = {roots.lr_crop}",
        "batch_size = 8",
    )


BLOCKS: dict[str, tuple[str, Callable[[Roots], str]]] = {
    "basicsr": (".yml", basicsr),
    "kair": (".json", kair),
    "traiNNer-redux": (".yml", trainner_redux),
    "neosr": (".toml", neosr),
}


@dataclass(frozen=True)
class Layout:
    """Where the pairs of a form stand in its folder, and whose blocks say so.

    Attributes:
        trainers: that get a block for each scale.
        hr: HR folder or LMDB, relative.
        lr: LR folder or LMDB of a scale, relative; ``{}`` is the scale.
        meta_info: BasicSR's list of files, if there is one.
        lmdb: whether the pairs are LMDBs.
    """

    trainers: Sequence[str]
    hr: str = "HR"
    lr: str = "LR_bicubic/X{}"
    meta_info: str | None = None
    lmdb: bool = False


LAYOUTS = {
    "folder": Layout(tuple(BLOCKS), meta_info="meta_info.txt"),
    "basicsr": Layout(("basicsr",), meta_info="meta_info.txt"),
    "basicsr-lmdb": Layout(("basicsr", "neosr"), "HR.lmdb", "LR_bicubic_X{}.lmdb", lmdb=True),
    "kair": Layout(("kair",)),
    "neosr": Layout(("neosr",)),
    "traiNNer-redux": Layout(("traiNNer-redux",)),
}


def blocks_of(
    form: str, place: Path, *, name: str, size: int, scales: Sequence[int]
) -> dict[str, str]:
    """All dataset blocks of an export, such as ``basicsr_x2.yml``, by file name.

    Args:
        form: in which it is written; those for no trainer have none.
        place: absolute path of the exported folder.
        name: of the core-set.
        size: side of a patch, HR px.
        scales: of the LR patches.
    """
    blocks: dict[str, str] = {}
    layout = LAYOUTS.get(form, Layout(()))
    for scale in scales:
        roots = Roots(
            name=name,
            scale=scale,
            size=size,
            hr=place / layout.hr,
            lr=place / layout.lr.format(scale),
            meta_info=place / layout.meta_info if layout.meta_info else None,
            lmdb=layout.lmdb,
        )
        for trainer in layout.trainers:
            ending, block = BLOCKS[trainer]
            blocks[f"{trainer}_x{scale}{ending}"] = block(roots)
    return blocks


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    """A path as a double-quoted string, which YAML and TOML share with JSON."""
    return json.dumps(str(path), ensure_ascii=False)


def _literal(path: Path) -> str:
    """A path as a string of TOML: between single quotes, backslashes stay as they are."""
    return _quoted(path) if "'" in str(path) else f"'{path}'"
