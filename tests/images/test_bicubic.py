"""The numpy bicubic against golden vectors, a slow reference and MATLAB's own files."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from srprune.core.errors import InputError
from srprune.images.bicubic import (
    Border,
    downscale,
    enlarge_taps,
    modcrop,
    shrink_taps,
    upscale,
)
from srprune.images.color import rgb_to_y

Array = npt.NDArray[Any]
BORDERS: tuple[Border, ...] = ("symmetric", "replicate")
SCALES = (2, 3, 4)

# MATLAB-exact reference vectors, published with this project's protocol in docs/protocol.md.
ROW, COL = np.mgrid[:24, :24]
PATTERN = ((7 * ROW * ROW + 13 * COL + 5 * ROW * COL) % 256).astype(np.uint8)
SMOOTH = np.floor(128 + 60 * np.sin(ROW / 3.1) * np.cos(COL / 2.3) + 0.5).astype(np.uint8)


def slow_resize(image: Array, scale: float, border: Border) -> Array:
    """MATLAB's imresize step by step, in float64; ``scale`` is output over input. Plain loops."""

    def cubic(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    def contributions(length: int) -> Array:
        """The dense (out, in) matrix, one-based inside as MATLAB's function of that name."""
        squeeze = min(scale, 1.0)
        width = 4 / squeeze
        matrix = np.zeros((round(length * scale), length))
        for row in range(1, len(matrix) + 1):
            u = row / scale + 0.5 * (1 - 1 / scale)
            left = math.floor(u - width / 2)
            reach = range(left, left + math.ceil(width) + 2)
            weights = [squeeze * cubic(squeeze * (u - j)) for j in reach]
            for j, weight in zip(reach, weights, strict=True):
                if border == "symmetric":
                    table = [*range(length), *reversed(range(length))]
                    at = table[(j - 1) % (2 * length)]
                else:
                    at = min(max(j, 1), length) - 1
                matrix[row - 1, at] += weight / sum(weights)
        return matrix

    def finish(x: Array) -> Array:
        return np.clip(np.floor(x + 0.5), 0, 255) if image.dtype == np.uint8 else x

    rows = finish(np.tensordot(contributions(image.shape[0]), image.astype(np.float64), (1, 0)))
    columns = finish(np.tensordot(contributions(image.shape[1]), rows, (1, 1)))
    return np.swapaxes(columns, 0, 1).astype(image.dtype)


def psnr(a: Array, b: Array) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


@st.composite
def images(draw: st.DrawFn, multiple: int = 1, dtype: Any = np.uint8) -> Array:
    """Small images, also smaller than the kernel, with or without channels."""
    height, width = (multiple * draw(st.integers(1, 7)) for _ in "hw")
    shape = draw(st.sampled_from([(height, width), (height, width, 1), (height, width, 3)]))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.random.default_rng(seed).integers(0, 256, shape)
    if draw(st.booleans()):
        values = np.where(values > 127, 255, 0)  # overshoots: the clipping matters
    return values.astype(dtype)


class TestWeights:
    @pytest.mark.parametrize(
        ("scale", "first", "half"),
        [
            (2, -3, [-3 / 256, -9 / 256, 29 / 256, 111 / 256]),
            (3, -4, [-1 / 81, -2 / 81, 0, 9 / 81, 21 / 81, 27 / 81]),
            (
                4,
                -6,
                [
                    *(-0.0017089844, -0.0109863281, -0.0183105469, -0.0119628906),
                    *(0.0227050781, 0.0974121094, 0.1818847656, 0.2409667969),
                ],
            ),
        ],
    )
    def test_shrinking(self, scale: int, first: int, half: list[float]) -> None:
        taps = shrink_taps(scale)
        mirrored = half[::-1][scale % 2 :]  # an odd scale has a tap in the middle
        assert (taps.first, taps.stride, taps.phases) == (first, scale, 1)
        np.testing.assert_allclose(taps.weights, [half + mirrored], atol=5e-11, rtol=0)

    @pytest.mark.parametrize(
        ("scale", "phases"),
        [
            (2, [[-0.0234375, 0.2265625, 0.8671875, -0.0703125]]),
            (3, [[-1 / 27, 9 / 27, 21 / 27, -2 / 27]]),
            (
                4,
                [
                    [-0.0439453125, 0.3896484375, 0.7275390625, -0.0732421875],
                    [-0.0068359375, 0.0908203125, 0.9638671875, -0.0478515625],
                ],
            ),
        ],
    )
    def test_enlarging(self, scale: int, phases: list[list[float]]) -> None:
        taps = enlarge_taps(scale)
        before = [[*row, 0.0] for row in phases]
        middle = [[0.0, 0.0, 1.0, 0.0, 0.0]] * (scale % 2)
        after = [row[::-1] for row in before[::-1]]
        assert (taps.first, taps.stride, taps.phases) == (-2, 1, scale)
        np.testing.assert_allclose(taps.weights, before + middle + after, atol=1e-15, rtol=0)

    @pytest.mark.parametrize(("scale", "unit"), [(2, 256), (4, 4096)])
    def test_binary_fractions_are_exact(self, scale: int, unit: int) -> None:
        for taps in (shrink_taps(scale), enlarge_taps(scale)):
            integers = taps.weights * unit
            assert (integers == np.round(integers)).all()
            # Every partial sum of bytes is an integer that float32 holds.
            assert 255 * np.abs(integers).sum(axis=1).max() + unit < 2**24

    def test_thirds_are_far_from_ties(self) -> None:
        for taps, unit in ((shrink_taps(3), 81), (enlarge_taps(3), 27)):
            integers = taps.weights * unit  # an odd unit: n / 81 is never a half
            np.testing.assert_allclose(integers, np.round(integers), atol=1e-12)

    def test_shared_weights_are_read_only(self) -> None:
        assert shrink_taps(2) is shrink_taps(2)
        with pytest.raises(ValueError, match="read-only"):
            shrink_taps(2).weights[0, 0] = 1

    def test_first_row_reads_mirrored_rows(self) -> None:
        assert shrink_taps(2).sources(24, "symmetric")[:8].tolist() == [2, 1, 0, 0, 1, 2, 3, 4]
        assert shrink_taps(2).sources(24, "replicate")[:8].tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
        assert shrink_taps(2).sources(2, "symmetric").tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


class TestGolden:
    """Reference vectors of the protocol: 24x24 images, borders symmetric."""

    def test_inputs(self) -> None:
        assert (PATTERN.sum(), SMOOTH.sum()) == (74_704, 73_569)

    @pytest.mark.parametrize(
        ("scale", "total", "first_row"),
        [
            (2, 18_672, [9, 40, 72, 109, 142, 151, 173, 117, 145, 172, 81, 79]),
            (3, 8_301, [26, 87, 128, 138, 142, 136, 146, 92]),
            (4, 4_667, [56, 116, 134, 137, 143, 107]),
        ],
    )
    def test_shrunk(self, scale: int, total: int, first_row: list[int]) -> None:
        small = downscale(PATTERN, scale)
        assert small.sum() == total
        assert small[0].tolist() == first_row

    def test_last_row(self) -> None:
        expected = [131, 160, 151, 147, 138, 131, 136, 188, 181, 171, 167, 167]
        assert downscale(PATTERN, 2)[-1].tolist() == expected

    def test_there_and_back(self) -> None:
        back = upscale(downscale(PATTERN, 2), 2)
        assert back.sum() == 74_686
        assert psnr(PATTERN, back) == pytest.approx(11.523608, abs=5e-7)

    def test_smooth_there_and_back(self) -> None:
        small = downscale(SMOOTH, 2)
        back = upscale(small, 2)
        assert small.sum() == 18_387
        assert psnr(SMOOTH, back) == pytest.approx(43.710145, abs=5e-7)
        inner = np.s_[2:-2, 2:-2]
        assert psnr(SMOOTH[inner], back[inner]) == pytest.approx(48.811142, abs=5e-7)

    def test_structural_similarity(self) -> None:
        def ssim(a: Array, b: Array) -> float:
            metrics = pytest.importorskip("skimage.metrics")
            options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            _, full = metrics.structural_similarity(a, b, data_range=255, full=True, **options)
            return float(full[5:-5, 5:-5].mean())

        for image, expected in ((PATTERN, 0.147662), (SMOOTH, 0.999392)):
            back = upscale(downscale(image, 2), 2)
            value = ssim(image.astype(np.float64), back.astype(np.float64))
            assert value == pytest.approx(expected, abs=5e-7)


class TestProperties:
    @settings(max_examples=60, deadline=None)
    @given(st.data(), st.sampled_from((*SCALES, 5)), st.sampled_from(BORDERS))
    def test_equals_the_slow_reference(
        self, data: st.DataObject, scale: int, border: Border
    ) -> None:
        image = data.draw(images(multiple=scale))
        small = downscale(image, scale, border)
        assert small.dtype == np.uint8
        np.testing.assert_array_equal(small, slow_resize(image, 1 / scale, border))
        np.testing.assert_array_equal(
            upscale(small, scale, border), slow_resize(small, scale, border)
        )
        floats = image.astype(np.float64)
        np.testing.assert_allclose(
            downscale(floats, scale, border), slow_resize(floats, 1 / scale, border), atol=1e-11
        )
        np.testing.assert_allclose(
            upscale(floats, scale, border), slow_resize(floats, scale, border), atol=1e-11
        )

    @pytest.mark.parametrize("scale", SCALES)
    @pytest.mark.parametrize("border", BORDERS)
    def test_float32_sums_round_as_float64(self, scale: int, border: Border) -> None:
        """Extreme and random bytes in blocks: the quick arithmetic never changes a pixel."""
        rng = np.random.default_rng(scale)
        noise = rng.integers(0, 256, (240, 480, 3), dtype=np.uint8)
        noise[:, 240:] = np.where(noise[:, 240:] > 127, 255, 0)
        np.testing.assert_array_equal(
            downscale(noise, scale, border), slow_resize(noise, 1 / scale, border)
        )
        np.testing.assert_array_equal(
            upscale(noise[:96], scale, border), slow_resize(noise[:96], scale, border)
        )

    @given(
        st.integers(0, 255),
        st.sampled_from(SCALES),
        st.sampled_from(BORDERS),
        st.sampled_from([np.uint8, np.float32, np.float64]),
    )
    def test_constants_stay(self, value: int, scale: int, border: Border, dtype: Any) -> None:
        image: Array = np.full((2 * scale, 3 * scale, 3), value, dtype)
        for result in (downscale(image, scale, border), upscale(image, scale, border)):
            assert result.dtype == dtype
            np.testing.assert_allclose(result, value, rtol=0 if dtype == np.uint8 else 1e-6)

    @given(st.data(), st.sampled_from(SCALES), st.sampled_from(BORDERS), st.sampled_from([0, 1]))
    def test_flips_commute(
        self, data: st.DataObject, scale: int, border: Border, axis: int
    ) -> None:
        image = data.draw(images(multiple=scale))
        for resize in (downscale, upscale):
            np.testing.assert_array_equal(
                np.flip(resize(image, scale, border), axis),
                resize(np.ascontiguousarray(np.flip(image, axis)), scale, border),
            )

    @given(st.data(), st.sampled_from(SCALES), st.sampled_from(BORDERS))
    def test_floats_are_linear(self, data: st.DataObject, scale: int, border: Border) -> None:
        shape = (2 * scale, 4 * scale, 2)
        a, b = (data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-9, 9))) for _ in "ab")
        for resize in (downscale, upscale):
            np.testing.assert_allclose(
                resize(2 * a - 3 * b, scale, border),
                2 * resize(a, scale, border) - 3 * resize(b, scale, border),
                atol=1e-11,
            )

    def test_floats_are_neither_rounded_nor_clipped(self) -> None:
        step = np.repeat([0.0, 255.0], 8)[None].repeat(4, axis=0)
        result = upscale(step, 2)
        assert result.min() < 0
        assert result.max() > 255

    def test_float32_is_close_to_float64(self) -> None:
        image = PATTERN.astype(np.float64) / 255
        for resize in (downscale, upscale):
            single = resize(image.astype(np.float32), 3)
            assert single.dtype == np.float32
            np.testing.assert_allclose(single, resize(image, 3), atol=1e-6)

    def test_layout_does_not_matter(self) -> None:
        colour = np.stack([PATTERN, PATTERN.T, SMOOTH], axis=2)
        turned = np.asfortranarray(colour)
        for resize in (downscale, upscale):
            result = resize(colour, 2)
            assert result.flags.c_contiguous
            np.testing.assert_array_equal(resize(turned, 2), result)
            np.testing.assert_array_equal(resize(colour[..., 1], 2), result[..., 1])


