"""Downloads from archive to folders, receipts, and the table of data sets."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from srprune.core.errors import (
    ArtifactError,
    InputError,
    SrpruneError,
    StorageError,
    UnknownName,
)
from srprune.core.lock import exclusive
from srprune.images.benchmarks import PAPER, find_benchmark
from srprune.images.datasets import DATASETS, Archive, Dataset, Part
from srprune.images.downloads import receipt as receipts
from srprune.images.downloads.address import check_address
from srprune.stages.download import download, plan
from tests.images.download_server import BODY, SOON, Server, drop, gibberish, reset, says, served
from tests.images.test_unpack import BOTH, IMAGES, WRITERS, inside, zipped


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as made:
        yield made


def table(server: Server, content: bytes, name: str = "a.zip", checked: bool = True) -> dict:
    """A table of one data set with two parts that come from one archive on the server."""
    server.files[f"/{name}"] = content
    digest = hashlib.sha256(content).hexdigest() if checked else None
    archive = Archive(name, server.base, len(content), digest)
    parts = {
        "hr": Part(archive, "top/HR", "Tiny/HR", 3),
        "lr": Part(archive, "top/LR", "Tiny/LR/X2", 3),
    }
    return {"tiny": Dataset("Tiny", "for tests", parts, ("hr", "lr"))}


TWO = {**inside("top/HR"), **inside("top/LR")}


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@BOTH
@pytest.mark.parametrize("checked", [True, False])
def test_parts_of_one_archive_come_with_one_request_and_leave_receipts(
    server, tmp_path, name, checked
):
    content = WRITERS[name](TWO)
    known = table(server, content, name, checked)
    made = download(plan(["Tiny"], tmp_path, table=known), tmp_path, patience=SOON)
    expected = {f"Tiny/{where}/{n}" for where in ("HR", "LR/X2") for n in IMAGES}
    assert tree(tmp_path) == expected | {"Tiny/HR/receipt.json", "Tiny/LR/X2/receipt.json"}
    assert (tmp_path / "Tiny/LR/X2/0002.png").read_bytes() == IMAGES["0002.png"]
    assert len(server.asked) == 1
    noted = json.loads((tmp_path / "Tiny/HR/receipt.json").read_text())
    assert noted["url"] == f"{server.base}/{name}"
    assert noted["sha256"] == hashlib.sha256(content).hexdigest() == made[0].sha256
    assert noted["archive_size"] == len(content)
    assert noted["published"] is checked
    assert noted["num_images"] == 3
    assert noted["made"]["started"]
    assert noted["files"]["0001.png"]["crc32"] == zlib.crc32(IMAGES["0001.png"])


def test_a_finished_download_is_checked_and_not_repeated(server, tmp_path):
    known = table(server, zipped(TWO))
    first = download(plan(["tiny"], tmp_path, table=known), tmp_path)
    jobs = plan(["tiny"], tmp_path, table=known)
    assert all(job.there for job in jobs)
    assert download(jobs, tmp_path) == first
    assert len(server.asked) == 1


def test_only_the_missing_part_is_unpacked(server, tmp_path):
    known = table(server, zipped(TWO))
    download(plan(["tiny"], tmp_path, parts=["lr"], table=known), tmp_path)
    before = (tmp_path / "Tiny/LR/X2/receipt.json").stat().st_mtime_ns
    jobs = plan(["tiny"], tmp_path, table=known)
    assert [job.there for job in jobs] == [False, True]
    assert [receipt.part for receipt in download(jobs, tmp_path)] == ["hr", "lr"]
    assert (tmp_path / "Tiny/LR/X2/receipt.json").stat().st_mtime_ns == before


def missing(folder: Path) -> None:
    (folder / "0002.png").unlink()


def changed(folder: Path) -> None:
    content = bytearray((folder / "0002.png").read_bytes())
    content[500] ^= 1
    (folder / "0002.png").write_bytes(content)


def added(folder: Path) -> None:
    (folder / "0009.png").write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(missing, "0002.png is missing"), (changed, "was changed"), (added, "does not belong there")],
)
def test_a_damaged_download_is_said(server, tmp_path, spoil, said):
    known = table(server, zipped(TWO))
    download(plan(["tiny"], tmp_path, table=known), tmp_path)
    spoil(tmp_path / "Tiny" / "HR")
    with pytest.raises(ArtifactError, match=said) as caught:
        download(plan(["tiny"], tmp_path, table=known), tmp_path)
    assert str(tmp_path / "Tiny" / "HR") in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"files": {"a": 1}}'])
def test_a_damaged_receipt_is_said(server, tmp_path, text):
    known = table(server, zipped(TWO))
    download(plan(["tiny"], tmp_path, table=known), tmp_path)
    (tmp_path / "Tiny" / "HR" / receipts.NAME).write_text(text)
    with pytest.raises(ArtifactError, match=r"receipt.json is damaged. Remove the folder"):
        plan(["tiny"], tmp_path, table=known)


def test_a_folder_of_the_users_is_not_touched(server, tmp_path):
    (tmp_path / "Tiny" / "HR").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="srprune did not make it"):
        plan(["tiny"], tmp_path, table=table(server, zipped(TWO)))


def test_a_bad_archive_without_checksum_is_not_taken_twice(server, tmp_path):
    known = table(server, BODY, checked=False)
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"a.zip cannot be unpacked.*came from http"):
            download(plan(["tiny"], tmp_path, table=known), tmp_path, patience=SOON)
    assert len(server.asked) == 2
    assert tree(tmp_path) == set()


def test_a_part_that_fails_to_unpack_leaves_no_folder_and_keeps_the_checked_archive(
    server, tmp_path
):
    content = zipped(inside("top/HR"))  # no top/LR
    known = table(server, content)
    with pytest.raises(ArtifactError, match="top/LR in it holds 0 images, not 3"):
        download(plan(["tiny"], tmp_path, table=known), tmp_path, patience=SOON)
    assert not (tmp_path / "Tiny" / "LR" / "X2").exists()
    assert (tmp_path / "a.zip.part").read_bytes() == content


def test_what_a_killed_process_had_unpacked_is_swept(server, tmp_path):
    (tmp_path / "Tiny" / ".HR.part").mkdir(parents=True)
    (tmp_path / "Tiny" / ".HR.part" / "0001.png").write_bytes(b"half")
    download(plan(["tiny"], tmp_path, table=table(server, zipped(TWO))), tmp_path, patience=SOON)
    assert (tmp_path / "Tiny/HR/0001.png").read_bytes() == IMAGES["0001.png"]
    assert not (tmp_path / "Tiny" / ".HR.part").exists()


def test_an_archive_that_the_user_has_put_there_is_taken_and_stays(server, tmp_path):
    content = zipped(TWO)
    known = table(server, content)
    (tmp_path / "a.zip").write_bytes(content)
    download(plan(["tiny"], tmp_path, table=known), tmp_path)
    assert server.asked == []
    assert (tmp_path / "a.zip").read_bytes() == content
    assert (tmp_path / "Tiny/HR/0001.png").is_file()


def test_a_wrong_archive_of_the_users_is_refused(server, tmp_path):
    content = zipped(TWO)
    known = table(server, content)
    for wrong in (content[:-1], content[:-1] + b"?"):
        (tmp_path / "a.zip").write_bytes(wrong)
        with pytest.raises(InputError, match="is not the archive that it should be"):
            download(plan(["tiny"], tmp_path, table=known), tmp_path)


def test_a_mirror_takes_the_place_of_the_source(server, tmp_path):
    known = table(server, zipped(TWO))
    server.files["/mirror/a.zip"] = server.files.pop("/a.zip")
    jobs = plan(["tiny"], tmp_path, mirror=f"{server.base}/mirror/", table=known)
    receipt = download(jobs, tmp_path)[0]
    assert receipt.url == f"{server.base}/mirror/a.zip"


def test_no_request_is_made_where_the_disk_has_no_room(server, tmp_path):
    archive = Archive("a.zip", server.base, 10**18, None)
    part = Part(archive, "top/HR", "Tiny/HR", 3)
    known = {"tiny": Dataset("Tiny", "for tests", {"hr": part}, ("hr",))}
    with pytest.raises(StorageError, match=r"a.zip and its images need 2,000,000,000,000 MB"):
        download(plan(["tiny"], tmp_path, table=known), tmp_path)
    assert server.asked == []


def test_a_folder_that_cannot_be_made_is_named_with_its_option(server, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "sets"
    with pytest.raises(StorageError, match=r"cannot write \(Not a directory\).*--out"):
        download(plan(["tiny"], out, table=table(server, zipped(TWO))), out)


def test_two_downloads_into_one_folder_do_not_mix(server, tmp_path):
    jobs = plan(["tiny"], tmp_path, table=table(server, zipped(TWO)))
    with exclusive(tmp_path), pytest.raises(InputError, match="another srprune"):
        download(jobs, tmp_path)
    assert server.asked == []


def test_names_that_are_unknown_are_refused(tmp_path):
    with pytest.raises(UnknownName, match=r"unknown data set 'div2'. Did you mean: div2k"):
        plan(["div2"], tmp_path)
    with pytest.raises(UnknownName, match=r"unknown part of div2k 'train'"):
        plan(["div2k"], tmp_path, parts=["train"])


def test_manga109_is_asked_for_by_a_person(tmp_path):
    with pytest.raises(InputError, match=r"academic use only.*hal-utokyo/Manga109") as caught:
        plan(["manga109"], tmp_path)
    assert str(tmp_path / "Manga109" / "HR") in str(caught.value)
    assert not re.search(r"\([^)]*\(", str(caught.value))  # no brackets within brackets


def test_progress_counts_up_to_the_end(server, tmp_path):
    told: list[tuple[str, int, int]] = []
    jobs = plan(["tiny"], tmp_path, table=table(server, zipped(TWO)))
    download(
        jobs, tmp_path, progress=lambda label, done, of, note="": told.append((label, done, of))
    )
    assert {label for label, _, _ in told} == {
        "download a.zip (MB)", "check a.zip (MB)", "unpack a.zip"}  # fmt: skip
    assert told[-1] == ("unpack a.zip", 3, 3)
    assert all(done <= of for _, done, of in told)


# --- the table ----------------------------------------------------------------------------------


def test_the_table_is_consistent():
    folders = []
    for name, dataset in DATASETS.items():
        assert name == dataset.title.lower()
        assert bool(dataset.parts) != bool(dataset.ask)
        assert set(dataset.default) <= set(dataset.parts)
        for part in dataset.parts.values():
            check_address(part.archive.url())
            assert part.archive.url().startswith("https://")
            assert part.archive.sha256 is None or len(bytes.fromhex(part.archive.sha256)) == 32
            folders.append(part.folder)
    assert len(folders) == len(set(folders)) == 12
    archives = {part.archive for each in DATASETS.values() for part in each.parts.values()}
    assert len({archive.sha256 for archive in archives}) == len(archives) == 9


def test_benchmarks_are_found_where_they_are_unpacked(tmp_path):
    for name in PAPER:
        part = DATASETS[name].parts["hr"]
        (tmp_path / part.folder).mkdir(parents=True)
        for number in range(part.num_images):
            (tmp_path / part.folder / f"{number}.png").touch()
        (tmp_path / part.folder / receipts.NAME).write_text("{}")
        assert find_benchmark(name, [tmp_path]).folder == tmp_path / part.folder


def test_every_error_is_one_of_ours_and_on_one_line(server, tmp_path):
    """A server that does something else at every request never makes us fail in another way."""
    acts = [gibberish, says(204), says(299), reset, says(300), says(416), drop(10), says(206)]
    known = table(server, zipped(TWO))
    for act in acts:
        server.acts = [act] * 3
        try:
            download(plan(["tiny"], tmp_path, table=known), tmp_path, patience=SOON)
        except SrpruneError as error:
            assert str(error).isprintable()
            assert error.exit_status == 2
