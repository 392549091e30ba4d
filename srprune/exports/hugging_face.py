"""An image folder with metadata, as ``datasets.load_dataset("imagefolder", data_dir=...)`` reads.

``metadata.jsonl`` stands in the folder of the images; each field ``X_file_name`` becomes the image
column ``X``, every other field a column of its own.
"""

from __future__ import annotations

import json

from srprune.exports.job import Job
from srprune.exports.patch_files import HR

SPLIT = "train"


def hf(job: Job) -> dict[int, str]:
    """Hugging Face image folder: ``train/metadata.jsonl`` beside ``train/hr`` and ``train/lr``."""
    words = {HR: "hr", **job.lr_names()}
    folders = {scale: f"{SPLIT}/{word}" for scale, word in words.items()}
    job.write_pngs(folders)
    lines = []
    for position, patch in enumerate(job.ids):
        name = job.files.names[int(patch)]
        paths = {f"{word}_file_name": f"{word}/{name}" for word in words.values()}
        lines.append(json.dumps({**paths, **job.facts(position)}) + "\n")
    (job.folder / SPLIT / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return folders
