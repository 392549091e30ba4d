"""The subnets of a step: drawn by rule, trained together, the same in every process."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.core.config import ComputeConfig  # noqa: E402
from srprune.core.errors import InputError, UnknownName  # noqa: E402
from srprune.models.supernet import Subnet  # noqa: E402
from srprune.training.subnets import check_compute, draw  # noqa: E402
from tests.processes import Server, together  # noqa: E402

NINE = tuple(Subnet(w, d) for w, d in itertools.product((36, 52, 64), (4, 8, 16)))
seeds, steps = st.integers(0, 2**31), st.integers(0, 10**6)


@given(seeds, steps, st.integers(0, 9), st.integers(1, 9))
def test_a_sandwich_is_the_smallest_some_and_the_largest(
    seed: int, step: int, between: int, count: int
) -> None:
    """Cheapest first, each once, as many in between as there are."""
    subnets = NINE[:count]
    drawn = draw(subnets, "sandwich", seed, step, between=between)
    assert (drawn[0], drawn[-1]) == (subnets[0], subnets[-1])
    assert len(drawn) == min(count, between + 2)
    assert list(drawn) == [subnet for subnet in subnets if subnet in drawn]


@given(seeds, steps, st.sampled_from(["sandwich", "one"]))
def test_a_draw_is_a_function_of_seed_and_step(seed: int, step: int, how: str) -> None:
    drawn = draw(NINE, how, seed, step)
    draw(NINE, how, seed + 1, step)
    draw(NINE, how, seed, step + 1)
    assert draw(NINE, how, seed, step) == drawn
    assert len(drawn) == {"sandwich": 3, "one": 1}[how]


@pytest.mark.parametrize(("how", "between", "num_drawn"), [("sandwich", 2, 7), ("one", 1, 9)])
def test_all_are_drawn_equally_often(how: str, between: int, num_drawn: int) -> None:
    """To four standard deviations; of the sandwich those in between."""
    count = 4000
    drawn = [draw(NINE, how, 3, step, between=between) for step in range(count)]
    inner = [subnets[1:-1] if how == "sandwich" else subnets for subnets in drawn]
    times = Counter(itertools.chain.from_iterable(inner))
    assert set(times) == set(NINE[1:-1] if how == "sandwich" else NINE)
    share = between / num_drawn
    spread = (count * share * (1 - share)) ** 0.5
    assert all(abs(number - count * share) < 4 * spread for number in times.values())
    assert sum(a != b for a, b in itertools.pairwise(drawn)) > count / 2


@pytest.mark.parametrize("how", ["sandwich", "one"])
def test_another_seed_draws_others(how: str) -> None:
    one, other = ([draw(NINE, how, seed, step) for step in range(50)] for seed in (0, 1))
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 20


def test_another_way_to_draw_is_one_line() -> None:
    with pytest.raises(UnknownName, match=r"'sandwitch'.*Did you mean: sandwich\?"):
        draw(NINE, "sandwitch", 0, 0)


def test_a_cuda_graph_is_refused_in_one_line() -> None:
    check_compute(ComputeConfig(accumulate=2, precision="bf16", compile=True))
    with pytest.raises(InputError, match=r"^compute.cuda_graph .*compute.cuda_graph=false\.$"):
        check_compute(ComputeConfig(cuda_graph=True))


# --- two processes ------------------------------------------------------------------------------

WORKER = """
import sys
from pathlib import Path
import torch
from torch import nn
from srprune.core.config import ComputeConfig
from srprune.models import MODELS
from srprune.models.build import build
from srprune.training.backward import Backward
from srprune.training.distributed import ALONE, joined
from srprune.training.subnets import draw

folder, device = Path(sys.argv[1]), torch.device("cpu")
BATCH, STEPS = 8, 6


class Scaled(nn.Module):
    # a loss with a number of its own
    def __init__(self):
        super().__init__()
        self.sigma = nn.Parameter(torch.tensor(0.5))

    def forward(self, output, target):
        return nn.functional.mse_loss(output, target) / self.sigma.square() + self.sigma.log()


def run(world, name, how, accumulate=1, model="msrresnet_supernet"):
    torch.manual_seed(3)
    network = build(model, 2, dict(MODELS.load(model).spec.tiny))[0].train()
    criterion = Scaled()
    subnets = network.subnets if how else ()
    backward = Backward(
        network,
        criterion,
        rim=0,
        compute=ComputeConfig(accumulate=accumulate),
        device=device,
        world=world,
        subnets_at=(lambda step: draw(subnets, how, 1, step)) if how else None,
    )
    optimizer = torch.optim.SGD([*network.parameters(), *criterion.parameters()], lr=0.01)
    losses = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        target = torch.rand(BATCH, 3, 12, 12, generator=generator)
        x = nn.functional.avg_pool2d(target, 2)
        count = world.size * accumulate
        pairs = list(zip(x.chunk(count), target.chunk(count)))[world.rank * accumulate :]
        losses.append(world.mean(backward(step, pairs[:accumulate])).item())
        optimizer.step()
    untouched = [n for n, p in network.named_parameters() if p.grad is None]
    saved = {"losses": losses, "untouched": untouched, "sigma": criterion.sigma.item()}
    torch.save({**saved, "weights": network.state_dict()}, folder / f"{name}_{world.rank}.pt")


with joined(device) as world:
    for how in ("sandwich", "one", None):
        run(world, f"two_{how}", how)
    run(world, "two_parts", "sandwich", accumulate=2)
if world.first:
    for how in ("sandwich", "one", None):
        run(ALONE, f"alone_{how}", how)
    run(ALONE, "alone_parts", "sandwich", accumulate=4)
"""


@pytest.fixture(scope="module")
def folder(server: Server | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes learned, and the same alone."""
    folder = tmp_path_factory.mktemp("processes")
    done = together(server, folder, folder, code=WORKER)
    assert [each.returncode for each in done] == [0, 0], "".join(e.stderr for e in done)
    return folder


@pytest.mark.parametrize("name", ["sandwich", "one", "parts", "None"])
def test_two_processes_learn_what_one_learns(folder: Path, name: str) -> None:
    """Whatever is drawn, and with a loss that learns, too, which a plain network may have."""
    first, second, alone = (
        torch.load(folder / f"{file}.pt")
        for file in (f"two_{name}_0", f"two_{name}_1", f"alone_{name}_0")
    )
    weights: dict[str, Any] = first["weights"]
    assert all(torch.equal(tensor, second["weights"][key]) for key, tensor in weights.items())
    assert first["sigma"] == second["sigma"] == pytest.approx(alone["sigma"], rel=1e-5)
    assert first["sigma"] != 0.5
    assert first["losses"] == second["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    for key, tensor in weights.items():
        torch.testing.assert_close(tensor, alone["weights"][key], rtol=1e-3, atol=1e-5)
    assert first["untouched"] == alone["untouched"]


def test_parts_learn_what_the_whole_batch_does(folder: Path) -> None:
    whole, parts = (torch.load(folder / f"alone_{n}_0.pt") for n in ("sandwich", "parts"))
    assert parts["losses"] == pytest.approx(whole["losses"], rel=1e-4)
    for key, tensor in parts["weights"].items():
        torch.testing.assert_close(tensor, whole["weights"][key], rtol=1e-3, atol=1e-5)
