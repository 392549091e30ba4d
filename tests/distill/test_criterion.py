"""The loss of diffusion: against plain loops, its gradient, its memory, and several processes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from srprune.core.errors import InputError  # noqa: E402
from srprune.distill.config import DiffusionConfig, TermsConfig  # noqa: E402
from srprune.distill.criterion import (  # noqa: E402
    Denoising,
    DiffusionLoss,
    lost_by_round_trip,
)
from srprune.distill.noise import Noise  # noqa: E402
from tests.processes import Server, together  # noqa: E402

SHAPE = (2, 8, 8)
NOISE = Noise(DiffusionConfig())
ALL = TermsConfig(representativeness=0.3, diversity=0.7, memory=5, sr=0.02)


def criterion(terms: TermsConfig = ALL, **more: Any) -> DiffusionLoss:
    return DiffusionLoss(terms, NOISE, categories=4, shape=SHAPE, **more)


def batch(
    seed: int, categories: list[int], dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, Denoising]:
    """A prediction that is a little off, and what it is held against."""
    chance = torch.Generator().manual_seed(seed)
    num = len(categories)
    clean, noise, error = torch.randn(3, num, *SHAPE, generator=chance, dtype=torch.float64)
    timestep = torch.randint(0, 1000, (num,), generator=chance)
    noisy = NOISE.add(clean, noise, timestep)
    rows = (tensor.to(dtype) for tensor in (noise, noisy, clean))
    target = Denoising(*rows, timestep, torch.tensor(categories))
    return (noise + 0.3 * error).to(dtype), target


class Published:
    """The loss as a plain loop over lists, as vimar-gu/MinimaxDiffusion's train_dit.py has it."""

    def __init__(self, terms: TermsConfig) -> None:
        self.terms = terms
        self.real: dict[int, list[torch.Tensor]] = {}
        self.predicted: dict[int, list[torch.Tensor]] = {}

    def __call__(self, output: torch.Tensor, target: Denoising) -> dict[str, float]:
        terms = self.terms
        a = NOISE.alpha_bar_T[target.timestep_B]
        clean = torch.stack(
            [
                (noisy.double() - (1 - a_t).sqrt() * noise.double()) / a_t.sqrt()
                for noisy, noise, a_t in zip(target.noisy_BCHW, output, a, strict=True)
            ]
        )
        present = set(target.category_B.tolist())
        near = far = 0.0
        for category in present:
            own = [clean[row] for row, c in enumerate(target.category_B) if c == category]
            real, predicted = (m.setdefault(category, []) for m in (self.real, self.predicted))
            if predicted:
                near += 1 - min(cosine(x, y) for x in own for y in real)
                far += max(cosine(x, y) for x in own for y in predicted)
            for row, c in enumerate(target.category_B):
                if c == category:
                    real.append(target.clean_BCHW[row].double())
                    predicted.append(clean[row])
            while len(real) > terms.memory:
                real.pop(0)
                predicted.pop(0)
        sr = 0.0
        for latent, a_t in zip(clean, a, strict=True):
            small = F.interpolate(latent[None], size=(2, 2), mode="bicubic", align_corners=True)
            large = F.interpolate(small, size=(8, 8), mode="bicubic", align_corners=True)
            sr += min(1.0, float(a_t / (1 - a_t))) * float(((latent - large[0]) ** 2).mean())
        return {
            "noise": float(((output - target.noise_BCHW).double() ** 2).mean()),
            "representativeness": near / len(present),
            "diversity": far / len(present),
            "sr": sr / len(clean),
        }


def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
    return float((x * y).sum() / (x.norm() * y.norm()))