class TestErrors:
    @pytest.mark.parametrize("shape", [(5, 4), (4, 5), (5, 5, 3)])
    def test_sides_must_be_multiples(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="crop both to multiples"):
            downscale(np.zeros(shape, np.uint8), 2)

    @pytest.mark.parametrize("scale", [1, 0, -2])
    def test_scale(self, scale: int) -> None:
        for resize in (downscale, upscale):
            with pytest.raises(InputError, match="2 or more"):
                resize(PATTERN, scale)

    def test_no_pixels(self) -> None:
        for resize in (downscale, upscale):
            with pytest.raises(InputError, match="without pixels"):
                resize(np.zeros((0, 4), np.uint8), 2)

    @pytest.mark.parametrize("dtype", [np.int64, np.float16, np.bool_, np.uint16])
    def test_dtype(self, dtype: Any) -> None:
        image: Array = np.zeros((4, 4), dtype)
        with pytest.raises(TypeError, match="uint8, float32 or float64"):
            downscale(image, 2)

    def test_border(self) -> None:
        border: Any = "reflect"
        with pytest.raises(ValueError, match="border must be"):
            downscale(PATTERN, 2, border)


def test_modcrop_is_a_view_of_the_top_left() -> None:
    image = np.arange(7 * 9 * 3).reshape(7, 9, 3).astype(np.uint8)
    assert modcrop(image, 4).shape == (4, 8, 3)
    assert np.shares_memory(modcrop(image, 4), image)
    np.testing.assert_array_equal(modcrop(image[..., 0], 3), image[:6, :9, 0])


