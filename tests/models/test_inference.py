"""Inference: options that belong together, and the restorer that they make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError, UnknownName  # noqa: E402
from srprune.core.restorer import LumaRestorer  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.domain import Domain  # noqa: E402
from srprune.models.ensemble import SelfEnsemble  # noqa: E402
from srprune.models.fsrcnn import FSRCNN  # noqa: E402
from srprune.models.inference import Inference  # noqa: E402
from srprune.models.restorer import NetworkRestorer, restorer_of  # noqa: E402


class Windowed(FSRCNN):
    """FSRCNN plus the mean of each window of 8 px: where windows begin matters."""

    spec = replace(FSRCNN.spec, minimum=8, multiple=8)

    def forward(self, x_BChw: Any) -> Any:
        height, width = x_BChw.shape[2:]
        means = torch.nn.functional.avg_pool2d(x_BChw, 8, ceil_mode=True)
        large = means.repeat_interleave(16, 2).repeat_interleave(16, 3)
        return super().forward(x_BChw) + large[:, :, : 2 * height, : 2 * width]


class Global(FSRCNN):
    spec = replace(FSRCNN.spec, sees_all=True)


def windowed() -> NetworkRestorer:
    torch.manual_seed(3)
    network = Windowed(scale=2, channels="y", d=4, s=2, m=1)
    return restorer_of("windowed", network, Domain("y", False, 2), "0")


def image(height: int, width: int) -> Any:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(7))


def test_the_defaults_change_nothing() -> None:
    restorer, lr = windowed(), image(20, 30)
    plain = Inference()
    assert torch.equal(plain.wrap(restorer)(lr), restorer(lr))
    assert plain.settled(restorer) == plain
    assert plain.label == ""


def test_the_ensemble_of_tiles_is_that_of_whole_images() -> None:
    restorer, lr = windowed(), image(37, 29)
    whole = Inference(self_ensemble=True).wrap(restorer)(lr)
    tiled = Inference(tile=11, overlap=8, self_ensemble=True).wrap(restorer)(lr)
    assert torch.equal(whole, SelfEnsemble(restorer)(lr))
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-6)


def test_tiles_respect_the_minimum_of_the_network() -> None:
    restorer, lr = windowed(), image(9, 13)
    small = Inference(tile=1, overlap=8).wrap(restorer)
    assert torch.allclose(small(lr), restorer(lr), rtol=0, atol=1e-6)
    Inference(tile=3, overlap=0).wrap(restorer)(lr)  # the last of 13 px stands alone
    with pytest.raises(InputError, match="the image has 13x7 px at LR; windowed takes at least 8"):
        small(image(7, 13))


def test_luma_comes_through_all_options() -> None:
    how = Inference(tile=16, self_ensemble=True, precision="bf16")
    assert isinstance(how.wrap(windowed()), LumaRestorer)
    network, domain = build("fsrcnn", 2, {"channels": "rgb"})
    assert not isinstance(how.wrap(restorer_of("rgb", network, domain, "0")), LumaRestorer)


def test_precision_reaches_the_network_and_leaves_the_given_restorer_alone() -> None:
    restorer, lr = windowed(), image(20, 30)
    before = restorer(lr)
    reduced = Inference(precision="bf16").wrap(restorer)
    assert 1e-5 < (reduced(lr) - before).abs().max() < 0.02
    assert torch.equal(restorer(lr), before)
    assert reduced.name == restorer.name


@pytest.mark.parametrize(
    ("kind", "args", "overlap"),
    [
        (FSRCNN, {"m": 1}, 5),
        (FSRCNN, {"m": 70}, 64),  # sees 74 LR px
        (Global, {"m": 1}, 64),
    ],
)
def test_the_overlap_is_the_radius_up_to_64(kind: Any, args: dict[str, int], overlap: int) -> None:
    network = kind(scale=2, d=2, s=2, **args)
    restorer = restorer_of("tiny", network, Domain("y", False, 2), "0")
    assert Inference(tile=32).settled(restorer) == Inference(tile=32, overlap=overlap)
    given = Inference(tile=32, overlap=3)
    assert given.settled(restorer) == given


def test_label() -> None:
    assert Inference(tile=64, overlap=8).label == "_tile64_o8"
    assert Inference(tile=64, overlap=0, precision="fp16").label == "_tile64_o0_fp16"
    assert Inference(self_ensemble=True).label == ""  # the restorer's name has the plus


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(InputError, match="overlap is 8 LR px, but there are no tiles"):
        Inference(overlap=8)
    with pytest.raises(UnknownName, match="Did you mean: bf16"):
        Inference(precision="bf15")  # type: ignore[arg-type]
