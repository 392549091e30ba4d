"""The noise: its line of betas against diffusers, there and back, and draws without a state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from srprune.distill.config import DiffusionConfig  # noqa: E402
from srprune.distill.noise import Draws, Noise  # noqa: E402

CPU = torch.device("cpu")
SHAPE = (2, 3, 5)
DIT = Noise(DiffusionConfig())


def draw(seed: int = 0, step: int = 0, rows: range = range(8), noise: Noise = DIT) -> Draws:
    return noise.draw(seed, step, rows, SHAPE, CPU)


@pytest.mark.parametrize(("timesteps", "start", "end"), [(1000, 1e-4, 0.02), (50, 1e-3, 0.3)])
def test_it_is_that_of_diffusers(timesteps: int, start: float, end: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    noise = Noise(DiffusionConfig(timesteps=timesteps, beta_start=start, beta_end=end))
    theirs = diffusers.DDPMScheduler(timesteps, beta_start=start, beta_end=end)
    assert noise.alpha_bar_T.dtype == torch.float64
    torch.testing.assert_close(noise.alpha_bar_T.float(), theirs.alphas_cumprod, rtol=2e-4, atol=0)
    clean, drawn, timestep = torch.randn(4, *SHAPE), torch.randn(4, *SHAPE), torch.arange(4) * 16
    found = noise.add(clean, drawn, timestep)
    torch.testing.assert_close(found, theirs.add_noise(clean, drawn, timestep))
    assert found.dtype == torch.float32


def test_at_the_last_timestep_next_to_nothing_is_left() -> None:
    """Of DiT: an error of the noise is one of the clean latent that is 157 times as large."""
    assert float(DIT.odds(torch.tensor([999])) ** -0.5) == pytest.approx(157.4, abs=0.1)
    assert float(DIT.odds(torch.tensor([0]))) == pytest.approx(0.9999 / 0.0001)


@given(timestep=st.integers(0, 999), seed=st.integers(0, 99))
def test_the_clean_latent_comes_back(timestep: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    clean, drawn = torch.randn(2, 3, *SHAPE, generator=chance, dtype=torch.float64)
    timestep_B = torch.tensor([timestep, 0, 999])
    noisy = DIT.add(clean, drawn, timestep_B)
    torch.testing.assert_close(DIT.clean(noisy, drawn, timestep_B), clean, rtol=0, atol=1e-10)
    assert DIT.clean(noisy.float(), drawn.float(), timestep_B).dtype == torch.float32


@given(
    seed=st.integers(0, 2**32),
    step=st.integers(0, 2**40),
    ends=st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted),
)
def test_parts_of_a_batch_draw_what_the_whole_does(seed: int, step: int, ends: list[int]) -> None:
    whole, part = draw(seed, step, range(9)), draw(seed, step, range(*ends))
    for of_whole, of_part in zip(whole, part, strict=True):
        assert torch.equal(of_whole[ends[0] : ends[1]], of_part)
    again = draw(seed, step, range(9))
    assert all(torch.equal(first, second) for first, second in zip(whole, again, strict=True))


def test_rows_steps_and_seeds_draw_their_own() -> None:
    every = [draw(seed, step).noise_BCHW for seed in (0, 1) for step in (0, 1)]
    rows = torch.cat(every).flatten(1)
    assert len(rows) == 32
    alike = torch.corrcoef(rows).abs().fill_diagonal_(0)
    assert float(alike.max()) < 0.75  # of 30 values each: five sigma
    assert len(torch.unique(torch.cat([draw(step=step).timestep_B for step in range(50)]))) > 300


def test_what_is_drawn_is_spread_as_it_should_be() -> None:
    drawn = draw(rows=range(4000))
    assert drawn.noise_BCHW.dtype == torch.float32
    assert drawn.noise_BCHW.shape == (4000, *SHAPE)
    assert float(drawn.noise_BCHW.mean()) == pytest.approx(0, abs=0.012)  # four sigma
    assert float(drawn.noise_BCHW.std()) == pytest.approx(1, abs=0.01)
    assert drawn.timestep_B.dtype == torch.int64
    counts = np.histogram(drawn.timestep_B, bins=10, range=(0, 1000))[0]
    assert counts.sum() == 4000
    assert np.abs(counts - 400).max() < 80
    assert drawn.dropped_B.dtype == torch.bool
    assert float(drawn.dropped_B.float().mean()) == pytest.approx(0.1, abs=0.02)
    late = drawn.timestep_B >= 500
    assert float(drawn.dropped_B[late].float().mean()) == pytest.approx(0.1, abs=0.03)


def test_few_timesteps_and_no_dropout() -> None:
    noise = Noise(DiffusionConfig(timesteps=3, label_dropout=0.0))
    drawn = draw(rows=range(200), noise=noise)
    assert sorted(set(drawn.timestep_B.tolist())) == [0, 1, 2]
    assert not drawn.dropped_B.any()


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw()
    assert torch.equal(torch.get_rng_state(), before)
