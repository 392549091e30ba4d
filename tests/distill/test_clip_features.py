"""Features of CLIP: the numbers of open_clip, from any file that holds them, and from no other."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from srprune.core.errors import ArtifactError, MissingArtifact, MissingDependency
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.data.patches import PatchPool
from srprune.distill.clip_features import ClipFeatures, Sizes, Weights, find_weights
from tests.conftest import picture
from tests.distill.test_round_trip import Still

pytest.importorskip("open_clip")

CPU = torch.device("cpu")
TINY = Sizes(width=64, layers=2, patch=8, side=32, features=16)


@pytest.fixture(scope="module")
def model() -> Any:
    """A whole CLIP of open_clip, with a tower of two layers."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 64, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 1, "layers": 1}
    return CLIP(16, vision, text, quick_gelu=True).eval()


@pytest.fixture
def weights(model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "clip.safetensors"
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def pool() -> PatchPool:
    index = PatchIndex(
        48,
        24,
        (ImageRecord("a", 48, 72, ""),),
        np.zeros(2, int),
        np.zeros(2, int),
        np.array([0, 24]),
    )
    return PatchPool(index, Still(picture(48, 72)), None, 2)  # type: ignore[arg-type]


def features_of(path: Path, pool: PatchPool, quick_gelu: bool = True) -> np.ndarray:
    return ClipFeatures(Weights(path, quick_gelu), CPU, TINY)(np.arange(2), pool)


def test_they_are_those_of_open_clip(model: Any, weights: Path, pool: PatchPool) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    prepared = image_transform_v2(PreprocessCfg(size=32), is_train=False)
    images = [Image.fromarray(patch) for patch in pool.hr_patches(np.arange(2))]
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([prepared(image) for image in images])).numpy()
    found = features_of(weights, pool)
    assert found.dtype == np.float32 and found.shape == (2, 16)
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(found, axis=1) != pytest.approx(1, abs=0.05)  # not normalised


def test_gelu_is_told_apart(weights: Path, pool: PatchPool) -> None:
    quick, exact = (ClipFeatures(Weights(weights, each), CPU, TINY) for each in (True, False))
    assert not np.allclose(quick(np.arange(2), pool), exact(np.arange(2), pool), atol=1e-5)
    assert quick.parents != exact.parents
    assert quick.names == tuple(f"clip_{number}" for number in range(16))


def theirs(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An image tower by the names of transformers' CLIPModel."""
    tower = {n.removeprefix("visual."): t for n, t in tensors.items() if n.startswith("visual.")}
    whole = "vision_model.embeddings."
    named = {
        f"{whole}class_embedding": tower.pop("class_embedding"),
        f"{whole}patch_embedding.weight": tower.pop("conv1.weight"),
        f"{whole}position_embedding.weight": tower.pop("positional_embedding"),
        f"{whole}position_ids": torch.arange(17)[None],
        "visual_projection.weight": tower.pop("proj").T,
        "text_model.final_layer_norm.weight": torch.ones(3),
    }
    for name, tensor in tower.items():
        if "attn.in_proj" in name:
            block, kind = name.split(".")[2], name.rpartition("_")[2]
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                place = f"vision_model.encoder.layers.{block}.self_attn"
                named[f"{place}.{letter}_proj.{kind}"] = part
            continue
        for ours, other in (
            ("transformer.resblocks", "vision_model.encoder.layers"),
            ("attn.out_proj", "self_attn.out_proj"),
            (".ln_1.", ".layer_norm1."),
            (".ln_2.", ".layer_norm2."),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
            ("ln_pre", "vision_model.pre_layrnorm"),
            ("ln_post", "vision_model.post_layernorm"),
        ):
            name = name.replace(ours, other)
        named[name] = tensor
    return {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in named.items()
    }


def test_other_files_of_the_same_weights(
    model: Any, weights: Path, pool: PatchPool, tmp_path: Path
) -> None:
    expected = ClipFeatures(Weights(weights, True), CPU, TINY)
    tensors = model.state_dict()
    torch.save({"state_dict": {f"module.{n}": t for n, t in tensors.items()}}, tmp_path / "a.pt")
    save_file(theirs(tensors), tmp_path / "b.safetensors")
    for name in ("a.pt", "b.safetensors"):
        other = ClipFeatures(Weights(tmp_path / name, True), CPU, TINY)
        assert other.parents == expected.parents
        assert np.array_equal(other(np.arange(2), pool), expected(np.arange(2), pool))


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch exploded",)


def test_a_hostile_file_is_not_run(
    tmp_path: Path, pool: PatchPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"visual.conv1.weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ArtifactError, match=r"bomb\.pt (holds more than tensors|is damaged)"):
        features_of(tmp_path / "bomb.pt", pool)
    assert not (tmp_path / "exploded").exists()


def test_a_program_is_not_run(tmp_path: Path, pool: PatchPool) -> None:
    """OpenAI's own file is an archive of TorchScript."""
    with zipfile.ZipFile(tmp_path / "ViT-B-32.pt", "w") as file:
        file.writestr("archive/constants.pkl", b"")
    with pytest.raises(ArtifactError, match=r"is a program \(TorchScript\).* Fetch the tensors: "):
        features_of(tmp_path / "ViT-B-32.pt", pool)


def test_an_archive_with_a_broken_table_is_one_line(tmp_path: Path, pool: PatchPool) -> None:
    path = tmp_path / "broken.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", "x" * 500)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"PK\x01\x02", b"XXXX"))
    assert zipfile.is_zipfile(path)
    with pytest.raises(ArtifactError, match=r"broken\.pt is damaged, or no weights file of torch"):
        features_of(path, pool)


