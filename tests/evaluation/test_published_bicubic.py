"""The bicubic row that papers print, from the real images; needs ``SRPRUNE_DATA``.

One class a scale, so that two workers share the images evenly.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")
from srprune.core.results import benchmark_means  # noqa: E402
from srprune.evaluation.run import Subject, evaluate  # noqa: E402
from srprune.images.benchmarks import PAPER, find_benchmark  # noqa: E402
from srprune.models.restorer import BicubicRestorer  # noqa: E402

# RCAN, ECCV 2018, table of bicubic degradation: PSNR and SSIM of "Bicubic"
X2 = {
    "set5": (33.66, 0.9299),
    "set14": (30.24, 0.8688),
    "bsd100": (29.56, 0.8431),
    "urban100": (26.88, 0.8403),
}
X4 = {
    "set5": (28.42, 0.8104),
    "set14": (26.00, 0.7027),
    "bsd100": (25.96, 0.6675),
    "urban100": (23.14, 0.6577),
}
DB, SIMILARITY = 0.015, 0.0010  # copies of Set14 and Urban100 differ by that much


def means(data: Path, name: str, scale: int, protocol: str) -> tuple[float, float]:
    benchmark = find_benchmark(name, [data])
    subject = Subject(BicubicRestorer(scale), "bicubic")
    rows = evaluate(subject, [benchmark], protocol, torch.device("cpu"))
    assert len(rows) == 2 * {"set5": 5, "set14": 14}.get(name, 100)
    figures = benchmark_means(rows)
    return figures[name, "psnr_y"], figures[name, "ssim_y"]


class Published:
    """One scale."""

    scale: ClassVar[int]
    row: ClassVar[dict[str, tuple[float, float]]]
    eight_bit: ClassVar[tuple[float, float]]  # Set5 under rgb8@1, as docs/protocol.md has it

    @pytest.mark.parametrize("name", PAPER)
    def test_y_gives_the_printed_row(self, data: Path, name: str) -> None:
        psnr, ssim = means(data, name, self.scale, "y@1")
        print(f"y@1 x{self.scale} {name}: {psnr:.4f} {ssim:.4f}")  # noqa: T201
        assert (psnr, ssim) == (
            pytest.approx(self.row[name][0], abs=DB),
            pytest.approx(self.row[name][1], abs=SIMILARITY),
        )

    def test_rgb8_gives_its_own_figures_to_the_last_digit(self, data: Path) -> None:
        psnr, ssim = means(data, "set5", self.scale, "rgb8@1")
        assert (f"{psnr:.4f}", f"{ssim:.4f}") == tuple(f"{x:.4f}" for x in self.eight_bit)


class TestX2(Published):
    """x2."""

    scale, row, eight_bit = 2, X2, (33.6734, 0.9303)


class TestX4(Published):
    """x4."""

    scale, row, eight_bit = 4, X4, (28.4290, 0.8111)
