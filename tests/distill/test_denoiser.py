"""The diffusion transformer: as DiT starts, labels, and weights that others trained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
from diffusers import DiTTransformer2DModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from srprune.core.errors import (  # noqa: E402
    ArtifactError,
    InputError,
    MissingArtifact,
    MissingDependency,
)
from srprune.distill.config import NetworkConfig  # noqa: E402
from srprune.distill.denoiser import Denoiser, Noisy  # noqa: E402

SMALL = NetworkConfig(layers=2, heads=2, head_width=8)
WEIGHTS = "diffusion_pytorch_model.safetensors"
SIZES = {
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_embeds_ada_norm": 5,
    "sample_size": 8,
    "norm_eps": 1e-6,
}


def denoiser(config: NetworkConfig = SMALL, side: int = 8, categories: int = 3) -> Denoiser:
    torch.manual_seed(1)
    return Denoiser(config, side=side, channels=4, categories=categories)


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """With weights of which none is 0, so that all of it shows in the output."""
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=chance) * 0.2)
    return network


def asked(categories: list[int], side: int = 8) -> Noisy:
    latent = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(3))
    num = len(categories)
    return Noisy(latent.repeat(num, 1, 1, 1), torch.full((num,), 7), torch.tensor(categories))


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A tiny DiT of diffusers with a learned variance, as facebook/DiT-XL-2-512 has one."""
    torch.manual_seed(0)
    return stirred(DiTTransformer2DModel(**SIZES, out_channels=8)).eval()


@pytest.fixture
def folder(theirs: Any, tmp_path: Path) -> Path:
    theirs.save_pretrained(tmp_path / "dit" / "transformer")
    return tmp_path / "dit" / "transformer"


def pretrained(folder: Path, side: int = 8, categories: int = 3, channels: int = 4) -> Denoiser:
    config = NetworkConfig(weights=str(folder))
    return Denoiser.pretrained(config, side=side, channels=channels, categories=categories)


def test_a_fresh_one_predicts_exactly_nothing() -> None:
    predicted = denoiser()(asked([0, 1, 2, 3]))
    assert predicted.shape == (4, 4, 8, 8)
    assert predicted.dtype == torch.float32
    assert torch.count_nonzero(predicted) == 0


