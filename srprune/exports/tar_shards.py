"""Tar shards in the form of webdataset, which Hugging Face datasets reads, too.

The files of one sample stand next to each other and share their name up to the first dot:
``0001_s001.hr.png``, ``0001_s001.lr.png``, ``0001_s001.json``.
"""

from __future__ import annotations

import io
import json
import tarfile

from srprune.core.parallel import in_order
from srprune.exports.job import Job
from srprune.exports.patch_files import HR

SHARD = 1000  # patches a shard: about 300 MB of 480 px


def webdataset(job: Job) -> dict[int, str]:
    """Tar shards, ``coreset-000000.tar`` and so on, for webdataset and Hugging Face datasets.

    The same core-set with the same scores gives the same bytes.
    """
    words = {HR: "hr", **job.lr_names()}
    positions = range(len(job.ids))

    def encode(position: int) -> list[tuple[str, bytes]]:
        patch = int(job.ids[position])
        stem = job.files.names[patch].split(".")[0]
        pngs = [(f"{stem}.{word}.png", job.files.png(patch, s)) for s, word in words.items()]
        return [*pngs, (f"{stem}.json", json.dumps(job.facts(position)).encode())]

    for start in range(0, len(job.ids), SHARD):
        path = job.folder / f"coreset-{start // SHARD:06d}.tar"
        with tarfile.open(path, "w") as shard:
            part = positions[start : start + SHARD]
            for position, encoded in in_order(encode, part, job.workers):
                for name, data in encoded.result():
                    shard.addfile(_header(name, len(data)), io.BytesIO(data))
                job.progress("write patches", position + 1, len(job.ids))
    return {}


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Without date and owner, so that the bytes depend on the content alone."""
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header
