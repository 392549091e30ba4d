"""Flat folders of PNG files with equal names: the one form that all four trainers read.

BasicSR, KAIR, traiNNer-redux and neosr pair HR and LR by file name or by sorted order; both agree
where the names are equal. Beside the folders stand a meta_info file, for BasicSR alone, and a
dataset block for each trainer.
"""

from __future__ import annotations

from collections.abc import Sequence

from srprune.exports.blocks import BLOCKS, Roots
from srprune.exports.job import Job
from srprune.exports.patch_files import HR

META_INFO = "meta_info.txt"


def folder(job: Job) -> dict[int, str]:
    """``HR``, ``LR_bicubic/X2`` and so on, meta_info, and a block for each trainer.

    Returns:
        Folders of PNG files by scale, relative; 1 is HR. So do all exports.
    """
    return _write(job, list(BLOCKS), meta_info=True)


def basicsr(job: Job) -> dict[int, str]:
    """Folders, meta_info and block for BasicSR."""
    return _write(job, ["basicsr"], meta_info=True)


def kair(job: Job) -> dict[int, str]:
    """Folders and block for KAIR."""
    return _write(job, ["kair"])


def neosr(job: Job) -> dict[int, str]:
    """Folders and block for neosr."""
    return _write(job, ["neosr"])


def trainner_redux(job: Job) -> dict[int, str]:
    """Folders and block for traiNNer-redux."""
    return _write(job, ["traiNNer-redux"])


def _write(job: Job, trainers: Sequence[str], *, meta_info: bool = False) -> dict[int, str]:
    folders = {HR: "HR", **{s: f"LR_bicubic/X{s}" for s in job.files.scales}}
    job.write_pngs(folders)
    if meta_info:
        lines = "".join(line + "\n" for line in job.meta_info())
        (job.folder / META_INFO).write_text(lines, encoding="utf-8")
    for scale in job.files.scales:
        roots = Roots(
            name=job.name,
            scale=scale,
            size=job.files.index.size,
            hr=job.place / folders[HR],
            lr=job.place / folders[scale],
            meta_info=job.place / META_INFO if meta_info else None,
        )
        write_blocks(job, trainers, roots)
    return folders


def write_blocks(job: Job, trainers: Sequence[str], roots: Roots) -> None:
    """Write the dataset blocks of trainers, such as ``basicsr_x2.yml``."""
    for trainer in trainers:
        ending, block = BLOCKS[trainer]
        path = job.folder / f"{trainer}_x{roots.scale}{ending}"
        path.write_text(block(roots), encoding="utf-8")