def test_another_size_is_refused(weights: Path, pool: PatchPool) -> None:
    with pytest.raises(
        ArtifactError, match=r"has class_embedding 64, and that of ViT-B-32 768\. Fetch the right"
    ):
        ClipFeatures(Weights(weights, True), CPU)
    more = Sizes(width=64, layers=3, patch=8, side=32, features=16)
    with pytest.raises(ArtifactError, match=r"has transformer.resblocks.2.*missing, and that"):
        ClipFeatures(Weights(weights, True), CPU, more)


def test_other_tensors_are_refused(tmp_path: Path, pool: PatchPool) -> None:
    save_file({"conv.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="holds no image tower of CLIP"):
        features_of(tmp_path / "other.safetensors", pool)
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    with pytest.raises(ArtifactError, match="is not a readable safetensors file"):
        features_of(tmp_path / "cut.safetensors", pool)


def cache(folder: Path, repository: str, name: str) -> Path:
    """A file as the hub's cache keeps it."""
    place = folder / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    file = place / "snapshots" / "abc" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    return file


def test_the_cache_of_the_hub_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingArtifact) as said:
        find_weights(None)
    words = str(said.value)
    for part in (
        str(tmp_path),
        "openai/clip-vit-base-patch32, timm/vit_base_patch32_clip_224.openai, "
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "hf download timm/vit_base_patch32_clip_224.openai open_clip_model.safetensors",
        "--features descriptor",
    ):
        assert part in words
    assert len(words.splitlines()) == 1
    last = cache(tmp_path, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin")
    assert find_weights(None) == Weights(last, quick_gelu=False)
    timm = cache(tmp_path, "timm/vit_base_patch32_clip_224.openai", "model.safetensors")
    assert find_weights(None) == Weights(last, quick_gelu=False)  # timm's names are others
    middle = timm.rename(timm.with_name("open_clip_model.safetensors"))
    assert find_weights(None) == Weights(middle, quick_gelu=True)
    first = cache(tmp_path, "openai/clip-vit-base-patch32", "pytorch_model.bin")
    assert find_weights(None) == Weights(first, quick_gelu=True)


def test_a_file_or_a_folder(weights: Path, tmp_path: Path) -> None:
    assert find_weights(str(weights)) == Weights(weights, quick_gelu=True)
    with pytest.raises(MissingArtifact, match=r"holds no weights of CLIP: open_clip_model\.safe"):
        find_weights(str(tmp_path))
    file = weights.rename(tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 512}}')
    assert find_weights(str(tmp_path)) == Weights(file, quick_gelu=False)
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"quick_gelu": true}}')
    assert find_weights(str(file)) == Weights(file, quick_gelu=True)
    (tmp_path / "open_clip_config.json").write_text("[]")
    with pytest.raises(ArtifactError, match="is no config of open_clip"):
        find_weights(str(file))
    with pytest.raises(MissingArtifact, match=r"no weights of CLIP nowhere\.pt\. Fetch"):
        find_weights("nowhere.pt")


def test_without_open_clip_one_line_says_what_to_do(
    weights: Path, pool: PatchPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip.transform", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "open_clip.pretrained", None)
    for ask in (lambda: features_of(weights, pool), lambda: find_weights(None)):
        with pytest.raises(MissingDependency, match=r"pip install 'srprune\[distill\]'"):
            ask()
