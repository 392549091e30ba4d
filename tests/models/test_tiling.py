"""Tiles: each pixel once, and the same pixels as untiled wherever the overlap reaches."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.restorer import LumaRestorer, Restorer  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.restorer import BicubicRestorer, NetworkRestorer, restorer_of  # noqa: E402
from srprune.models.tiling import Tiled, spans  # noqa: E402

TINY = {"fsrcnn": {"d": 6, "s": 4, "m": 1}, "srcnn": {"init": "he"}}
FEW = settings(deadline=None, max_examples=50)
lengths = st.integers(1, 40)


@cache
def network_restorer(model: str, channels: str = "rgb", scale: int = 2) -> NetworkRestorer:
    torch.manual_seed(2)
    network, domain = build(model, scale, {"channels": channels, **TINY[model]})
    for parameter in network.parameters():  # a fresh FSRCNN gives almost nothing
        parameter.data += 0.1 * torch.randn_like(parameter)
    return restorer_of("tiny", network, domain, "0123456789abcdef")


def image(batch: int, height: int, width: int, planes: int = 3) -> Any:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(batch, planes, height, width, generator=generator)


class Windows:
    """The mean of each window of 4 LR px, counted from the top left; sees 3 LR px far."""

    name, scale, fingerprint = "windows", 2, "none"
    reads: list[tuple[int, int]]

    def __init__(self, minimum: int = 1) -> None:
        self.minimum, self.reads = minimum, []

    def __call__(self, lr: Any) -> Any:
        height, width = lr.shape[2:]
        self.reads.append((height, width))
        if min(height, width) < self.minimum:
            raise InputError(f"{width}x{height} px are too few")
        means = torch.nn.functional.avg_pool2d(lr, 4, ceil_mode=True)
        return means.repeat_interleave(8, 2).repeat_interleave(8, 3)[
            :, :, : 2 * height, : 2 * width
        ]


@given(lengths, st.integers(1, 20), st.integers(0, 12), st.integers(1, 8), st.integers(1, 16))
def test_spans_keep_each_pixel_once_and_read_what_they_must(
    length: int, tile: int, overlap: int, multiple: int, minimum: int
) -> None:
    cut = spans(length, tile, overlap, multiple, minimum)
    assert [px for span in cut for px in range(span.start, span.stop)] == list(range(length))
    for span in cut:
        assert 0 < span.stop - span.start <= tile
        assert 0 <= span.read_start <= max(0, span.start - overlap)
        assert min(length, span.stop + overlap) <= span.read_stop <= length
        assert span.read_start % multiple == 0
        assert span.read_stop % multiple == 0 or span.read_stop == length
        assert span.read_stop - span.read_start >= min(minimum, length)


def test_spans_read_no_more_than_they_must() -> None:
    read = [(s.read_start, s.read_stop) for s in spans(33, 8, 3, multiple=1, minimum=1)]
    assert read == [(0, 11), (5, 19), (13, 27), (21, 33), (29, 33)]
    read = [(s.read_start, s.read_stop) for s in spans(33, 8, 3, multiple=4, minimum=9)]
    assert read == [(0, 12), (4, 20), (12, 28), (20, 33), (24, 33)]


@FEW
@given(
    st.sampled_from(["fsrcnn", "srcnn"]),
    st.sampled_from([2, 3, 4]),
    st.integers(1, 2),
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(5, 20),
    st.integers(0, 3),
)
@example("srcnn", 2, 2, 6, 7, 1, 0)
@example("fsrcnn", 3, 1, 25, 9, 8, 0)  # the last tile is a sliver of 1 px
def test_tiles_change_nothing_where_the_overlap_covers_the_radius(
    model: str, scale: int, batch: int, height: int, width: int, tile: int, more: int
) -> None:
    restorer = network_restorer(model, scale=scale)
    assert restorer.radius
    lr = image(batch, height, width)
    tiled = Tiled(restorer, tile, restorer.radius + more)(lr)
    whole = restorer(lr)
    assert tiled.shape == whole.shape == (batch, 3, scale * height, scale * width)
    assert (tiled - whole).abs().max() <= 1e-6 * max(1, whole.abs().max())


@pytest.mark.parametrize("model", ["fsrcnn", "srcnn"])
@pytest.mark.parametrize("short", [1, 2, 4])
def test_too_small_an_overlap_shows_near_the_seams_alone(model: str, short: int) -> None:
    restorer, tile = network_restorer(model), 13
    assert restorer.radius
    lr = image(1, 40, 29)
    tiled = Tiled(restorer, tile, restorer.radius - short)(lr)
    apart = (tiled - restorer(lr)).abs().amax(dim=(0, 1))
    near = [
        [any(seam - short <= px < seam + short for seam in range(tile, n, tile)) for px in range(n)]
        for n in (40, 29)
    ]
    rows, columns = (torch.tensor(side).repeat_interleave(2) for side in near)
    mask = rows[:, None] | columns[None, :]
    assert apart[~mask].max() <= 1e-6
    for seam in (rows, columns):
        assert seam.any()
    assert apart[rows][:, ~columns].max() > 1e-5
    assert apart[~rows][:, columns].max() > 1e-5


@FEW
@given(lengths, lengths, st.integers(1, 24), st.integers(3, 9))
def test_tiles_keep_the_windows_of_a_network(
    height: int, width: int, tile: int, overlap: int
) -> None:
    lr = image(1, height, width)
    apart = Tiled(Windows(), tile, overlap, multiple=4)(lr) - Windows()(lr)
    assert apart.abs().max() <= 1e-6


def test_tiles_that_begin_anywhere_lose_the_windows() -> None:
    lr = image(1, 30, 30)
    apart = Tiled(Windows(), tile=9, overlap=3, multiple=1)(lr) - Windows()(lr)
    assert apart.abs().max() > 0.01


@FEW
@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 12), st.integers(0, 6))
def test_no_tile_is_below_the_minimum(height: int, width: int, tile: int, overlap: int) -> None:
    restorer = Windows(minimum=8)
    tiled = Tiled(restorer, tile, overlap, multiple=4, minimum=8)
    tiled(image(1, height, width))
    longest = max(8, tile + 2 * overlap) + 2 * 3  # rounded to windows of 4 at both ends
    assert all(min(read) >= 8 and max(read) <= longest for read in restorer.reads)


def test_an_image_below_the_minimum_is_refused_as_a_whole() -> None:
    with pytest.raises(InputError, match="30x7 px are too few"):
        Tiled(Windows(minimum=8), 9, 3, minimum=8)(image(1, 7, 30))


@pytest.mark.parametrize("size", [(1, 1), (5, 64), (64, 64), (65, 129)])
def test_a_tile_reads_itself_and_its_context(size: tuple[int, int]) -> None:
    restorer = Windows()
    Tiled(restorer, 64, 7)(image(1, *size))
    assert len(restorer.reads) == -(-size[0] // 64) * -(-size[1] // 64)
    assert max(max(read) for read in restorer.reads) <= 64 + 2 * 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_luma_is_tiled_too(dtype: Any) -> None:
    restorer = network_restorer("fsrcnn", "y")
    assert isinstance(restorer, LumaRestorer)
    y = image(2, 31, 18, planes=1).to(dtype)
    tiled = Tiled(restorer, 8, restorer.radius)
    assert isinstance(tiled, LumaRestorer)
    sr = tiled.luma(y)
    assert sr.dtype == dtype
    assert torch.allclose(sr, restorer.luma(y), rtol=0, atol=1e-6)
    rgb = image(2, 31, 18)
    assert torch.allclose(tiled(rgb), restorer(rgb), rtol=0, atol=1e-6)


def test_bicubic_in_tiles_is_bicubic_to_the_bit() -> None:
    plain, lr = BicubicRestorer(3), image(2, 23, 17)
    assert torch.equal(Tiled(plain, 5, 2)(lr), plain(lr))
    assert not torch.equal(Tiled(plain, 5, 1)(lr), plain(lr))


def test_tiled_is_what_the_inner_restorer_is() -> None:
    of_y, of_rgb = network_restorer("fsrcnn", "y"), network_restorer("fsrcnn", "rgb")
    for inner, luma in ((of_y, True), (of_rgb, False), (Tiled(of_rgb, 9, 2), False)):
        tiled = Tiled(inner, 8, 2)
        assert isinstance(tiled, Restorer)
        assert isinstance(tiled, LumaRestorer) == hasattr(tiled, "luma") == luma
        assert (tiled.name, tiled.scale, tiled.fingerprint) == ("tiny", 2, "0123456789abcdef")


@pytest.mark.parametrize(("tile", "overlap"), [(0, 4), (-1, 4), (8, -1)])
def test_impossible_tiles_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(InputError, match=f"tile is {tile} and overlap {overlap} LR px"):
        Tiled(Windows(), tile, overlap)
