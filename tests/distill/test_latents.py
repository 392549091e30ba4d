"""Pixels, the small autoencoder and a pre-trained one: there and back, and what is refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from srprune.core.errors import ArtifactError, InputError, MissingArtifact
from srprune.distill.config import LatentsConfig
from srprune.distill.latents import (
    PixelLatents,
    SmallAutoencoder,
    VaeLatents,
    factor_of,
    latents_of,
    side_of,
)
from tests.distill.untrained import make_vae

RGB = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD-VAE, as diffusers keeps it."""
    return make_vae(tmp_path_factory.mktemp("made") / "vae")


def test_pixels_come_back_exactly() -> None:
    latents = PixelLatents()
    assert torch.equal(latents.decode(latents.encode(RGB)), (2 * RGB - 1 + 1) / 2)
    assert latents.encode(torch.tensor([[[[0.0]], [[0.5]], [[1.0]]]])).flatten().tolist() == [
        -1, 0, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_small_autoencoder_has_the_sizes_that_are_asked_for(factor: int) -> None:
    config = LatentsConfig(kind="small", factor=factor, channels=5, width=8)
    latents = latents_of(config)
    assert isinstance(latents, SmallAutoencoder)
    latents.eval()
    latent = latents.encode(RGB)
    assert latent.shape == (2, 5, 16 // factor, 16 // factor)
    assert latents.decode(latent).shape == RGB.shape
    assert not latent.requires_grad
    torch.testing.assert_close(latents(RGB), latents.decode(latent))


def test_its_latents_have_unit_spread_once_it_has_seen_images() -> None:
    latents = SmallAutoencoder(LatentsConfig(kind="small", factor=2, channels=3, width=8))
    latents.train()
    latents.spread.momentum = 0.1  # to be there sooner
    for _ in range(200):
        latents(RGB)
    latents.eval()
    spread = latents.encode(RGB).flatten(2).transpose(0, 1).flatten(1).std(dim=1)
    torch.testing.assert_close(spread, torch.ones(3), rtol=0.1, atol=0)


def test_a_pretrained_one_is_what_diffusers_makes_of_it(folder_once: Path) -> None:
    latents = VaeLatents(str(folder_once))
    assert (latents.channels, latents.factor) == (4, 2)
    vae = AutoencoderKL.from_pretrained(folder_once).eval()
    with torch.no_grad():
        expected = vae.encode(2 * RGB - 1).latent_dist.mean * 0.18215
        back = vae.decode(expected / 0.18215).sample
    torch.testing.assert_close(latents.encode(RGB), expected)
    torch.testing.assert_close(latents.decode(expected), (back + 1) / 2)
    assert not any(each.requires_grad for each in latents.parameters())


def test_names_of_the_time_of_sd_vae_are_understood(folder_once: Path, tmp_path: Path) -> None:
    """Its attention was called query, key, value and proj_attn."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(folder_once / "diffusion_pytorch_model.safetensors")
    for name in list(tensors):
        for new, former in old.items():
            if f".attentions.0.{new}." in name:
                tensors[name.replace(new, former)] = tensors.pop(name)
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text((folder_once / "config.json").read_text())
    former, now = VaeLatents(str(tmp_path)), VaeLatents(str(folder_once))
    assert torch.equal(former.encode(RGB), now.encode(RGB))


class Hostile:
    """What a pickle may hold; read without care it would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_faults_of_a_folder_are_one_line(folder_once: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"there is no folder .* of pre-trained weights"):
        VaeLatents(str(tmp_path / "nowhere"))
    config = json.loads((folder_once / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MissingArtifact, match="holds no pre-trained vae"):
        VaeLatents(str(tmp_path))
    torch.save({"weight": Hostile()}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(ArtifactError, match="could run code of its own"):
        VaeLatents(str(tmp_path))
    (tmp_path / "diffusion_pytorch_model.bin").unlink()
    tensors = load_file(folder_once / "diffusion_pytorch_model.safetensors")
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config | {"latent_channels": 6}))
    with pytest.raises(ArtifactError, match=r"does not fit the autoencoder that its config\.json"):
        VaeLatents(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm_num_groups": 0}, "does not fit the autoencoder"),
        ({"block_out_channels": []}, r"block_out_channels \[\]; it must list a width"),
        ({"block_out_channels": "8"}, r'block_out_channels "8"; it must list'),
        ({"down_block_types": ["Nonesuch"] * 2}, "does not fit the autoencoder"),
        ({"latent_channels": 10**12}, "does not fit the autoencoder"),
        ({"latent_channels": 10**30}, "does not fit the autoencoder"),
        ({"layers_per_block": 10**9}, r"has \d+ tensors, and layers_per_block is 1000000000"),
        ({"layers_per_block": None}, "layers_per_block is null"),
        ({"scaling_factor": 0}, "scaling_factor 0; it must be a number above 0"),
        ({"scaling_factor": None}, "scaling_factor null; it must be a number above 0"),
        ({"scaling_factor": float("nan")}, "scaling_factor NaN; it must be a number above 0"),
        ({"scaling_factor": 10**400}, "it must be a number above 0"),
        ({"shift_factor": 0.1}, "shift_factor 0.1; latents are scaled here, not shifted"),
        ({"in_channels": 4}, "in_channels 4; it must be 3"),
    ],
)
def test_a_config_of_nonsense_is_one_line(
    folder_once: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    folder = Path(shutil.copytree(folder_once, tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ArtifactError, match=words) as caught:
        VaeLatents(str(folder))
    assert "\n" not in str(caught.value)


def test_a_config_alone_takes_no_memory(folder_once: Path, tmp_path: Path) -> None:
    """Two gigabytes of layers that the file does not hold."""
    folder = Path(shutil.copytree(folder_once, tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"block_out_channels": [8, 2048]}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError, match="does not fit the autoencoder"):
        VaeLatents(str(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 300_000  # kB


def test_too_little_memory_is_no_misfit(folder_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(AutoencoderKL, "from_config", full)
    with pytest.raises(MemoryError):
        VaeLatents(str(folder_once))


def test_a_shift_of_nothing_is_none(folder_once: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_once, tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"shift_factor": 0.0}))
    assert torch.equal(
        VaeLatents(str(folder)).encode(RGB), VaeLatents(str(folder_once)).encode(RGB)
    )


def test_the_factor_is_known_beforehand(folder_once: Path) -> None:
    small = {"kind": "small", "factor": 8}
    for values in ({"kind": "pixels"}, small, {"kind": "vae", "weights": str(folder_once)}):
        config = LatentsConfig.model_validate(values)
        assert factor_of(config) == latents_of(config).factor


def test_windows_are_cut_into_whole_tokens() -> None:
    assert side_of(1, 48, 4) == 48
    with pytest.raises(InputError, match=r"48 px cannot be cut into tokens of 5 px.*such as 45\."):
        side_of(1, 48, 5)
