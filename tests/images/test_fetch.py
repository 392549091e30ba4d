"""Fetching a file from a server that fails in every way."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import (
    InputError,
    StorageError,
    UserError,
)
from srprune.images.downloads.address import check_address
from srprune.images.downloads.fetch import Patience, Wanted, fetch
from tests.images.download_server import (
    BODY,
    OTHER,
    SOON,
    Handler,
    Server,
    chunked,
    drip,
    drop,
    endless,
    etag,
    gibberish,
    hang,
    reset,
    says,
    serve,
    served,
    silent_at_the_end,
    without_length,
)


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
