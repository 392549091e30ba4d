"""What tests of images share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.images.image_files import Pixels, Put


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write bytes, or an image as Pillow saves it, and give the path."""

    def write(name: str, what: bytes | Pixels | Image.Image, **options: Any) -> Path:
        path = tmp_path / name
        if isinstance(what, bytes):
            path.write_bytes(what)
        else:
            image = what if isinstance(what, Image.Image) else Image.fromarray(what)
            image.save(path, **options)
        return path

    return write
