"""Archives of images: fetched over HTTP, checked, unpacked, and known again later."""

from __future__ import annotations
