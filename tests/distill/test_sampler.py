"""The sampler against networks whose samples are known, and against diffusers' DDIM."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler

from srprune.core.errors import InputError
from srprune.distill.config import DiffusionConfig, NetworkConfig
from srprune.distill.denoiser import Denoiser, Noisy
from srprune.distill.noise import Noise
from srprune.distill.sampler import sample, start_noise, timesteps

NOISE = Noise(DiffusionConfig())
SHAPE = (2, 6, 6)


class Gaussian(nn.Module):
    """The exact denoiser of normal data: category c has mean ``means[c]``, none the last one."""

    def __init__(self, means: list[float], spread: float) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.tensor(means))
        self.spread, self.null = spread, len(means) - 1
        self.batches: list[int] = []

    def forward(self, noisy: Noisy) -> Tensor:
        self.batches.append(len(noisy.latent_BCHW))
        a = NOISE.alpha_bar_T[noisy.timestep_B][:, None, None, None]
        mean = self.means[noisy.category_B][:, None, None, None]
        surplus = noisy.latent_BCHW - a.sqrt() * mean
        return ((1 - a).sqrt() * surplus / (a * self.spread**2 + 1 - a)).float()


class Curved(nn.Module):
    """A network without meaning; what it predicts depends on everything it is asked."""

    null = 3

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))

    def forward(self, noisy: Noisy) -> Tensor:
        shift = noisy.timestep_B / 1000 + 0.3 * noisy.category_B
        return torch.tanh(self.gain * noisy.latent_BCHW + shift[:, None, None, None])


def starts(count: int, seed: int = 0) -> Tensor:
    return torch.stack([start_noise(seed, 0, number, SHAPE) for number in range(count)])


def ask(network: nn.Module, count: int = 4, *, guidance: float = 1.0, steps: int = 50, **more):
    categories_B = more.get("categories_B", torch.zeros(count, dtype=torch.int64))
    starts_BCHW = more.get("starts_BCHW", starts(count))
    return sample(
        network,
        NOISE,
        categories_B=categories_B,
        starts_BCHW=starts_BCHW,
        guidance=guidance,
        steps=steps,
    )


def test_samples_of_a_normal_distribution_are_those_of_its_flow() -> None:
    """Without noise on the way a start z becomes mean + spread * (z - sqrt(a) mean) / spread_T."""
    mean, spread = 0.8, 0.25
    z, a = starts(40), NOISE.alpha_bar_T[-1]
    flow = mean + spread * (z - a.sqrt() * mean) / (a * spread**2 + 1 - a).sqrt()
    errors = [
        float((ask(Gaussian([mean, 0.0], spread), 40, steps=steps) - flow).abs().max())
        for steps in (50, 200, 1000)
    ]
    assert errors[0] < 0.1  # of samples that lie some 0.8 apart
    assert errors[0] > 2 * errors[1] > 4 * errors[2]  # of first order in the length of a step
    assert errors[2] < 0.01
    drawn = ask(Gaussian([mean, 0.0], spread), 40, steps=200)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(spread, abs=0.02)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5, 4.0])
def test_guidance_exaggerates_what_the_category_changes(guidance: float) -> None:
    """Of normal data with one spread, predictions are linear in the mean, and so are samples."""
    network = Gaussian([0.5, -0.2], 0.3)
    drawn = ask(network, 40, guidance=guidance, steps=100)
    mean = -0.2 + guidance * (0.5 - -0.2)
    as_if = ask(Gaussian([mean, 9.0], 0.3), 40, steps=100)
    torch.testing.assert_close(drawn, as_if, atol=1e-4, rtol=1e-4)
    assert set(network.batches) == {40 if guidance in (0, 1) else 80}


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_the_steps_are_those_of_ddim(steps: int) -> None:
    network, categories_B, x = Curved(), torch.tensor([0, 2, 1]), starts(3)
    ours = ask(network, guidance=3.0, steps=steps, categories_B=categories_B, starts_BCHW=x)
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == timesteps(1000, steps)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            t_B = t.expand(3)
            free = network(Noisy(x, t_B, torch.full((3,), 3)))
            asked = network(Noisy(x, t_B, categories_B))
            x = scheduler.step(free + 3.0 * (asked - free), t, x).prev_sample
    torch.testing.assert_close(ours, x, atol=2e-3, rtol=2e-4)  # its products are float32


def test_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    config = NetworkConfig(layers=2, heads=2, head_width=8)
    network = Denoiser(config, side=6, channels=2, categories=3).eval()
    for parameter in network.parameters():  # a fresh one predicts 0
        nn.init.normal_(parameter, std=0.05)
    categories_B, starts_BCHW = torch.tensor([0, 1, 2, 1]), starts(4)
    whole = ask(network, guidance=4.0, steps=10, categories_B=categories_B)
    parts = [
        ask(
            network,
            guidance=4.0,
            steps=10,
            categories_B=categories_B[part],
            starts_BCHW=starts_BCHW[part],
        )
        for part in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(whole, torch.cat(parts), atol=1e-3, rtol=1e-4)
    again = ask(network, guidance=4.0, steps=10, categories_B=categories_B)
    assert torch.equal(whole, again)
    assert whole.is_inference()
    assert not torch.allclose(whole[1], whole[3], atol=0.1)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_timesteps_are_spread_from_the_last_one_down(total: int, steps: int) -> None:
    if steps > total:
        with pytest.raises(InputError, match=rf"^sampling_steps is {steps}, and .* {total} time"):
            timesteps(total, steps)
        return
    down = timesteps(total, steps)
    gaps = {here - after for here, after in zip(down, [*down[1:], -1], strict=True)}
    assert down[0] == total - 1
    assert down[-1] >= 0
    assert len(down) == steps
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_the_first_noise_is_a_function_of_seed_category_and_number() -> None:
    drawn = {
        key: start_noise(*key, (3, 24, 24))
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 11), (0, 1, 1)]
    }
    for key, noise in drawn.items():
        assert torch.equal(noise, start_noise(*key, (3, 24, 24)))
        assert noise.dtype == torch.float32
        assert abs(float(noise.mean())) < 0.1
        assert abs(float(noise.std()) - 1) < 0.1
    flat = torch.stack([noise.flatten() for noise in drawn.values()])
    others = torch.corrcoef(flat) - torch.eye(len(flat))
    assert float(others.abs().max()) < 0.15


def test_each_step_is_reported() -> None:
    said: list[tuple[str, int, int]] = []
    sample(
        Gaussian([0.5, 0.0], 0.3),
        NOISE,
        categories_B=torch.zeros(1, dtype=torch.int64),
        starts_BCHW=starts(1),
        guidance=1.0,
        steps=3,
        progress=lambda label, done, total, note="": said.append((label, done, total)),
    )
    assert said == [("sample", 1, 3), ("sample", 2, 3), ("sample", 3, 3)]
