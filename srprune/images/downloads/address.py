"""Which addresses are asked: HTTPS, or plain HTTP on this machine; redirects included."""

from __future__ import annotations

import http.client
import urllib.request
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urljoin, urlsplit

from srprune.core.errors import InputError

HERE = {"localhost", "127.0.0.1", "::1"}


def check_address(url: str) -> None:
    """Refuse an address that could be listened to or changed on its way, and local files.

    Raises:
        InputError: neither ``https://HOST/...`` nor ``http://localhost/...``.
    """
    if not _is_safe(url):
        raise InputError(
            f"{url!r} is not an address to download from. Give one that begins with https://; "
            "http:// is taken on localhost only."
        )


def open_address(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    """Ask a server, and follow its redirects only where they are as safe.

    Proxies of the environment are used, but not for this machine.

    Raises:
        InputError: the server redirects to an address that is not safe.
        OSError: the network, or the server's answer (``urllib.error.HTTPError``).
        http.client.HTTPException: the server does not speak HTTP.
    """
    direct = [urllib.request.ProxyHandler({})] if _is_here(request.full_url) else []
    opener = urllib.request.build_opener(_SafeRedirects, *direct)
    answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)  # of HTTP alone
    return answer


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects from HTTPS lead to HTTPS; from this machine, to it or to HTTPS."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
    ) -> IO[bytes] | None:
        """Look at the new address before urllib does, which fails on some."""
        said = headers.get("Location") or headers.get("URI") or ""
        try:
            address = urljoin(req.full_url, said).replace(" ", "%20")
        except ValueError:
            address = ""
        downgraded = req.full_url.startswith("https:") and not address.startswith("https:")
        if downgraded or not _is_safe(address):
            fp.close()
            raise InputError(
                f"{req.full_url} redirects to {said!r}, which is not safe to download from. "
                "Name another place with --mirror."
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises on one that is no number
    except ValueError:
        return False
    # a space or a line end would become part of the request
    plain = url.isascii() and url.isprintable() and " " not in url
    secret = parts.username is not None  # would stand in the receipt and in every message
    return bool(host) and plain and not secret and (parts.scheme == "https" or _is_here(url))


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in HERE