def test_torch_is_not_imported() -> None:
    check = (
        "import sys, srprune.images.bicubic, srprune.images.color; print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], check=False, capture_output=True, text=True
    )
    assert result.stdout.strip() == "False", result.stderr


# --- MATLAB's own files ---------------------------------------------------------------------

needs_data = pytest.mark.skipif(
    "SRPRUNE_DATA" not in os.environ,
    reason="SRPRUNE_DATA is not set: it names a folder with benchmark/ and matlab_lr/",
)


def data_root() -> Path:
    return Path(os.environ["SRPRUNE_DATA"])


def read(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels as stored: a one-channel image keeps one channel."""
    with Image.open(path) as image:
        return np.asarray(image)


def mismatches(folder: str, name: str, scale: int, border: Border) -> tuple[int, list[str]]:
    """How many low-resolution files there are, and which differ from ours in any pixel."""
    originals = {path.stem: path for path in (data_root() / "benchmark" / name / "HR").iterdir()}
    files = sorted((data_root() / folder / name / f"x{scale}").iterdir())
    wrong = [
        path.name
        for path in files
        if not np.array_equal(
            downscale(modcrop(read(originals[path.stem]), scale), scale, border), read(path)
        )
    ]
    return len(files), wrong


@needs_data
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("BSD100", 100)])
def test_equals_older_matlab(name: str, count: int, scale: int) -> None:
    """Old MATLAB repeats the edge pixel; files of github.com/jbhuang0604/SelfExSR."""
    assert mismatches("matlab_lr", name, scale, "replicate") == (count, [])


@needs_data
@pytest.mark.parametrize("scale", SCALES)
def test_equals_newer_matlab(scale: int) -> None:
    """Newer MATLAB mirrors; files of github.com/Zheng222/IMDN."""
    assert mismatches("matlab_lr_symmetric", "Set5", scale, "symmetric") == (5, [])


@needs_data
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.6734), (3, 30.4033), (4, 28.4290)])
def test_published_bicubic_row(scale: int, expected: float) -> None:
    """Set5 by 8-bit RGB in and out, luma not rounded, ``scale`` pixels of border removed."""
    values = []
    for path in sorted((data_root() / "benchmark/Set5/HR").iterdir()):
        truth = modcrop(read(path), scale)
        guess = upscale(downscale(truth, scale), scale)
        inner = np.s_[scale:-scale, scale:-scale]
        values.append(psnr(rgb_to_y(truth)[inner], rgb_to_y(guess)[inner]))
    assert np.mean(values) == pytest.approx(expected, abs=5e-5)
