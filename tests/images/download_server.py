"""A server of files that does as it is told: cut off, drip, redirect, lie."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from srprune.images.downloads.fetch import Patience, Wanted

SOON = Patience(timeout=0.4, tries=3, pause=0.0, longest=1.5)
BODY = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)


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
