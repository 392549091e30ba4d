"""Which subnet each tile of an image got: one image beside itself, as it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from srprune.core.findings import Findings
from srprune.reporting.routing import colours, painted
from srprune.reporting.study.axes import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 3.2  # inches of a panel
LINE = 0.22  # inches of a line of the legend
COLUMNS = 3


def tile_maps(findings: Findings) -> Plan | None:
    """The maps of a study; None where it restores nothing tile by tile."""
    shown = findings.tiles
    if not shown:
        return None
    maps = [each.tiles for each in shown]
    labels = maps[0].labels
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    lines = -(-len(labels) // 5)

    def draw(figure: Figure) -> None:
        from matplotlib.patches import Patch

        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, each in zip(grid, shown, strict=False):
            axes.imshow(painted(each.lr_hwC, each.tiles), interpolation="none")
            axes.set_title(f"{each.level}: {each.tiles.flops_share:.0%} of the FLOPs", fontsize=9)
        handles = [
            Patch(color=(red / 255, green / 255, blue / 255), label=label)
            for label, (red, green, blue) in zip(labels, colours(len(labels)), strict=True)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)

    first = shown[0]
    note = (
        f"{first.image}, {first.about}. Each tile has the colour of its subnet, from the cheapest "
        "(dark) to the dearest (light); FLOPs are those of the image, of the largest subnet's on "
        "the same tiles."
    )
    width, height = columns * SIDE, rows * (SIDE + 0.3) + lines * LINE
    return Plan("tiles", "Which subnet each tile got", note, width, height, draw)