def test_a_fresh_one_starts_as_dit_does() -> None:
    """facebookresearch/DiT, models.py, initialize_weights."""
    network = denoiser(NetworkConfig(layers=3, heads=4, head_width=32)).transformer
    width = 128

    def bound(name: str) -> float:
        return float(network.get_parameter(name).detach().abs().max())

    for name in ("to_q", "to_k", "to_v"):  # one layer there: 128 to 384
        limit = math.sqrt(6 / (width + 3 * width))
        assert 0.98 * limit < bound(f"transformer_blocks.1.attn1.{name}.weight") <= limit
    limit = math.sqrt(6 / (2 * width))
    assert 0.98 * limit < bound("transformer_blocks.1.attn1.to_out.0.weight") <= limit
    limit = math.sqrt(6 / (5 * width))
    assert 0.98 * limit < bound("transformer_blocks.1.ff.net.2.weight") <= limit
    limit = math.sqrt(6 / (width + 4 * 2 * 2))
    assert 0.98 * limit < bound("pos_embed.proj.weight") <= limit
    for name, parameter in network.named_parameters():
        zero = name.endswith(".bias") or "norm1.linear" in name or name.startswith("proj_out")
        assert (torch.count_nonzero(parameter) == 0) == zero, name
    for name in ("class_embedder.embedding_table", "timestep_embedder.linear_2"):
        first, last = (
            network.get_parameter(f"transformer_blocks.{block}.norm1.emb.{name}.weight")
            for block in (0, 2)
        )
        assert float(first.detach().std()) == pytest.approx(0.02, rel=0.15)
        assert torch.equal(first, last)  # one for all there
    norms = [module for module in network.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


def test_the_default_is_dit_xl_2() -> None:
    """675 M parameters in Table 4 of Peebles and Xie; the copies of diffusers add 75 M.

    Of its 675,129,632 at 256 px, 294,912 are position embeddings, which are no parameters here,
    and 18,448 make the variance. Each of 28 blocks has 2,777,472 for timesteps and labels; DiT has
    them once.
    """
    with torch.device("meta"):
        network = Denoiser(NetworkConfig(), side=64, channels=4, categories=1000)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 675_129_632 - 294_912 - 18_448 + 27 * 2_777_472 == 749_808_016


def test_no_block_drops_labels_of_its_own_accord() -> None:
    network, question = stirred(denoiser()), asked([0, 1, 2, 3] * 8)
    expected = network.eval()(question)
    before = torch.get_rng_state()
    assert torch.equal(network.train()(question), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_categories_timesteps_and_no_category_all_count() -> None:
    network = stirred(denoiser())
    assert (network.null, network.categories, network.side, network.channels) == (3, 3, 8, 4)
    predicted = network(asked([0, 1, 2, network.null])).detach().flatten(1)
    assert float(torch.pdist(predicted).min()) > 1e-2
    later = network(asked([0])._replace(timestep_B=torch.tensor([900]))).detach()
    assert float((later.flatten(1) - predicted[:1]).norm()) > 1e-2
    with pytest.raises(IndexError):
        network(asked([network.null + 1]))


@pytest.mark.parametrize(
    ("config", "side", "line"),
    [
        (NetworkConfig(layers=1, heads=1, head_width=8, patch=4), 10, "network.patch is 4 px"),
        (NetworkConfig(layers=1, heads=3, head_width=2), 8, "network.head_width is 6"),
    ],
)
def test_sizes_that_do_not_fit(config: NetworkConfig, side: int, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        denoiser(config, side)
    assert "\n" not in str(caught.value)


def test_without_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[distill\]'"):
        denoiser()


def test_pre_trained_weights_predict_what_they_did(theirs: Any, folder: Path) -> None:
    """The first classes are the categories, and the variance is left out."""
    ours = pretrained(folder)
    expected = theirs(*asked([0, 1, 2, 5])).sample[:, :4]  # 5: no class
    torch.testing.assert_close(ours(asked([0, 1, 2, ours.null])), expected, rtol=1e-5, atol=1e-5)
    assert (ours.config.layers, ours.config.heads, ours.config.head_width) == (2, 2, 8)


def test_position_embeddings_follow_the_side(theirs: Any, folder: Path) -> None:
    other = DiTTransformer2DModel(**SIZES | {"sample_size": 12}, out_channels=8).eval()
    other.load_state_dict(theirs.state_dict())
    expected = other(*asked([1], side=12)).sample[:, :4]
    found = pretrained(folder, side=12)(asked([1], side=12))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_reading_draws_nothing(folder: Path) -> None:
    before = torch.get_rng_state()
    pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_its_config_makes_the_same_network_again(folder: Path) -> None:
    ours = pretrained(folder)
    again = Denoiser(ours.config, side=8, channels=4, categories=3)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again(asked([2])), ours(asked([2])))


def test_folders_of_other_kinds(theirs: Any, folder: Path, tmp_path: Path) -> None:
    """A pipeline's, weights as a torch file, and those without a learned variance."""
    expected = pretrained(folder)(asked([1]))
    assert torch.equal(pretrained(folder.parent)(asked([1])), expected)
    state = theirs.state_dict() | {"pos_embed.pos_embed": torch.zeros(1, 16, 16)}
    (folder / WEIGHTS).unlink()
    torch.save(state, folder / "diffusion_pytorch_model.bin")
    assert torch.equal(pretrained(folder)(asked([1])), expected)
    plain = stirred(DiTTransformer2DModel(**SIZES)).eval()
    plain.save_pretrained(tmp_path / "plain")
    found, known = pretrained(tmp_path / "plain")(asked([1])), plain(*asked([1])).sample
    torch.testing.assert_close(found, known, rtol=1e-5, atol=1e-5)


def refused(kind: type[Exception], *args: Any, **more: Any) -> str:
    with pytest.raises(kind) as caught:
        pretrained(*args, **more)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(folder: Path, **entries: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))
    return folder


def test_folders_that_hold_nothing(folder: Path, tmp_path: Path) -> None:
    assert "there is no folder" in refused(MissingArtifact, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    said = refused(MissingArtifact, tmp_path / "empty")
    assert WEIGHTS in said
    assert "diffusion_pytorch_model.bin" in said
    (folder / "config.json").unlink()
    assert "config.json" in refused(MissingArtifact, folder)


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def hostile(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"a": Path("x")}, folder / "diffusion_pytorch_model.bin")


def tensors(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)

    return damage


BIAS = "transformer_blocks.1.ff.net.2.bias"


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut, "not a readable safetensors file"),
        (hostile, "could run code"),
        (tensors(lambda state: state.pop(BIAS)), rf"lacks {BIAS}, of shape \[16\]"),
        (
            tensors(lambda state: state.update({BIAS: torch.zeros(9)})),
            rf"has {BIAS} of shape \[9\]; its config.json asks for \[16\]",
        ),
        (tensors(lambda state: state.update(more=torch.zeros(1))), "holds more, which"),
        (tensors(lambda state: state[BIAS].fill_(np.nan)), "holds NaN or infinity"),
        (lambda folder: (folder / "config.json").write_text("{"), "not readable"),
        (lambda folder: (folder / "config.json").write_text("[]"), "not the config of a network"),
        (lambda folder: edited(folder, num_layers=None), "has num_layers null"),
        (lambda folder: edited(folder, num_layers=10**9), "lacks transformer_blocks.999999999"),
        (lambda folder: edited(folder, attention_head_dim=10**9), "has pos_embed.proj.weight"),
        (lambda folder: edited(folder, patch_size=True), "has patch_size true"),
        (lambda folder: edited(folder, norm_type="ada_norm_single"), "norm_type 'ada_norm_single'"),
        (lambda folder: edited(folder, out_channels=7), "has out_channels 7"),
        (lambda folder: edited(folder, num_embeds_ada_norm=6), r"asks for \[7, 16\]"),
    ],
)
def test_folders_that_are_amiss(folder: Path, damage: Callable[[Path], Any], line: str) -> None:
    damage(folder)
    with pytest.raises(ArtifactError, match=line) as caught:
        pretrained(folder)
    assert "\n" not in str(caught.value)


def test_weights_for_something_else(folder: Path) -> None:
    assert "latents of 4 channels, but these have 3" in refused(InputError, folder, channels=3)
    assert "know 5 classes, but there are 6" in refused(InputError, folder, categories=6)
    assert "does not divide" in refused(InputError, folder, side=9)
    assert pretrained(folder, categories=5).null == 5