@settings(max_examples=20)
@given(
    batches=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_it_is_what_plain_loops_say(batches: list[list[int]], seed: int) -> None:
    """Empty memories, categories that are alone or missing, more rows than are remembered."""
    loss_of, published = criterion(), Published(ALL)
    for step, categories in enumerate(batches):
        output, target = batch(seed * 10 + step, categories)
        loss = loss_of(output, target)
        expected = published(output, target)
        found = {name: float(value) for name, value in loss_of.last.items()}
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
        total = expected["noise"] + 0.3 * expected["representativeness"]
        total += 0.7 * expected["diversity"] - 0.02 * expected["sr"]
        assert loss.shape == ()
        assert float(loss) == pytest.approx(total, rel=1e-4, abs=1e-5)


def test_the_first_batch_has_nothing_to_be_held_against() -> None:
    loss_of = criterion()
    loss_of(*batch(0, [0, 0, 1]))
    assert float(loss_of.last["representativeness"]) == float(loss_of.last["diversity"]) == 0
    loss_of(*batch(1, [2, 2, 0]))  # half of the categories are known
    known = float(loss_of.last["representativeness"])
    assert 0 < known < 1
    alone = criterion()
    alone(*batch(0, [0, 0, 1]))
    output, target = batch(1, [2, 2, 0])
    alone(output[2:], Denoising(*(tensor[2:] for tensor in target)))
    assert float(alone.last["representativeness"]) == pytest.approx(2 * known)


def test_first_in_first_out() -> None:
    loss_of = criterion()
    seen = []
    for seed, categories in enumerate([[1, 1, 3], [1, 1, 1, 1], [1] * 7]):
        output, target = batch(seed, categories)
        loss_of(output, target)
        seen += [row for row, c in zip(target.clean_BCHW, categories, strict=True) if c == 1]
    assert loss_of.taken_K.tolist() == [0, 13, 0, 1]
    for number in range(13 - ALL.memory, 13):
        assert torch.equal(loss_of.real_KMD[1, number % ALL.memory], seen[number].flatten())
    assert not loss_of.real_KMD[0].any()


def test_a_resumed_training_goes_on_bit_for_bit() -> None:
    steps = [batch(seed, [seed % 3, 0, 1, 1]) for seed in range(8)]
    whole, first, second = criterion(), criterion(), criterion()
    expected = [whole(*step) for step in steps]
    found = [first(*step) for step in steps[:4]]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    found += [second(*step) for step in steps[4:]]
    assert torch.equal(torch.stack(found), torch.stack(expected))
    without = criterion()  # the memory matters
    assert not torch.equal(without(*steps[4]), expected[4])


@pytest.mark.parametrize("name", ["noise", "representativeness", "diversity", "sr", "all"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """Through each term, in float64; the published SR term had none."""
    zero = {"representativeness": 0.0, "diversity": 0.0, "sr": 0.0}
    terms = (
        ALL
        if name == "all"
        else ALL.model_copy(update=zero | ({name: 1.0} if name in zero else {}))
    )
    filled = criterion(terms)
    for seed in (1, 2):
        filled(*batch(seed, [0, 0, 1, 3]))
    output, target = batch(3, [0, 1, 1, 2], torch.float64)

    def loss_of(output: torch.Tensor) -> torch.Tensor:
        loss = copy.deepcopy(filled)(output, target)
        if name in zero:  # the term alone
            loss = loss - F.mse_loss(output, target.noise_BCHW)
        return loss

    output.requires_grad_()
    assert torch.autograd.gradcheck(loss_of, (output,), fast_mode=True)
    (gradient,) = torch.autograd.grad(loss_of(output), output)
    assert float(gradient.abs().max()) > 1e-5


def test_what_is_remembered_has_no_gradient_and_backward_comes_after_it() -> None:
    loss_of = criterion()
    for seed in range(4):
        output, target = batch(seed, [0, 1, 1, 1])
        loss_of(output.requires_grad_(), target).backward()
        assert bool(output.grad.abs().sum() > 0)
    assert not any(tensor.requires_grad for tensor in loss_of.state_dict().values())
    assert not any(value.requires_grad for value in loss_of.last.values())


@pytest.mark.parametrize("side", [16, 24])
@pytest.mark.parametrize("timestep", [0, 200, 999])
def test_high_frequencies_do_not_run_away(side: int, timestep: int) -> None:
    """Along the worst pattern, and the larger its amplitude the larger the loss, if sr is small."""
    terms = TermsConfig(representativeness=0, diversity=0, sr=0.9 / norm_of_round_trip(side) ** 2)
    loss_of = DiffusionLoss(terms, NOISE, categories=1, shape=(1, side, side))
    worst = worst_pattern(side)
    zero = torch.zeros(1, 1, side, side, dtype=torch.float64)
    t, category = torch.tensor([timestep]), torch.tensor([0])
    losses = [
        float(loss_of(size * worst, Denoising(zero, zero, zero, t, category)))
        for size in (0, 1e2, 1e4)
    ]
    assert losses[0] == 0
    assert losses == sorted(losses)
    assert losses[2] > 0


def test_without_its_weight_the_sr_term_would_run_away() -> None:
    """A tenth of the published factor, at a late timestep: the best prediction is the worst."""
    worst, error = worst_pattern(24), torch.tensor([999])
    clean = NOISE.clean(torch.zeros_like(worst), worst, error)
    gain = float(lost_by_round_trip(clean, 4).square().mean())
    cost = float(worst.square().mean())
    assert 0.1 * gain > 10_000 * cost


def high_pass(side: int) -> torch.Tensor:
    """What a round trip x4 takes away, as a matrix."""
    each = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    return lost_by_round_trip(each, 4).flatten(1).T


def norm_of_round_trip(side: int) -> float:
    return float(torch.linalg.matrix_norm(high_pass(side), 2))


def worst_pattern(side: int) -> torch.Tensor:
    _, _, right = torch.linalg.svd(high_pass(side))
    return right[0].view(1, 1, side, side)


def test_the_floor_is_where_the_docstring_says() -> None:
    assert 1 / norm_of_round_trip(24) ** 2 == pytest.approx(0.06, abs=0.005)


def test_a_round_trip_keeps_what_is_smooth() -> None:
    """All of a constant, most of a ramp (the kernel is not exact on those), little of a check."""
    ramp = torch.linspace(0, 1, 32).repeat(32, 1)[None, None]
    checks = ((-1.0) ** (torch.arange(32)[:, None] + torch.arange(32)))[None, None]
    constant, of_ramp, of_checks = (
        float(lost_by_round_trip(image, 4).square().mean())
        for image in (torch.ones_like(ramp), ramp, checks)
    )
    assert constant < 1e-12
    assert 0 < of_ramp < 1e-3
    assert of_checks > 0.5


def test_terms_that_are_off_cost_nothing() -> None:
    off = TermsConfig(representativeness=0, diversity=0, sr=0)
    loss_of = criterion(off)
    output, target = batch(0, [0, 1, 1])
    assert float(loss_of(output, target)) == float(F.mse_loss(output, target.noise_BCHW))
    assert set(loss_of.last) == {"noise"}
    assert loss_of.real_KMD.numel() == 0


def test_an_sr_scale_that_leaves_nothing() -> None:
    with pytest.raises(InputError, match=r"terms\.sr_scale is 16, but latents have 8 px") as caught:
        criterion(ALL.model_copy(update={"sr_scale": 16}))
    assert "\n" not in str(caught.value)


WORKER = """
import sys
from pathlib import Path
import torch
from srprune.distill.config import DiffusionConfig, TermsConfig
from srprune.distill.criterion import Denoising, DiffusionLoss
from srprune.distill.noise import Noise
from srprune.training.distributed import ALONE, joined

folder = Path(sys.argv[1])
noise, shape = Noise(DiffusionConfig()), (2, 8, 8)
terms = TermsConfig(representativeness=0.3, diversity=0.7, memory=3)


def run(world):
    loss_of = DiffusionLoss(terms, noise, categories=3, shape=shape, world=world)
    losses, last = [], {}
    for step, categories in enumerate(([0, 1, 1, 1], [1, 0, 2, 1], [0, 0, 1, 1])):
        chance = torch.Generator().manual_seed(step)
        clean, drawn, output = torch.randn(3, 4, *shape, generator=chance)
        timestep = torch.randint(0, 1000, (4,), generator=chance)
        target = Denoising(
            drawn, noise.add(clean, drawn, timestep), clean, timestep, torch.tensor(categories)
        )
        mine = slice(4 * world.rank // world.size, 4 * (world.rank + 1) // world.size)
        target = Denoising(*(tensor[mine] for tensor in target))
        losses.append(loss_of(output[mine], target))
    return {**loss_of.state_dict(), "losses": torch.stack(losses)}


with joined(torch.device("cpu")) as world:
    torch.save(run(world), folder / f"{world.rank}.pt")
if world.first:
    torch.save(run(ALONE), folder / "alone.pt")
"""


def test_processes_remember_the_rows_of_all(
    server: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("processes")
    done = together(server, folder, folder, code=WORKER)
    said = "".join(each.stdout + each.stderr for each in done)
    assert [each.returncode for each in done] == [0, 0], said
    alone, first, second = (torch.load(folder / f"{name}.pt") for name in ("alone", 0, 1))
    for name in ("real_KMD", "predicted_KMD", "taken_K"):
        assert torch.equal(first[name], alone[name]), name
        assert torch.equal(second[name], alone[name]), name
    assert alone["taken_K"].tolist() == [4, 7, 1]
    assert not torch.equal(first["losses"], second["losses"])  # each of its own rows
    plain = (first["losses"][0] + second["losses"][0]) / 2  # before there is anything remembered
    torch.testing.assert_close(plain, alone["losses"][0])
