"""The two protocols, choice by choice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.errors import ImageError, InputError  # noqa: E402
from srprune.evaluation.metrics import psnr, ssim  # noqa: E402
from srprune.evaluation.protocol import (  # noqa: E402
    PROTOCOLS,
    measure_rgb8,
    measure_y,
    to_uint8,
)
from srprune.evaluation.run import Subject, evaluate  # noqa: E402
from srprune.images import bicubic, color  # noqa: E402
from srprune.images.benchmarks import find_benchmark  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.restorer import BicubicRestorer, restorer_of  # noqa: E402

CPU = torch.device("cpu")
MEASURES = list(PROTOCOLS.values())

# The smooth image of docs/protocol.md: its figures are those of MATLAB's definitions.
ROW, COL = np.mgrid[:24, :24]
SMOOTH = np.floor(128 + 60 * np.sin(ROW / 3.1) * np.cos(COL / 2.3) + 0.5).astype(np.uint8)


class Oracle:
    """A restorer that answers with a given image, and keeps what it was given."""

    name = "oracle"
    fingerprint = "oracle"

    def __init__(self, answer: np.ndarray, scale: int = 2) -> None:
        """``answer`` is (H, W) or (H, W, 3) on the scale 0..255."""
        self.scale = scale
        planes = np.atleast_3d(answer).transpose(2, 0, 1).astype(np.float64)
        self._answer = torch.from_numpy(planes.copy())[None] / 255
        self.given: Any = None

    def __call__(self, lr_BChw: Any) -> Any:
        self.given = lr_BChw
        return self._answer.expand(1, 3, -1, -1)

    def luma(self, y_B1hw: Any) -> Any:
        self.given = y_B1hw
        return self._answer


def colours(height: int = 24, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_versions_of_the_protocols() -> None:
    assert list(PROTOCOLS.items()) == [("rgb8@1", measure_rgb8), ("y@1", measure_y)]


@pytest.mark.parametrize("measure", MEASURES)
def test_perfect_restorer_is_infinite_and_one(measure: Any) -> None:
    hr = colours()
    answer = hr if measure is measure_rgb8 else color.rgb_to_y8(hr)
    figures = measure(Oracle(answer), hr, CPU)
    assert figures.psnr_y == math.inf
    assert figures.ssim_y == pytest.approx(1, abs=1e-12)
    assert np.array_equal(figures.sr, answer)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rgb8_gives_the_eight_bit_lr_of_the_whole_colour_image(scale: int) -> None:
    hr = colours(24, 36)
    oracle = Oracle(hr, scale)
    measure_rgb8(oracle, hr, CPU)
    lr = bicubic.downscale(hr, scale)
    assert oracle.given.dtype == torch.float32
    given = oracle.given[0].permute(1, 2, 0) * 255
    assert torch.allclose(given, torch.from_numpy(lr).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_y_gives_the_unrounded_lr_of_the_rounded_luma(scale: int) -> None:
    hr = colours(24, 36)
    y = color.rgb_to_y8(hr)
    oracle = Oracle(y, scale)
    measure_y(oracle, hr, CPU)
    assert oracle.given.dtype == torch.float64
    expected = bicubic.downscale(y / 255.0, scale)
    np.testing.assert_array_equal(oracle.given[0, 0].numpy(), expected)
    levels = expected * 255
    assert np.abs(levels - np.round(levels)).max() > 0.1


def test_rgb8_psnr_by_hand() -> None:
    """Green 10 levels too high everywhere: Y is 10 * 128.553 / 255 too high, not rounded."""
    hr = np.full((24, 24, 3), 100, np.uint8)
    answer = hr + np.array([0, 10, 0], np.uint8)
    figures = measure_rgb8(Oracle(answer), hr, CPU)
    assert figures.psnr_y == pytest.approx(20 * math.log10(255 / (10 * 128.553 / 255)), abs=1e-9)


def test_y_psnr_by_hand() -> None:
    """One of the 20 x 20 inner pixels is 10 levels too high."""
    hr = np.full((24, 24), 100, np.uint8)
    answer = hr.copy()
    answer[12, 7] = 110
    figures = measure_y(Oracle(answer), hr, CPU)
    assert figures.psnr_y == pytest.approx(10 * math.log10(255**2 / (100 / 400)), abs=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("measure", MEASURES)
def test_border_of_scale_px_counts_for_nothing_and_no_more_than_that(
    measure: Any, scale: int
) -> None:
    hr = np.full((24, 36), 100, np.uint8)
    border = np.full_like(hr, 255)
    border[scale:-scale, scale:-scale] = 100
    assert measure(Oracle(border, scale), hr, CPU).psnr_y == math.inf
    for corner in ((scale, scale), (23 - scale, 35 - scale)):
        spoiled = hr.copy()
        spoiled[corner] = 110
        assert measure(Oracle(spoiled, scale), hr, CPU).psnr_y < 60


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("measure", MEASURES)
def test_hr_is_cut_to_a_multiple_of_the_scale_first(measure: Any, scale: int) -> None:
    hr = colours(12 * scale + 5, 12 * scale + 7)
    cut = hr[: (12 * scale + 5) // scale * scale, : (12 * scale + 7) // scale * scale]
    odd = measure(BicubicRestorer(scale), hr, CPU)
    even = measure(BicubicRestorer(scale), cut, CPU)
    assert (odd.psnr_y, odd.ssim_y) == (even.psnr_y, even.ssim_y)
    assert odd.sr.shape[:2] == cut.shape[:2]


def test_sr_is_rounded_half_up_and_clipped() -> None:
    values = np.array([-3.0, -0.4, 0.49, 0.5, 1.5, 2.5, 254.49, 254.5, 255.4, 300.0])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 2, 3, 254, 255, 255, 255]
    hr = np.full((24, 24), 250, np.uint8)
    for measure in MEASURES:
        assert (measure(Oracle(np.full((24, 24), 300.0)), hr, CPU).sr == 255).all()
        assert (measure(Oracle(np.full((24, 24), 250.4)), hr, CPU).psnr_y) == math.inf


def test_rgb8_luma_is_that_of_both_eight_bit_images() -> None:
    hr, restorer = colours(seed=1), BicubicRestorer(2)
    figures = measure_rgb8(restorer, hr, CPU)
    sr = bicubic.upscale(bicubic.downscale(hr, 2), 2)
    assert np.array_equal(figures.sr, sr)
    a, b = (color.rgb_to_y(image)[2:-2, 2:-2] for image in (sr, hr))
    assert figures.psnr_y == pytest.approx(psnr(a, b), abs=1e-6)  # one pass, in single precision
    assert figures.ssim_y == pytest.approx(ssim(a, b), abs=1e-6)


def test_y_luma_is_rounded_in_both_images() -> None:
    hr, restorer = colours(seed=2), BicubicRestorer(2)
    figures = measure_y(restorer, hr, CPU)
    y = color.rgb_to_y8(hr)
    sr = np.clip(np.floor(bicubic.upscale(bicubic.downscale(y / 255, 2), 2) * 255 + 0.5), 0, 255)
    assert figures.sr.dtype == np.uint8
    assert (figures.sr != sr).mean() < 0.01  # the last digit of a double at a tie
    a, b = (image[2:-2, 2:-2].astype(np.float64) for image in (figures.sr, y))
    assert (figures.psnr_y, figures.ssim_y) == (psnr(a, b), ssim(a, b))


def test_published_figures_of_the_smooth_image() -> None:
    figures = measure_rgb8(BicubicRestorer(2), SMOOTH, CPU)
    assert (round(figures.psnr_y, 6), round(figures.ssim_y, 6)) == (48.811142, 0.999437)


@pytest.mark.parametrize("measure", MEASURES)
def test_grey_image_is_measured_as_it_is(measure: Any) -> None:
    """As Y itself: full range, never squeezed to 16..235 by way of RGB."""
    grey = colours(seed=3)[:, :, 0]
    figures = measure(BicubicRestorer(2), grey, CPU)
    assert figures.sr.shape == grey.shape
    a, b = (image[2:-2, 2:-2].astype(np.float64) for image in (figures.sr, grey))
    assert figures.psnr_y == psnr(a, b)
    as_colour = measure(BicubicRestorer(2), np.repeat(grey[:, :, None], 3, 2), CPU)
    gain = 20 * math.log10(255 / 219)  # what the squeeze would add, but for the rounding
    assert as_colour.psnr_y - figures.psnr_y == pytest.approx(gain, abs=0.1)


def test_network_on_y_restores_grey_through_rgb_under_rgb8() -> None:
    torch.manual_seed(0)
    network, domain = build("srcnn", 2, {"init": "he"})
    restorer = restorer_of("tiny", network, domain, "0")
    figures = measure_rgb8(restorer, SMOOTH, CPU)
    assert figures.sr.shape == SMOOTH.shape
    assert math.isfinite(figures.psnr_y)


def test_y_refuses_a_network_on_rgb() -> None:
    network, domain = build("srcnn", 2, {"channels": "rgb"})
    restorer = restorer_of("colourful", network, domain, "0")
    with pytest.raises(InputError, match="colourful works on RGB") as caught:
        measure_y(restorer, colours(), CPU)
    assert "--protocol rgb8@1" in str(caught.value)
    assert math.isfinite(measure_rgb8(restorer, colours(), CPU).psnr_y)


@pytest.mark.parametrize("shape", [(24, 24), (24, 24, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_constant_image_is_restored_without_fault(
    measure: Any, shape: tuple[int, ...], value: int
) -> None:
    figures = measure(BicubicRestorer(2), np.full(shape, value, np.uint8), CPU)
    assert figures.psnr_y == math.inf
    assert figures.ssim_y == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("measure", MEASURES)
def test_image_must_hold_a_window_inside_its_border(measure: Any, scale: int) -> None:
    least = -(-(11 + 2 * scale) // scale) * scale
    assert math.isfinite(measure(BicubicRestorer(scale), colours(least, least), CPU).psnr_y)
    for height, width in ((least - 1, 60), (60, least - 1)):
        with pytest.raises(InputError, match=f"at least {11 + 2 * scale} px a side"):
            measure(BicubicRestorer(scale), colours(height, width), CPU)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "measured"
    folder.mkdir()
    for seed, name in enumerate(("b.png", "a.png")):
        Image.fromarray(colours(24 + 3 * seed, 30, seed)).save(folder / name)
    return folder


def test_rows_of_a_benchmark_are_those_of_its_images(folder: Path) -> None:
    benchmark = find_benchmark(str(folder), [])
    subject = Subject(BicubicRestorer(3), "plain")
    seen: list[tuple[str, tuple[int, ...]]] = []
    rows = evaluate(
        subject,
        [benchmark],
        "rgb8@1",
        CPU,
        on_sr=lambda _, name, sr: seen.append((name, sr.shape)),
    )
    assert seen == [("a.png", (27, 30, 3)), ("b.png", (24, 30, 3))]
    assert [(row.image, row.metric) for row in rows] == [
        (name, metric) for name in ("a.png", "b.png") for metric in ("psnr_y", "ssim_y")
    ]
    figures = measure_rgb8(subject.restorer, colours(24, 30, 0), CPU)
    assert [row.value for row in rows[2:]] == [figures.psnr_y, figures.ssim_y]
    assert {(row.model, row.train_set, row.seed, row.scale) for row in rows} == {
        ("plain", "none", -1, 3)
    }
    assert {(row.benchmark, row.protocol) for row in rows} == {("measured", "rgb8@1")}


def test_unusable_image_of_a_benchmark_is_named(folder: Path) -> None:
    subject = Subject(BicubicRestorer(2), "plain")
    Image.fromarray(colours(10, 10)).save(folder / "small.png")
    with pytest.raises(InputError, match=r"small\.png: the image has 10x10 px"):
        evaluate(subject, [find_benchmark(str(folder), [])], "y@1", CPU)
    (folder / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png is not a PNG image"):
        evaluate(subject, [find_benchmark(str(folder), [])], "y@1", CPU)
