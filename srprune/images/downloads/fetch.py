"""One file over HTTP, whole or not at all: resumed, tried again, checked.

What has come stays in ``NAME.part``, and what is needed to go on safely in ``NAME.part.json``:
the address and the server's mark of the file (``ETag``, else ``Last-Modified``). The next request
asks for the rest ``If-Range`` the mark is still the same, so a file that was changed in between
comes anew and is never mixed with the old one (RFC 9110, sections 13.1.5 and 14).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO

from srprune.core.errors import InputError, UserError
from srprune.core.progress import Progress, silent
from srprune.core.provenance import version
from srprune.images.downloads.address import check_address, open_address
from srprune.images.downloads.disk import CHUNK, MB, sha256_of, writing

_LATER = {408, 425, 429, 500, 502, 503, 504}  # the same request may do well a little later
_ENOUGH = MB  # bytes after which a broken connection is a new failure, not the same one again


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout: seconds without a byte after which a connection is given up.
        slowest: bytes a second; a connection that stays below for ``timeout`` is given up, too.
        tries: how often a request may fail in a row.
        pause: seconds before the second try; doubled before each further one.
        longest: seconds that a server may ask for with ``Retry-After``.
    """

    timeout: float = 30.0
    slowest: int = 1000
    tries: int = 5
    pause: float = 2.0
    longest: float = 120.0


@dataclass(frozen=True)
class Wanted:
    """A file on a server.

    Attributes:
        url: its address.
        size: its bytes.
        sha256: 64 hex digits, or None where they are not known.
    """

    url: str
    size: int
    sha256: str | None


