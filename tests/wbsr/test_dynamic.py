"""Dynamic inference: the plain network's pixels, the router's choice, and honest counts."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from srprune.core.errors import InputError  # noqa: E402
from srprune.core.restorer import LumaRestorer, Restorer  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.restorer import NetworkRestorer, restorer_of  # noqa: E402
from srprune.wbsr import dynamic  # noqa: E402
from srprune.wbsr.dynamic import DynamicRestorer  # noqa: E402
from srprune.wbsr.flops import FlopCount, count_flops  # noqa: E402
from srprune.wbsr.gradient_router import GradientRouter  # noqa: E402

ROUTER = GradientRouter((1.0, 2.0), (20.0, 20.0, 20.0, 20.0), 99)


@cache
def subnets(channels: str = "rgb", scale: int = 2) -> tuple[NetworkRestorer, ...]:
    """Three networks, the cheapest first, of weights that do something."""
    torch.manual_seed(3)
    made = []
    for features in (4, 6, 8):
        args = {"features": features, "blocks": 1, "channels": channels}
        network, domain = build("msrresnet", scale, args)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        made.append(restorer_of(f"w{features}", network, domain, "0123456789abcdef"))
    return tuple(made)


def restorer(nets: tuple[NetworkRestorer, ...] | None = None, **options: Any) -> DynamicRestorer:
    given = {"tile": 24, "overlap": 4, "fingerprint": "fedcba9876543210", **options}
    return DynamicRestorer("dynamic", nets or subnets(), given.pop("router", ROUTER), **given)


def picture(height: int, width: int) -> Any:
    """Flat at the left, busy at the right; 8-bit colours."""
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height + width))
    busy = torch.linspace(0, 1, width)
    return ((0.5 + (noise - 0.5) * busy) * 255).round() / 255


class Fixed:
    """Gives tile i the subnet i modulo M."""

    name = "fixed"

    def __init__(self, flops: int = 0) -> None:
        self._flops = flops

    def flops(self, height: int, width: int) -> int:
        return self._flops * height * width

    def demand(self, lr: Any) -> Any:
        return np.zeros(len(lr))

    def choose(self, demand: Any, flops: Any, effort: float | None) -> Any:
        return np.arange(len(demand)) % len(flops)


@pytest.mark.parametrize("channels", ["rgb", "y"])
@pytest.mark.parametrize("size", [(24, 24), (17, 24), (13, 20)])
def test_one_tile_is_the_plain_network(channels: str, size: tuple[int, int]) -> None:
    plain, image = subnets(channels)[2], picture(*size)
    whole = restorer(subnets(channels), budget=1.0)
    assert isinstance(whole, Restorer)
    torch.testing.assert_close(whole(image), plain(image), rtol=0, atol=1e-6)
    assert whole.last is not None
    assert (whole.last.height, whole.last.width) == size
    assert whole.last.flops == whole.last.flops_full == whole.last.flops_untiled


def test_only_networks_on_y_restore_y() -> None:
    assert not isinstance(restorer(), LumaRestorer)
    on_y = restorer(subnets("y"), budget=1.0)
    assert isinstance(on_y, LumaRestorer)
    y = picture(20, 24)[:, :1].double()
    plain = subnets("y")[2]
    assert isinstance(plain, LumaRestorer)
    assert on_y.luma(y).dtype == torch.float64
    torch.testing.assert_close(on_y.luma(y), plain.luma(y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", ["rgb", "y"])
def test_tiles_are_the_untiled_image_but_for_padding_at_their_borders(channels: str) -> None:
    plain, image = subnets(channels)[2], picture(30, 76)
    assert plain.radius is not None
    made = restorer(subnets(channels), tile=40, budget=1.0)
    # tiles at 0 and 36 share 4
    far = (made(image) - plain(image)).abs().amax(dim=(0, 1, 2))
    first, last = 2 * (36 - plain.radius), 2 * (40 + plain.radius)
    assert far[first:last].max() > 1e-4
    assert max(far[:first].max(), far[last:].max()) < 1e-5


def test_each_tile_is_restored_by_its_own_subnet(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(44, 64)
    by_hand = torch.cat(
        [
            subnets()[number % 3](image[..., top : top + 24, left : left + 24])
            for number, (top, left) in enumerate((t, x) for t in (0, 20) for x in (0, 20, 40))
        ]
    )
    made = restorer(router=Fixed())
    sr = made(image)
    assert made.last is not None
    assert made.last.subnet_T.tolist() == [0, 1, 2, 0, 1, 2]
    for number, (top, left) in enumerate(zip(made.last.tops_T, made.last.lefts_T, strict=True)):
        inner = (..., slice(2 * top + 8, 2 * top + 40), slice(2 * left + 8, 2 * left + 40))
        expected = by_hand[number, :, 8:40, 8:40]
        torch.testing.assert_close(sr[inner][0], expected, rtol=0, atol=1e-6)
    monkeypatch.setitem(dynamic.BATCH, "cpu", 1)  # a tile a batch
    torch.testing.assert_close(made(image), sr, rtol=0, atol=1e-6)


def test_harder_tiles_get_more_and_the_counts_add_up() -> None:
    made, image = restorer(), picture(64, 164)
    sr = made(image)
    assert sr.shape == (1, 3, 128, 328)
    routing = made.last
    assert routing is not None
    assert routing.subnet_T[routing.lefts_T == 0].max() == 0
    assert routing.subnet_T[routing.lefts_T == 140].min() == 2
    assert routing.tops_T.tolist() == sorted(routing.tops_T.tolist())
    per_tile = [count_flops(net, 24, 24) for net in subnets()]
    assert routing.flops_M.tolist() == per_tile
    assert routing.flops == sum(per_tile[number] for number in routing.subnet_T)
    assert routing.flops_full == len(routing.subnet_T) * per_tile[2]
    assert routing.flops_untiled == count_flops(subnets()[2], 64, 164) < routing.flops_full
    assert routing.seconds > 0
    assert routing.demand.shape == routing.subnet_T.shape


def test_the_network_of_the_router_counts_with_each_tile() -> None:
    free, dear = restorer(router=Fixed()), restorer(router=Fixed(1000))
    for made in (free, dear):
        made(picture(44, 64))
    assert free.last and dear.last
    assert dear.last.flops == free.last.flops + 6 * 1000 * 24 * 24
    assert dear.last.flops_full == free.last.flops_full
    with pytest.raises(InputError, match="the smallest subnet and the router already take"):
        restorer(router=Fixed(10**6), budget=0.9)


@pytest.mark.parametrize("budget", [0.9, 0.7])
def test_the_budget_holds_for_each_image(budget: float) -> None:
    made = restorer(budget=budget)
    for size in ((64, 150), (30, 50)):
        made(picture(*size))
        assert made.last is not None
        assert made.last.flops <= budget * made.last.flops_full


def test_a_batch_is_its_images_one_by_one() -> None:
    made = restorer(budget=0.7)
    batch = torch.cat([picture(30, 40), 1 - picture(30, 40), 0 * picture(30, 40)])
    alone = torch.cat([made(image[None]) for image in batch])
    assert torch.equal(made(batch), alone)


def test_bf16_is_close_and_not_the_same() -> None:
    image, made = picture(40, 50), restorer(budget=1.0)
    lower = made.at("bf16")
    assert (lower.tile, lower.overlap, lower.budget) == (24, 4, 1.0)
    exact, near = made(image), lower(image)
    assert 0 < (exact - near).abs().max() < 0.1
    assert near.dtype == torch.float32


def tiny(model: str) -> tuple[NetworkRestorer, Any, Any]:
    network, domain = build(model, 2, MODELS.load(model).spec.tiny)
    return restorer_of(model, network, domain, "x"), network, domain


@pytest.mark.parametrize("model", ["msrresnet", "rcan", "srcnn"])
def test_flops_are_those_of_a_real_image(model: str) -> None:
    net, network, domain = tiny(model)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(domain.input(torch.rand(1, 3, 13, 22)))
    assert count_flops(net, 13, 22) == counter.get_total_flops() > 0
    assert not any(tensor.is_meta for tensor in network.parameters())


@pytest.mark.parametrize("model", [name for name in MODELS if "supernet" not in name])
def test_two_counts_tell_the_flops_at_any_size(model: str) -> None:
    net, _, _ = tiny(model)
    assert FlopCount(net)(13, 22) == count_flops(net, 13, 22)


def test_the_published_network_takes_the_published_flops() -> None:
    # WBSR, table 2: SRResNet x4, 5.19 G for a tile of 32 px
    network, domain = build("msrresnet", 4, {})
    flops = count_flops(restorer_of("msrresnet", network, domain, "x"), 32, 32)
    assert round(flops / 1e9, 2) == 5.19


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": 8}, r"tile is 8 .* depends on 1\d LR px"),
        ({"overlap": 12}, "at most 11"),
        ({"overlap": -1}, "at least 0"),
        ({"budget": 0.01}, "Give at least"),
        ({"budget": 1.5}, "at most 1"),
    ],
)
def test_tiles_and_budgets_that_do_not_fit(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        restorer(**options)
    assert "\n" not in str(caught.value)


def test_tiles_of_networks_that_see_all_have_what_their_layers_reach() -> None:
    sees_all = {"features": 8, "groups": 1, "blocks": 1, "reduction": 4}
    network, domain = build("rcan", 2, sees_all)
    rcan = (restorer_of("rcan", network, domain, "x"),)
    assert restorer(rcan, tile=15, overlap=2)(picture(9, 11)).shape == (1, 3, 18, 22)
    with pytest.raises(InputError, match="the smallest subnet, rcan, sees all of it and 15 px are"):
        restorer(rcan, tile=14, overlap=2)
    with torch.device("meta"):  # the smallest of WBSR, of which the layers reach 229 px
        network, domain = build("rcan", 4, {"features": 36, "blocks": 5})
    rcan = (restorer_of("w36_d5", network, domain, "x"),)
    dynamic.check_tile(rcan, 32)  # as in the paper
    with pytest.raises(InputError, match=r"32 px are the least. Give a tile of 32 or more"):
        dynamic.check_tile(rcan, 31)


def test_windows_call_for_tiles_of_their_own() -> None:
    network, domain = build(
        "swinir_light", 2, {"depth": 2, "groups": 1, "embed_dim": 12, "heads": 3}
    )
    swinir = (restorer_of("swinir", network, domain, "x"),)
    with pytest.raises(InputError, match=r"multiple of 8\. Near: 32"):
        restorer(swinir, tile=35)


def test_an_image_that_is_too_small_is_named() -> None:
    small = subnets()
    image = torch.rand(1, 3, 3, 9)
    needs = [restorer_of(net.name, net.network, net.domain, "x") for net in small]
    for net in needs:
        net.minimum = 4
    with pytest.raises(InputError, match="9x3 px at LR; dynamic takes at least 4 px"):
        restorer(tuple(needs))(image)


def test_other_channels_are_named() -> None:
    with pytest.raises(InputError, match=r"\(1, 1, 24, 24\); it restores RGB, \(B, 3, h, w\)"):
        restorer()(picture(24, 24)[:, :1])
    with pytest.raises(InputError, match="it restores Y"):
        restorer(subnets("y")).luma(picture(24, 24))
