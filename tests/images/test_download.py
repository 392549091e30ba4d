"""Downloads: a server that fails in every way, receipts, and the table of data sets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import (
    ArtifactError,
    InputError,
    SrpruneError,
    StorageError,
    UnknownName,
    UserError,
)
from srprune.core.lock import exclusive
from srprune.images.benchmarks import PAPER, find_benchmark
from srprune.images.datasets import DATASETS, Archive, Dataset, Part
from srprune.images.downloads import receipt as receipts
from srprune.images.downloads.address import check_address
from srprune.images.downloads.fetch import Patience, Wanted, fetch
from srprune.stages.download import download, plan
from tests.images.test_unpack import BOTH, IMAGES, WRITERS, inside, zipped

SOON = Patience(timeout=0.4, tries=3, pause=0.0, longest=1.5)
BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)


# --- a server that does as it is told -----------------------------------------------------------


class Server:
    """Files under paths; each request takes the next act, and ``serve`` when there is none."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.acts: list[Callable[[Handler], None]] = []
        self.asked: list[dict[str, str]] = []
        self.marks = True  # whether ETags are sent
        self.ranges = True  # whether ranges are served
        owner = self

        class Bound(Handler):
            server_of_files = owner

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def wanted(self, body: bytes = BODY, checked: bool = True) -> Wanted:
        """Put a file there, and want it."""
        self.files["/file.bin"] = body
        digest = hashlib.sha256(body).hexdigest() if checked else None
        return Wanted(f"{self.base}/file.bin", len(body), digest)


class Handler(BaseHTTPRequestHandler):
    server_of_files: Server

    def do_GET(self) -> None:
        owner = self.server_of_files
        owner.asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
        act = owner.acts.pop(0) if owner.acts else serve
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client left
            act(self)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        return self.server_of_files.files[self.path]

    def begin(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        if self.server_of_files.marks:
            self.send_header("ETag", etag(self.body()))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def etag(body: bytes) -> str:
    return f'"{zlib.crc32(body):08x}"'


def range_of(handler: Handler) -> int:
    """Where the answer begins, as RFC 9110 wants it."""
    asked, only_if = handler.headers.get("Range"), handler.headers.get("If-Range")
    if not asked or not handler.server_of_files.ranges:
        return 0
    if only_if is not None and only_if != etag(handler.body()):
        return 0
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def serve(handler: Handler, until: int | None = None) -> None:
    if handler.path not in handler.server_of_files.files:
        handler.send_error(404)
        return
    body, start = handler.body(), range_of(handler)
    if start:
        place = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.begin(206, Content_Length=len(body) - start, Content_Range=place)
    else:
        handler.begin(Content_Length=len(body))
    handler.wfile.write(body[start:until])


def drop(after: int) -> Callable[[Handler], None]:
    return lambda handler: serve(handler, until=after)


def reset(handler: Handler) -> None:
    serve(handler, until=50_000)
    handler.wfile.flush()
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def chunked(handler: Handler) -> None:
    handler.begin(Transfer_Encoding="chunked")
    body = handler.body()
    for at in range(0, len(body), 70_000):
        piece = body[at : at + 70_000]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def without_length(handler: Handler) -> None:
    handler.begin()
    handler.wfile.write(handler.body())


def endless(handler: Handler) -> None:
    handler.begin()
    while True:
        handler.wfile.write(bytes(100_000))


def silent_at_the_end(handler: Handler) -> None:
    handler.begin()
    handler.wfile.write(handler.body())
    handler.wfile.flush()
    time.sleep(1.5)  # longer than a client waits


def says(status: int, **headers: object) -> Callable[[Handler], None]:
    return lambda handler: handler.begin(status, Content_Length=0, **headers)


def hang(handler: Handler) -> None:
    handler.begin(Content_Length=len(handler.body()))
    handler.wfile.write(handler.body()[:1000])
    handler.wfile.flush()
    time.sleep(1.0)


def drip(handler: Handler) -> None:
    handler.begin(Content_Length=len(handler.body()))
    for at in range(20):
        handler.wfile.write(handler.body()[at : at + 1])
        handler.wfile.flush()
        time.sleep(0.1)


def gibberish(handler: Handler) -> None:
    handler.wfile.write(b"\x00\x01 no HTTP at all \xff\r\n\r\n")


@contextlib.contextmanager
def served() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with served() as made:
        yield made


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "out" / "file.bin.part"


def get(wanted: Wanted, part: Path) -> str:
    seen = fetch(wanted, part, patience=SOON)
    assert hashlib.sha256(part.read_bytes()).hexdigest() == seen
    return seen


# --- fetching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act", [serve, chunked, without_length, silent_at_the_end], ids=lambda act: act.__name__
)
def test_a_file_comes_whole_whether_its_length_is_told_or_not(server, part, act):
    server.acts = [act]
    assert get(server.wanted(), part) == hashlib.sha256(BODY).hexdigest()
    assert part.read_bytes() == BODY
    assert len(server.asked) == 1