class _Broken(Exception):
    """A request that failed and may do well when it is made again."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        self.why, self.pause = why, pause
        super().__init__(why)


def fetch(
    wanted: Wanted,
    part: Path,
    *,
    patience: Patience | None = None,
    progress: Progress = silent,
) -> str:
    """Fill ``part`` with a file, from where an earlier call stopped, and check it.

    Args:
        wanted: the file.
        part: where it goes; its name ends in ``.part``. It stays where anything fails that a
            later call can go on from.
        patience: how long a server is waited for.
        progress: told the megabytes that are there.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: the address is not safe, has no such file, or holds another file.
        UserError: the server cannot be reached, or breaks off again and again.
        StorageError: the disk is full or may not be written.
    """
    check_address(wanted.url)
    patience = patience or Patience()
    failures, in_pieces, restarted = 0, _size(part) > 0, False
    while True:
        before = _size(part)
        try:
            _receive(wanted, part, patience, progress)
        except _Broken as broken:
            in_pieces |= _size(part) > 0
            failures = 1 if _size(part) - before >= _ENOUGH else failures + 1
            _wait(wanted, part, broken, failures, patience, progress)
            continue
        seen = sha256_of(part, progress)
        if wanted.sha256 in (None, seen):
            return seen
        discard(part)
        if restarted or not in_pieces:
            raise InputError(
                f"{wanted.url} is not the file that it should be: its SHA-256 is {seen}, that of "
                f"the table is {wanted.sha256}. It was removed; name another place with --mirror."
            )
        restarted = True  # the pieces may have been those of two files: once more


def discard(part: Path) -> None:
    """Remove a part and its note."""
    with writing(part):
        part.unlink(missing_ok=True)
        _note_of(part).unlink(missing_ok=True)


def _receive(wanted: Wanted, part: Path, patience: Patience, progress: Progress) -> None:
    """One request, and what it brings."""
    have = _size(part)
    if have == wanted.size:
        return
    if have > wanted.size:
        discard(part)
        have = 0
    mark = _mark_of(part, wanted.url)
    # without a mark only the checksum tells whether the rest belongs to what is there
    resumed = have > 0 and (mark is not None or wanted.sha256 is not None)
    headers = {"User-Agent": f"srprune/{version()}", "Accept-Encoding": "identity"}
    if resumed:
        headers["Range"] = f"bytes={have}-"
        if mark is not None:
            headers["If-Range"] = mark
    with _answer(wanted, part, headers, patience) as answer:
        start = _start(wanted, part, answer, have if resumed else 0, mark)
        length = answer.length
        if length is not None and start + length != wanted.size:
            raise InputError(
                f"{wanted.url} is not the file that it should be: the server offers "
                f"{start + length:,} bytes, {wanted.size:,} were expected. Name another place "
                "with --mirror."
            )
        new_mark = _mark(answer)
        with writing(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            _note_of(part).write_text(
                json.dumps({"url": wanted.url, "mark": new_mark}) + "\n", encoding="utf-8"
            )
            file = part.open("r+b" if start else "wb")
        with file:
            file.seek(start)
            _copy(wanted, part, answer, file, start, patience, progress)


def _start(
    wanted: Wanted, part: Path, answer: http.client.HTTPResponse, asked: int, mark: str | None
) -> int:
    """From which byte on the answer is; 0 where the server sends the whole file."""
    if answer.status == 200:
        return 0
    said = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said.strip())
    if answer.status != 206 or not asked or not found or int(found[1]) != asked:
        discard(part)
        raise _Broken(f"the server answered {answer.status} {said!r} to a plain request")
    new_mark = _mark(answer)
    if mark is not None and new_mark is not None and new_mark != mark:
        discard(part)
        raise _Broken("the file on the server was changed meanwhile")
    if found[3] != "*" and int(found[3]) != wanted.size:
        discard(part)
        raise _Broken(f"the file on the server has {int(found[3]):,} bytes now")
    return asked


def _answer(
    wanted: Wanted, part: Path, headers: dict[str, str], patience: Patience
) -> http.client.HTTPResponse:
    """The server's answer, its refusals turned into errors."""
    request = urllib.request.Request(wanted.url, headers=headers)
    try:
        return open_address(request, patience.timeout)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(wanted, part, error) from None
    except urllib.error.URLError as error:
        raise _unreachable(wanted, error.reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(wanted, error) from None


def _refused(wanted: Wanted, part: Path, error: urllib.error.HTTPError) -> Exception:
    """What an HTTP status of 300 and more means here."""
    said = f"{error.code} {_words(error.reason)}".strip()
    if error.code == 416:
        discard(part)
        return _Broken(f"the server has no more than what had been fetched ({said})")
    if error.code in _LATER:
        return _Broken(f"the server said {said}", _retry_after(error.headers.get("Retry-After")))
    if error.code in (404, 410):
        return InputError(
            f"there is no file at {wanted.url} ({said}). Name another place with --mirror."
        )
    return InputError(
        f"the server refuses {wanted.url} ({said}). Name another place with --mirror, or fetch "
        f"the file with a browser and put it at {part.with_suffix('')}."
    )


def _unreachable(wanted: Wanted, reason: object) -> Exception:
    """Why there was no answer at all, in words."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return UserError(
            f"the certificate of {wanted.url} cannot be trusted ({reason.verify_message}). Set "
            "this machine's clock and certificates right, or name another place with --mirror."
        )
    if isinstance(reason, TimeoutError):
        return _Broken("the server does not answer")
    if isinstance(reason, socket.gaierror):
        return _Broken(f"the name of the server is not known here ({reason.strerror})")
    if isinstance(reason, OSError) and reason.strerror:
        return _Broken(f"there is no connection ({reason.strerror})")
    return _Broken(f"there is no connection ({_words(reason) or type(reason).__name__})")


def _words(said: object) -> str:
    """What a server or a library says, on one line and without what steers a terminal."""
    return "".join(c for c in " ".join(str(said).split()) if c.isprintable())


def _copy(
    wanted: Wanted,
    part: Path,
    answer: http.client.HTTPResponse,
    file: IO[bytes],
    start: int,
    patience: Patience,
    progress: Progress,
) -> None:
    """Write what comes until the file is whole; every byte that came stays."""
    have, label = start, _label(part)
    since, then = time.monotonic(), have
    while have <= wanted.size:  # the last read finds the end, or what is too much
        try:
            chunk = answer.read1(CHUNK)  # what is there: read() would wait for all of CHUNK
        except (OSError, http.client.HTTPException) as error:
            if have == wanted.size:
                break  # whole, though the server did not say so
            raise _unreachable(wanted, error) from None
        if not chunk and have == wanted.size:
            break
        if not chunk:
            raise _Broken(f"the connection ended after {have:,} of {wanted.size:,} bytes")
        chunk = chunk[: wanted.size - have + 1]
        with writing(part):
            file.write(chunk)
        have += len(chunk)
        progress(label, min(have, wanted.size) // MB, wanted.size // MB)
        if (now := time.monotonic()) - since > patience.timeout:
            if have - then < patience.slowest * (now - since):
                raise _Broken(f"the server sends less than {patience.slowest:,} bytes a second")
            since, then = now, have
    with writing(part):
        file.flush()
    if have > wanted.size:
        discard(part)
        raise InputError(
            f"{wanted.url} is not the file that it should be: more than the expected "
            f"{wanted.size:,} bytes came. Name another place with --mirror."
        )


def _label(part: Path) -> str:
    return f"download {part.name.removesuffix('.part')} (MB)"


def _wait(
    wanted: Wanted,
    part: Path,
    broken: _Broken,
    failures: int,
    patience: Patience,
    progress: Progress,
) -> None:
    """Pause before the next try, or give up."""
    kept = f" {_size(part):,} bytes are kept: give the command again to go on." * (_size(part) > 0)
    if failures >= patience.tries:
        raise UserError(
            f"{wanted.url} could not be fetched in {failures} tries: {broken.why}.{kept} See "
            "whether this machine may use the network, or name another place with --mirror."
        )
    asked = broken.pause or 0.0
    if asked > patience.longest:
        raise UserError(
            f"{wanted.url} could not be fetched: {broken.why}, to be asked again in {asked:,.0f} "
            f"seconds.{kept} Come back later, or name another place with --mirror."
        )
    progress(_label(part), _size(part) // MB, wanted.size // MB, broken.why)
    time.sleep(max(asked, patience.pause * 2 ** (failures - 1)))


def _retry_after(said: str | None) -> float | None:
    """Seconds that a server asks for, given as such or as a date."""
    if not said:
        return None
    if said.strip().isdecimal():
        return float(said)
    with contextlib.suppress(ValueError, TypeError):  # a damaged date asks for nothing
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    return None


def _mark(answer: http.client.HTTPResponse) -> str | None:
    """What tells one version of a file from another; a weak ETag does not tell bytes."""
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _mark_of(part: Path, url: str) -> str | None:
    """The mark of the file that a part is of; None for other addresses, where it means nothing."""
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
        mark = note["mark"] if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mark if isinstance(mark, str) and mark.isprintable() else None


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0
