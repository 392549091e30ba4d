"""Models that spandrel loads, as networks of a restorer."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
spandrel = pytest.importorskip("spandrel")
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.SPAN import SPAN  # noqa: E402

from srprune.core.errors import (  # noqa: E402
    ArtifactError,
    InputError,
    MissingArtifact,
    MissingDependency,
)
from srprune.models.restorer import restorer_of  # noqa: E402
from srprune.models.spandrel_bridge import load_spandrel  # noqa: E402


def compact(scale: int = 2, **args: Any) -> Any:
    torch.manual_seed(0)
    return Compact(**{"num_feat": 8, "num_conv": 2, "upscale": scale, "act_type": "prelu", **args})


def write(path: Path, network: Any) -> Path:
    save_file({n: t.contiguous() for n, t in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_model_of_spandrel_restores_as_it_does_there(
    scale: int, suffix: str, tmp_path: Path
) -> None:
    network = compact(scale).eval()
    path = tmp_path / f"m{suffix}"
    if suffix == ".pth":
        torch.save({"params": network.state_dict()}, path)
    else:
        write(path, network)
    found, domain, mark = load_spandrel(path)
    assert found.architecture == "RealESRGAN Compact"
    assert (domain.channels, domain.pre_upsampled, domain.scale) == ("rgb", False, scale)
    assert len(mark) == 16
    lr = torch.rand(1, 3, 7, 9)
    kept = lr.clone()
    sr = restorer_of("m", found, domain, mark)(lr)
    with torch.inference_mode():
        assert torch.allclose(sr, network(lr).clamp(0, 1), rtol=0, atol=1e-6)
    assert torch.equal(lr, kept)


def test_the_weights_decide_the_fingerprint(tmp_path: Path) -> None:
    first = load_spandrel(write(tmp_path / "a.safetensors", compact()))[2]
    network = compact()
    assert load_spandrel(write(tmp_path / "b.safetensors", network))[2] == first
    next(network.parameters()).data += 1e-3
    assert load_spandrel(write(tmp_path / "c.safetensors", network))[2] != first


def test_a_model_is_not_called_with_our_own_names(tmp_path: Path) -> None:
    """SPAN is known to spandrel alone."""
    torch.manual_seed(0)
    network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    with warnings.catch_warnings(action="ignore"):
        found, _, _ = load_spandrel(write(tmp_path / "m.safetensors", network))
    assert found.architecture == "SPAN"


def test_what_spandrel_does_not_know(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", torch.nn.Linear(2, 2))
    with pytest.raises(ArtifactError, match=r"does not know the architecture of .*m\.safetensors"):
        load_spandrel(path)


def test_what_it_takes_for_another(tmp_path: Path) -> None:
    state = compact().state_dict()
    state["body.1.weight"] = torch.ones(3)
    save_file(state, tmp_path / "m.safetensors")
    with pytest.raises(ArtifactError, match=r"cannot load .*m\.safetensors") as caught:
        load_spandrel(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"scale": 1}, r"is a RealESRGAN Compact of x1; srprune measures SR models"),
        ({"num_in_ch": 1, "num_out_ch": 1}, r"1 channels in and 1 out; srprune takes RGB"),
    ],
    ids=["no SR", "grey"],
)
def test_what_srprune_cannot_measure(args: dict[str, int], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        load_spandrel(write(tmp_path / "m.safetensors", compact(**args)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        load_spandrel(tmp_path / "m.pth")


def test_without_spandrel_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[interop\]'"):
        load_spandrel(tmp_path / "m.pth")
