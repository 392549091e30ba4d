"""Images that a benchmark shares with training images, found by their pixels."""

from __future__ import annotations

from collections.abc import Iterable

from srprune.core.patches import ImageRecord
from srprune.images.benchmarks import Benchmark
from srprune.images.decode import decode, naming
from srprune.stages.extract import stored


def shared_with(benchmark: Benchmark, images: Iterable[ImageRecord]) -> dict[str, str]:
    """Names of a benchmark's images to the paths of the same pixels among others.

    Every image is decoded, so that a damaged one shows before anything is trained.

    Raises:
        ImageError: an image that cannot be decoded.
    """
    known = {image.content: image.path for image in images}
    shared: dict[str, str] = {}
    for name in benchmark.images:
        path = benchmark.folder / name
        with naming(path):
            pixels = decode(path)
        if (content := stored(pixels)[1]) in known:
            shared[name] = known[content]
    return shared
