"""Which subnet each tile got, what it cost and how long it took: ``<results>.routing.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import write_json
from srprune.core.errors import ArtifactError
from srprune.core.tile_map import TileMap
from srprune.images.benchmarks import Benchmark, title_of
from srprune.images.bicubic import downscale, modcrop
from srprune.images.decode import as_rgb, decode
from srprune.reporting.routing import routing_map
from srprune.wbsr.dynamic import DynamicRestorer, Routing


@dataclass(frozen=True)
class RoutedImage:
    """How one image was restored.

    Attributes:
        benchmark: its name.
        image: path relative to the benchmark's folder.
        tile: height and width of a tile, LR px.
        overlap: of neighbours, LR px.
        corners: top and left of each tile, LR px.
        subnets: number of each tile's subnet, 0 the cheapest.
        flops: of the image as it was restored, by subnets and router.
        flops_full: of the largest subnet on the same tiles.
        flops_untiled: of the largest subnet on the whole image.
        seconds: wall-clock of the call, the router's included.
    """

    benchmark: str
    image: str
    tile: tuple[int, int]
    overlap: int
    corners: list[tuple[int, int]]
    subnets: list[int]
    flops: int
    flops_full: int
    flops_untiled: int
    seconds: float


@dataclass(frozen=True)
class RoutingTable:
    """How all images of a measurement were restored.

    Attributes:
        subnets: their labels, the cheapest first.
        router: its name.
        flops_budget: share of the FLOPs of the largest subnet; None: the router's own choice.
        images: in the order of the measurement.
    """

    subnets: list[str]
    router: str
    flops_budget: float | None
    images: list[RoutedImage]

    @property
    def share(self) -> float:
        """FLOPs of all images over those of the largest subnet on the same tiles."""
        return sum(i.flops for i in self.images) / sum(i.flops_full for i in self.images)

    @property
    def seconds(self) -> float:
        """Wall-clock of an image, a mean."""
        return sum(image.seconds for image in self.images) / len(self.images)

    @property
    def share_untiled(self) -> float:
        """FLOPs of all images over those of the largest subnet on whole images."""
        return sum(i.flops for i in self.images) / sum(i.flops_untiled for i in self.images)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self, per_image: bool) -> list[str]:
        """What was saved, in words: of all images, and of each where that is asked for."""
        budget = "" if self.flops_budget is None else f", budget {100 * self.flops_budget:g}%"
        tiles = sum(len(image.subnets) for image in self.images)
        flops = sum(image.flops for image in self.images) / len(self.images)
        counts = np.bincount(np.concatenate([image.subnets for image in self.images]))
        taken = [f"{self.subnets[m]} {n / tiles:.0%}" for m, n in enumerate(counts) if n]
        each = [
            f"{title_of(image.benchmark)}  {image.image}  {image.flops / 1e9:.1f} GFLOPs, "
            f"{100 * image.flops / image.flops_full:.1f}%, {1000 * image.seconds:.0f} ms"
            for image in (self.images if per_image else [])
        ]
        return [
            *each,
            f"router {self.router}{budget}: {flops / 1e9:.1f} GFLOPs an image, "
            f"{100 * self.share:.1f}% of the largest subnet's on the same tiles, "
            f"{100 * self.share_untiled:.1f}% of those untiled, {1000 * self.seconds:.0f} ms an "
            "image",
            f"tiles: {', '.join(taken)}",
        ]

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(path, self.as_dict())

    @classmethod
    def read(cls, path: Path) -> RoutingTable:
        """Read what :meth:`write` wrote.

        Raises:
            ArtifactError: it is damaged.
        """
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            images = [RoutedImage(**image) for image in facts.pop("images")]
            return cls(**facts, images=images)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{path} is damaged. Delete it and run 'srprune eval' again."
            ) from error


def read_routing(results: Path) -> RoutingTable | None:
    """The routing beside a table of results; None where it was measured plainly."""
    path = routing_path(results)
    return RoutingTable.read(path) if path.exists() else None


def routing_path(results: Path) -> Path:
    """Where the routing of a table of results stands."""
    return results.with_name(f"{results.stem}.routing.json")


class Recorder:
    """Takes down how each image was restored, as the measurement goes on."""

    def __init__(self, restorer: DynamicRestorer) -> None:
        """Of the images that ``restorer`` is about to restore."""
        self._restorer = restorer
        self._images: list[RoutedImage] = []

    def add(self, benchmark: str, image: str) -> None:
        """The image that was restored last."""
        last = self._restorer.last
        assert last is not None
        self._images.append(_routed(benchmark, image, last))

    def table(self) -> RoutingTable:
        """All that was taken down."""
        labels = [subnet.name for subnet in self._restorer.subnets]
        router, budget = self._restorer.router.name, self._restorer.budget
        return RoutingTable(labels, router, budget, self._images)


def _routed(benchmark: str, image: str, last: Routing) -> RoutedImage:
    return RoutedImage(
        benchmark=benchmark,
        image=image,
        tile=(last.height, last.width),
        overlap=last.overlap,
        corners=list(zip(last.tops_T.tolist(), last.lefts_T.tolist(), strict=True)),
        subnets=last.subnet_T.tolist(),
        flops=last.flops,
        flops_full=last.flops_full,
        flops_untiled=last.flops_untiled,
        seconds=last.seconds,
    )


def write_maps(table: RoutingTable, benchmarks: Sequence[Benchmark], scale: int, to: Path) -> None:
    """Draw a map of every image: ``TO/BENCHMARK/IMAGE.png``.

    Args:
        table: of their measurement.
        benchmarks: where the images are.
        scale: of the network.
        to: folder that gets the maps.

    Raises:
        ImageError: an image that cannot be decoded.
    """
    measured = {each.name: each for each in benchmarks}
    for image in table.images:
        benchmark = measured[image.benchmark]
        path = to / benchmark.picture(image.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        lr = lr_of(benchmark.folder / image.image, scale)
        routing_map(lr, tile_map(table, image), path, title=image.image)


def tile_map(table: RoutingTable, image: RoutedImage) -> TileMap:
    """One image of a table as it is drawn."""
    corners_T2 = np.array(image.corners)
    return TileMap(
        tops_T=corners_T2[:, 0],
        lefts_T=corners_T2[:, 1],
        height=image.tile[0],
        width=image.tile[1],
        subnet_T=np.array(image.subnets),
        labels=table.subnets,
        flops_share=image.flops / image.flops_full,
    )


def lr_of(path: Path, scale: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 LR of an HR image.

    Raises:
        ImageError: it cannot be decoded.
    """
    return downscale(modcrop(as_rgb(decode(path)), scale), scale)
