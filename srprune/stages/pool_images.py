"""The images of a pool by the name of a data set: found beside the benchmarks, or downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from srprune.core.progress import Progress, silent
from srprune.images.benchmarks import PHOTOS
from srprune.images.datasets import DATASETS
from srprune.stages.download import download, plan

PART = "train_hr"


def find_images(
    images: str,
    roots: Sequence[Path],
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> str:
    """A folder as it is, ``photos``, or the training images of a data set.

    A data set is looked for in the roots and in their ``train`` folders; where it is in none, it is
    downloaded into the first.

    Args:
        images: as a config names them.
        roots: where data are.
        tell: told before a download.
        progress: told while it goes on.

    Raises:
        UserError: what :func:`srprune.stages.download.download` raises.
    """
    dataset = DATASETS.get(images.lower())
    if images == PHOTOS or Path(images).is_dir() or dataset is None or PART not in dataset.parts:
        return images
    folder = dataset.parts[PART].folder
    for root in roots:
        for base in (root, root / "train"):
            if (base / folder).is_dir():
                return str(base / folder)
    out = roots[0]
    tell(f"{dataset.title} is in none of {', '.join(map(str, roots))}: downloading it into {out}")
    jobs = plan([images], out, parts=[PART])
    download(jobs, out, progress=progress)
    return str(jobs[0].folder)