def test_without_a_published_checksum_the_one_that_was_seen_is_told(server, part):
    assert get(server.wanted(checked=False), part) == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("act", [drop(100_000), reset, hang], ids=["drop", "reset", "hang"])
def test_a_broken_connection_goes_on_where_it_stopped(server, part, act):
    server.acts = [act]
    get(server.wanted(), part)
    assert part.read_bytes() == BODY
    first, second = server.asked
    assert "range" not in first
    assert int(second["range"].removeprefix("bytes=")[:-1]) > 0
    assert second["if-range"] == etag(BODY)


def test_a_later_call_goes_on_too(server, part):
    server.acts = [drop(200_000)] * 3
    with pytest.raises(UserError, match=r"in 3 tries: the connection ended after 200,000 of"):
        get(server.wanted(), part)
    assert part.read_bytes() == BODY[:200_000]
    get(server.wanted(), part)
    assert server.asked[-1]["range"] == "bytes=200000-"
    assert part.read_bytes() == BODY


def test_what_is_whole_is_not_fetched_again(server, part):
    get(server.wanted(), part)
    get(server.wanted(), part)
    assert len(server.asked) == 1


def test_a_server_without_ranges_sends_all_again(server, part):
    server.ranges, server.acts = False, [drop(100_000)]
    get(server.wanted(), part)
    assert part.read_bytes() == BODY


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_changed_between_two_tries_comes_anew(server, part, checked):
    server.acts = [drop(100_000)] * 3
    with pytest.raises(UserError):
        get(server.wanted(BODY, checked), part)
    get(server.wanted(OTHER, checked), part)
    assert part.read_bytes() == OTHER


def test_a_changed_file_is_seen_by_its_mark_where_if_range_is_ignored(server, part):
    def rest(handler: Handler) -> None:  # of the new file, whatever If-Range says
        place = f"bytes 100000-{len(OTHER) - 1}/{len(OTHER)}"
        handler.begin(206, Content_Length=len(OTHER) - 100_000, Content_Range=place)
        handler.wfile.write(OTHER[100_000:])

    server.acts = [drop(100_000)] * 3
    with pytest.raises(UserError):
        get(server.wanted(BODY, checked=False), part)
    server.acts = [rest]
    get(server.wanted(OTHER, checked=False), part)
    assert part.read_bytes() == OTHER


def test_pieces_of_two_files_are_told_by_the_checksum_and_fetched_anew(server, part):
    server.marks, server.acts = False, [drop(100_000)] * 3
    with pytest.raises(UserError):
        get(server.wanted(BODY), part)
    get(server.wanted(OTHER), part)
    assert part.read_bytes() == OTHER
    assert [("range" in each) for each in server.asked[3:]] == [True, False]


def test_without_mark_and_checksum_nothing_is_put_together(server, part):
    server.marks, server.acts = False, [drop(100_000)]
    get(server.wanted(checked=False), part)
    assert "range" not in server.asked[1]
    assert part.read_bytes() == BODY


def test_a_part_of_another_address_goes_on_where_a_checksum_guards_it(server, part):
    server.acts = [drop(100_000)] * 3
    wanted = server.wanted()
    with pytest.raises(UserError):
        get(wanted, part)
    server.files["/mirror/file.bin"] = BODY
    get(Wanted(f"{server.base}/mirror/file.bin", wanted.size, wanted.sha256), part)
    assert server.asked[-1]["range"] == "bytes=100000-"
    assert "if-range" not in server.asked[-1]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"mark": "a\\nb", "url": "%s"}'])
