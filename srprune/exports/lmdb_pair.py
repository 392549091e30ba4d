"""A pair of LMDBs in the form of BasicSR, which neosr reads, too.

Form: ``basicsr/utils/lmdb_util.py`` of BasicSR 8d56e3a. A folder whose name ends in ``.lmdb`` holds
``data.mdb`` and ``meta_info.txt`` with lines ``NAME.png (H,W,C) LEVEL``; the key is the name up to
the first dot, the value is the PNG file.
"""

from __future__ import annotations

from srprune.core.errors import MissingDependency, StorageError
from srprune.core.parallel import in_order
from srprune.exports.blocks import LAYOUTS
from srprune.exports.job import Job
from srprune.exports.patch_files import HR, LEVEL

FORM = "basicsr-lmdb"
PAGE = 4096  # an LMDB rounds each value up to pages
BATCH = 512  # patches a transaction: memory stays bounded


def basicsr_lmdb(job: Job) -> dict[int, str]:
    """``HR.lmdb``, ``LR_bicubic_X2.lmdb`` and so on, with blocks for BasicSR and neosr.

    Raises:
        MissingDependency: lmdb is not installed.
        StorageError: lmdb can't write, on a full disk or an unusual file system.
    """
    layout = LAYOUTS[FORM]
    names = {HR: layout.hr, **{s: layout.lr.format(s) for s in job.files.scales}}
    total = len(job.ids) * len(names)
    for before, (scale, name) in enumerate(names.items()):
        _write(job, scale, name, before * len(job.ids), total)
    job.write_blocks(FORM)
    return {}


def _write(job: Job, scale: int, name: str, before: int, total: int) -> None:
    try:
        import lmdb
    except ImportError:
        raise MissingDependency(
            "lmdb is not installed. Run: pip install 'srprune[export]'"
        ) from None

    patches = [int(patch) for patch in job.ids]
    raw = job.files.side(scale) ** 2 * 3
    # an upper bound of what PNG makes of it; the file grows only as far as it is filled
    most = len(patches) * (raw + raw // 16 + 4 * PAGE) * 11 // 10 + (1 << 20)
    try:
        with lmdb.open(str(job.folder / name), map_size=most) as environment:
            encoded = in_order(lambda patch: job.files.png(patch, scale), patches, job.workers)
            transaction = environment.begin(write=True)
            for count, (patch, png) in enumerate(encoded, start=1):
                key = job.files.names[patch].split(".")[0]
                transaction.put(key.encode("ascii"), png.result())
                if count % BATCH == 0:
                    transaction.commit()
                    transaction = environment.begin(write=True)
                job.progress("write patches", before + count, total)
            transaction.commit()
    except lmdb.Error as error:  # no OSError, and it tells the reason in words only
        raise StorageError(
            f"lmdb cannot write {job.place / name} ({str(error).rpartition(': ')[2]}). Free some "
            "space, or name another --out."
        ) from error
    lines = "".join(f"{line} {LEVEL}\n" for line in job.meta_info(scale))
    (job.folder / name / "meta_info.txt").write_text(lines, encoding="utf-8")
