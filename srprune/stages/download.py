"""download: a data set's archives become folders of images, each with a receipt."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srprune.core.errors import ArtifactError, InputError
from srprune.core.lock import exclusive
from srprune.core.names import unknown
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.images.datasets import DATASETS, Dataset, Part
from srprune.images.downloads.address import check_address
from srprune.images.downloads.disk import check_space, sha256_of, writing
from srprune.images.downloads.fetch import Patience, Wanted, discard, fetch
from srprune.images.downloads.receipt import Receipt, check_images, read_receipt
from srprune.images.downloads.unpack import unpack


@dataclass(frozen=True)
class Job:
    """A part that is to be there in the end.

    Attributes:
        dataset: id of the data set.
        part: name of the part.
        spec: what the table says of it.
        terms: what the images may be used for.
        url: address of the archive, at the source or a mirror.
        folder: where the images go.
        there: whether an earlier download has finished it.
    """

    dataset: str
    part: str
    spec: Part
    terms: str
    url: str
    folder: Path
    there: bool


def plan(
    names: Sequence[str],
    out: Path,
    *,
    parts: Sequence[str] = (),
    mirror: str | None = None,
    table: Mapping[str, Dataset] = DATASETS,
) -> list[Job]:
    """Say what has to be done for data sets, without asking any server.

    Args:
        names: ids of data sets.
        out: folder that gets a folder for each part.
        parts: names of parts; without any, those that each data set has as a default.
        mirror: address of a folder that holds the archives, in place of the source's.
        table: the data sets.

    Raises:
        UnknownName: a data set or a part that is in no table.
        InputError: a data set that has to be asked for, or a mirror that is not safe.
        ArtifactError: a folder of that name is there, and not a finished download.
    """
    if mirror is not None:
        check_address(mirror)
    jobs: list[Job] = []
    for name in dict.fromkeys(name.lower() for name in names):
        if name not in table:
            raise unknown("data set", name, table)
        dataset = table[name]
        if not dataset.parts:
            raise InputError(
                f"{dataset.title} cannot be downloaded by a program: {dataset.terms}. Ask for it "
                f"at {dataset.ask} and put its images into {out / dataset.title / 'HR'}."
            )
        for part in dict.fromkeys(parts or dataset.default):
            if part not in dataset.parts:
                raise unknown(f"part of {name}", part, dataset.parts)
            spec = dataset.parts[part]
            folder = out / spec.folder
            there = os.path.lexists(folder) and bool(read_receipt(folder))
            url = spec.archive.url(mirror)
            jobs.append(Job(name, part, spec, dataset.terms, url, folder, there))
    return jobs


def download(
    jobs: Sequence[Job],
    out: Path,
    *,
    patience: Patience | None = None,
    progress: Progress = silent,
) -> list[Receipt]:
    """Fetch, check and unpack what is not there yet; check what is.

    An archive that several parts come from is fetched once. It is removed when they are unpacked,
    but for one that the user has put there: ``out``/NAME is taken in place of a download.

    Args:
        jobs: of :func:`plan`.
        out: the folder that they were planned for.
        patience: how long servers are waited for.
        progress: told how it goes on.

    Returns:
        The receipt of each job, in their order.

    Raises:
        UserError: a server, an archive, the disk or a finished download is at fault; the message
            names it. What has been fetched stays, for the next call to go on from.
    """
    receipts: dict[Path, Receipt] = {}
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with exclusive(out):
        for job in jobs:
            if job.there:
                receipts[job.folder] = read_receipt(job.folder)
                check_images(job.folder, receipts[job.folder], progress)
        for url in dict.fromkeys(job.url for job in jobs if not job.there):
            group = [job for job in jobs if job.url == url and not job.there]
            for receipt, job in zip(
                _one_archive(group, out, patience, progress), group, strict=True
            ):
                receipts[job.folder] = receipt
    return [receipts[job.folder] for job in jobs]


def _one_archive(
    group: Sequence[Job], out: Path, patience: Patience | None, progress: Progress
) -> list[Receipt]:
    """All jobs that need one archive."""
    archive, url = group[0].spec.archive, group[0].url
    own = out / archive.name
    part = out / f"{archive.name}.part"
    watch = Stopwatch()
    there = part.stat().st_size if part.exists() else 0
    # images hardly shrink in an archive, so they need as much again; unpack knows it exactly
    missing = archive.size if own.exists() else 2 * archive.size - there
    check_space(out, missing, f"{archive.name} and its images")
    if own.exists():
        seen = _check_own(own, archive.size, archive.sha256, progress)
        return [_unpack_one(job, own, seen, watch, progress) for job in group]
    wanted = Wanted(url, archive.size, archive.sha256)
    seen = fetch(wanted, part, patience=patience, progress=progress)
    try:
        receipts = [_unpack_one(job, part, seen, watch, progress) for job in group]
    except ArtifactError as error:
        if archive.sha256 is None:
            discard(part)  # whatever it is: the next call must not take it again
        raise ArtifactError(f"{error} It came from {url}; name another place with --mirror.") from (
            error
        )
    discard(part)
    return receipts


def _check_own(own: Path, size: int, sha256: str | None, progress: Progress) -> str:
    """SHA-256 of an archive that the user has put there, if it is the right one."""
    seen = sha256_of(own, progress) if own.stat().st_size == size else ""
    if not seen or sha256 not in (None, seen):
        raise InputError(
            f"{own} is not the archive that it should be ({size:,} bytes, SHA-256 "
            f"{sha256 or 'not published'}). Move it away to have it downloaded."
        )
    return seen


def _unpack_one(
    job: Job, archive: Path, sha256: str, watch: Stopwatch, progress: Progress
) -> Receipt:
    """Unpack into a folder beside the final one, and rename it when it is whole."""
    spec, folder = job.spec, job.folder
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a killed process: this one holds the lock
    try:
        files = unpack(
            archive, spec.archive.name, spec.inside, unfinished, spec.num_images, progress
        )
        receipt = Receipt(
            dataset=job.dataset,
            part=job.part,
            url=job.url,
            archive_size=spec.archive.size,
            sha256=sha256,
            published=spec.archive.sha256 is not None,
            num_images=len(files),
            terms=job.terms,
            made=watch.made(),
            files=files,
        )
        receipt.write(unfinished)
        with writing(folder):
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return receipt