def test_a_damaged_note_does_no_harm(server, part, note):
    server.acts = [drop(100_000)] * 3
    wanted = server.wanted()
    with pytest.raises(UserError):
        get(wanted, part)
    part.with_name(part.name + ".json").write_text(note.replace("%s", wanted.url))
    get(wanted, part)
    assert part.read_bytes() == BODY


def test_a_part_that_is_too_long_is_dropped(server, part):
    part.parent.mkdir()
    part.write_bytes(BODY + b"more")
    get(server.wanted(), part)
    assert part.read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "place"),
    [
        (206, "bytes 0-9/300000"),
        (206, "nonsense"),
        (206, "bytes 100000-299999/300001"),
        (416, "bytes */5"),
    ],
)
def test_a_range_that_was_not_asked_for_is_not_taken(server, part, status, place):
    server.acts = [drop(100_000), says(status, Content_Range=place)]
    get(server.wanted(), part)
    assert part.read_bytes() == BODY
    assert len(server.asked) == 3


def test_another_file_is_refused_by_its_checksum_and_removed(server, part):
    wanted = server.wanted()
    server.files["/file.bin"] = OTHER
    with pytest.raises(InputError, match=r"SHA-256 is .*; name another place with --mirror"):
        get(wanted, part)
    assert not part.exists()
    assert len(server.asked) == 1


def test_a_part_that_never_fits_is_fetched_anew_once(server, part):
    part.parent.mkdir()
    part.write_bytes(OTHER)
    wanted = server.wanted()
    server.files["/file.bin"] = OTHER
    server.acts = [drop(100_000)]
    with pytest.raises(InputError, match="SHA-256"):
        get(wanted, part)
    assert len(server.asked) == 2


@pytest.mark.parametrize("longer", [True, False])
def test_a_file_of_another_length_is_refused_at_once(server, part, longer):
    wanted = server.wanted()
    server.files["/file.bin"] = BODY + b"more" if longer else BODY[:1000]
    with pytest.raises(InputError, match=r"the server offers .* bytes, 300,000 were expected"):
        get(wanted, part)
    assert not part.exists()


def exactly_then_more(handler: Handler) -> None:
    handler.begin()
    handler.wfile.write(handler.body())
    handler.wfile.flush()
    time.sleep(0.2)  # a read of its own ends where the file should
    handler.wfile.write(b"more")


@pytest.mark.parametrize("act", [endless, exactly_then_more])
def test_an_endless_answer_is_cut(server, part, act):
    server.acts = [act]
    with pytest.raises(InputError, match="more than the expected 300,000 bytes came"):
        get(server.wanted(), part)
    assert not part.exists()


@pytest.mark.parametrize("act", [gibberish, drip], ids=["gibberish", "drip"])
def test_a_useless_server_is_given_up(server, part, act):
    server.acts = [act] * 3
    with pytest.raises(UserError, match=r"could not be fetched in 3 tries") as caught:
        get(server.wanted(), part)
    assert act is gibberish or "sends less than 1,000 bytes a second" in str(caught.value)
    assert "\x00" not in str(caught.value)


def test_a_closed_port_is_said_in_one_line(part):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(UserError, match="there is no connection") as caught:
            get(Wanted(url, 10, None), part)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_server_faults_are_tried_again(server, part):
    server.acts = [says(500), says(503)]
    get(server.wanted(), part)
    assert len(server.asked) == 3


@pytest.mark.parametrize("as_date", [True, False])
def test_retry_after_is_honoured(server, part, as_date):
    when = formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    server.acts = [says(503, Retry_After=when)]
    started = time.monotonic()
    fetch(server.wanted(), part, patience=Patience(pause=0.0, longest=5.0))
    assert time.monotonic() - started > 0.9


def test_retry_after_has_a_limit(server, part):
    server.acts = [says(429, Retry_After=3600)]
    with pytest.raises(UserError, match=r"to be asked again in 3,600 seconds"):
        get(server.wanted(), part)
    assert len(server.asked) == 1


