"""Flat folders of PNG files with equal names: the one form that all four trainers read.

BasicSR, KAIR, traiNNer-redux and neosr pair HR and LR by file name or by sorted order; both agree
where the names are equal. Beside the folders stand a meta_info file, for BasicSR alone, and a
dataset block for each trainer.
"""

from __future__ import annotations

from srprune.exports.blocks import LAYOUTS
from srprune.exports.job import Job
from srprune.exports.patch_files import HR


def folder(job: Job) -> dict[int, str]:
    """``HR``, ``LR_bicubic/X2`` and so on, meta_info, and a block for each trainer.

    Returns:
        Folders of PNG files by scale, relative; 1 is HR. So do all exports.
    """
    return _write(job, "folder")


def basicsr(job: Job) -> dict[int, str]:
    """Folders, meta_info and block for BasicSR."""
    return _write(job, "basicsr")


def kair(job: Job) -> dict[int, str]:
    """Folders and block for KAIR."""
    return _write(job, "kair")


def neosr(job: Job) -> dict[int, str]:
    """Folders and block for neosr."""
    return _write(job, "neosr")


def trainner_redux(job: Job) -> dict[int, str]:
    """Folders and block for traiNNer-redux."""
    return _write(job, "traiNNer-redux")


def _write(job: Job, form: str) -> dict[int, str]:
    layout = LAYOUTS[form]
    folders = {HR: layout.hr, **{s: layout.lr.format(s) for s in job.files.scales}}
    job.write_pngs(folders)
    if layout.meta_info:
        lines = "".join(line + "\n" for line in job.meta_info())
        (job.folder / layout.meta_info).write_text(lines, encoding="utf-8")
    job.write_blocks(form)
    return folders
