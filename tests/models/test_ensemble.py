"""The self-ensemble: what it averages, and that it no longer knows left from right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.restorer import LumaRestorer, Restorer  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.ensemble import SelfEnsemble  # noqa: E402
from srprune.models.restorer import BicubicRestorer, NetworkRestorer, restorer_of  # noqa: E402

TRANSFORMS = [(turns, flipped) for turns in range(4) for flipped in (False, True)]
every_transform = pytest.mark.parametrize(("turns", "flipped"), TRANSFORMS)


def network_restorer(channels: str, model: str = "fsrcnn") -> NetworkRestorer:
    torch.manual_seed(2)
    args = {"fsrcnn": {"d": 6, "s": 4, "m": 1}, "srcnn": {"init": "he"}}[model]
    network, domain = build(model, 2, {"channels": channels, **args})
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return restorer_of("tiny", network, domain, "0123456789abcdef")


def image(planes: int = 3, dtype: Any = None) -> Any:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, planes, 9, 14, generator=generator).to(dtype or torch.float32)


def turned(x: Any, turns: int, flipped: bool) -> Any:
    x = torch.rot90(x, turns, (2, 3))
    return x.flip(3) if flipped else x


@pytest.mark.parametrize("model", ["fsrcnn", "srcnn"])
def test_it_is_the_mean_over_the_eight_images(model: str) -> None:
    restorer, lr = network_restorer("rgb", model), image()
    back = []
    for turns, flipped in TRANSFORMS:
        view = np.rot90(lr.numpy(), turns, (2, 3))
        view = view[..., ::-1] if flipped else view
        sr = restorer(torch.from_numpy(view.copy())).numpy()
        sr = sr[..., ::-1] if flipped else sr
        back.append(np.rot90(sr, -turns, (2, 3)))
    assert len({view.tobytes() for view in back}) == 8  # the network is not symmetric
    mean = np.mean(back, axis=0)
    np.testing.assert_allclose(SelfEnsemble(restorer)(lr).numpy(), mean, rtol=0, atol=1e-6)


@every_transform
def test_it_turns_with_its_input(turns: int, flipped: bool) -> None:
    restorer, lr = network_restorer("y"), image()
    ensemble = SelfEnsemble(restorer)
    assert isinstance(ensemble, LumaRestorer)
    for restore, x in ((ensemble, lr), (ensemble.luma, lr[:, :1])):
        expected = turned(restore(x), turns, flipped)
        assert torch.allclose(restore(turned(x, turns, flipped)), expected, rtol=0, atol=1e-6)
    if (turns, flipped) != (0, False):
        apart = restorer(turned(lr, turns, flipped)) - turned(restorer(lr), turns, flipped)
        assert apart.abs().max() > 1e-3


def test_of_a_restorer_that_turns_with_its_input_it_is_that_restorer() -> None:
    plain = BicubicRestorer(3)  # Y, which is not rounded between rows and columns
    ensemble, y = SelfEnsemble(plain), image(1, torch.float64)
    assert isinstance(ensemble, LumaRestorer)
    assert torch.allclose(ensemble.luma(y), plain.luma(y), rtol=0, atol=1e-12)


def test_luma_keeps_its_dtype() -> None:
    ensemble = SelfEnsemble(network_restorer("y"))
    assert isinstance(ensemble, LumaRestorer)
    assert ensemble.luma(image(1, torch.float64)).dtype == torch.float64


def test_input_and_inner_output_are_left_alone() -> None:
    class Doubled:
        name, scale, fingerprint = "doubled", 2, "none"
        kept = torch.ones(2, 3, 18, 28)

        def __call__(self, lr: Any) -> Any:
            return self.kept if lr.shape[2] < lr.shape[3] else self.kept.transpose(2, 3)

    lr = image()
    before = lr.clone()
    assert torch.equal(SelfEnsemble(Doubled())(lr), torch.ones(2, 3, 18, 28))
    assert torch.equal(Doubled.kept, torch.ones(2, 3, 18, 28))
    assert torch.equal(lr, before)


def test_it_has_a_plus_and_luma_where_the_inner_restorer_has() -> None:
    for channels, luma in (("y", True), ("rgb", False)):
        ensemble = SelfEnsemble(network_restorer(channels))
        assert isinstance(ensemble, Restorer)
        assert isinstance(ensemble, LumaRestorer) == hasattr(ensemble, "luma") == luma
        assert (ensemble.name, ensemble.scale, ensemble.fingerprint) == (
            "tiny+",
            2,
            "0123456789abcdef",
        )