@pytest.mark.parametrize("said", ["soon", "-5", "Thu, 99 Foo 2026"])
def test_a_damaged_retry_after_asks_for_nothing(server, part, said):
    server.acts = [says(503, Retry_After=said)]
    get(server.wanted(), part)


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "there is no file at"), (410, "there is no file at"), (403, "refuses"), (501, "refuse")],
)
def test_a_refusal_is_final_and_says_what_to_do(server, part, status, said):
    server.acts = [says(status)]
    with pytest.raises(InputError, match=said) as caught:
        get(server.wanted(), part)
    assert server.base in str(caught.value)
    assert "--mirror" in str(caught.value)
    assert len(server.asked) == 1


def test_redirects_are_followed_with_the_range(server, part):
    wanted = server.wanted()
    server.files["/elsewhere"] = BODY
    away = says(302, Location=f"{server.base}/elsewhere")
    server.acts = [away, drop(100_000), away]
    get(wanted, part)
    assert [each["path"] for each in server.asked] == ["/file.bin", "/elsewhere"] * 2
    assert server.asked[-1]["range"] == "bytes=100000-"


@pytest.mark.parametrize(
    "place", ["http://example.org/file.bin", "file:///etc/passwd", "ftp://127.0.0.1/x", "//\x1b[2J"]
)
def test_a_redirect_to_an_unsafe_place_is_refused(server, part, place):
    server.acts = [says(302, Location=place)]
    with pytest.raises(InputError, match=r"redirects to .* not safe") as caught:
        get(server.wanted(), part)
    assert str(caught.value).isprintable()


def test_a_circle_of_redirects_ends_in_one_line(server, part):
    server.acts = [says(302, Location="/file.bin")] * 20
    with pytest.raises(InputError, match="refuses") as caught:
        get(server.wanted(), part)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a", "file:///a", "ftp://localhost/a", "https:///a", "a", "",
     "https://h/a b", "https://h/\n", "https://u:p@h/a", "https://h:port/a", "https://[h/a"],
)  # fmt: skip
def test_other_addresses_are_refused(url):
    with pytest.raises(InputError, match="not an address to download from"):
        check_address(url)


def test_safe_addresses_are_taken():
    for url in ("https://h/a", "https://h:8443/a?b=c", "http://localhost:80/a", "http://[::1]/a"):
        check_address(url)


@pytest.fixture
def secure(server, tmp_path: Path) -> Path:
    """Make the server speak TLS; return the certificate, which nobody trusts yet."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.base = server.base.replace("http://", "https://")
    return certificate


def test_a_certificate_that_is_not_trusted_is_final(server, secure, part):
    with pytest.raises(UserError, match=r"certificate of https://.* cannot be trusted") as caught:
        get(server.wanted(), part)
    assert str(caught.value).isprintable()
    assert server.asked == []


def test_https_is_not_left_for_http(server, secure, part, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(secure))
    wanted = server.wanted()
    server.acts = [says(302, Location=wanted.url.replace("https://", "http://"))]
    with pytest.raises(InputError, match="not safe"):
        get(wanted, part)
    server.files["/elsewhere"] = BODY
    server.acts = [says(302, Location="/elsewhere")]
    get(wanted, part)
    assert [each["path"] for each in server.asked] == ["/file.bin", "/file.bin", "/elsewhere"]


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(BODY)), max_size=6),
    marks=st.booleans(),
    ranges=st.booleans(),
    checked=st.booleans(),
)
def test_however_often_it_is_cut_the_bytes_are_those_of_the_file(
    tmp_path_factory, cuts, marks, ranges, checked
):
    folder = tmp_path_factory.mktemp("cuts")
    with served() as server:
        server.marks, server.ranges = marks, ranges
        server.acts = [drop(cut) for cut in cuts]
        patience = Patience(timeout=5.0, tries=8, pause=0.0)
        fetch(server.wanted(checked=checked), folder / "file.bin.part", patience=patience)
    assert (folder / "file.bin.part").read_bytes() == BODY


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(server, part):
    part.parent.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="no permission to write"):
        get(server.wanted(), part)


# --- the whole way ------------------------------------------------------------------------------


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
