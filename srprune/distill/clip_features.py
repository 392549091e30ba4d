"""Features of CLIP's image tower, ViT-B/32, as the paper takes them: neither normalised nor scaled.

Radford et al., ICML 2021. The paper's weights are OpenAI's as openai/clip-vit-base-patch32 of the
Hugging Face hub has them; open_clip has the same, and others. Nothing is downloaded here: weights
come from a local file or folder, or from what the hub's cache holds. They are read as tensors
alone, and only those of the image tower are kept.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from srprune.core.artifact import fingerprint
from srprune.core.errors import ArtifactError, MissingArtifact, MissingDependency
from srprune.core.features import Features
from srprune.data.patches import Ids, PatchPool
from srprune.models.weight_files import read_tensors

MODEL = "ViT-B-32"  # as open_clip calls it
TAGS = ("openai", "laion2b_s34b_b79k")  # of open_clip's table, in the order they are looked for
HEAD = 64  # width of an attention head, in every ViT of CLIP
PAPERS = "openai/clip-vit-base-patch32"
CONFIG = "open_clip_config.json"
OPENAI = "timm/vit_base_patch32_clip_224.openai"  # the same weights, and safe to read
FETCH = f"hf download {OPENAI} open_clip_model.safetensors"
# A repository of open_clip's may hold a model.safetensors of timm's beside its own.
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TRANSFORMERS_FILES = ("model.safetensors", "pytorch_model.bin")
FILES = (*OPEN_CLIP_FILES, *TRANSFORMERS_FILES)
# OpenAI's normalisation, which LAION's models share
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Sizes:
    """Sizes of an image tower; the defaults are ViT-B/32.

    Attributes:
        width: of a token.
        layers: blocks.
        patch: side of a token, px.
        side: of the image that it takes, px.
        features: that it gives.
    """

    width: int = 768
    layers: int = 12
    patch: int = 32
    side: int = 224
    features: int = 512


VIT_B_32 = Sizes()


@dataclass(frozen=True)
class Weights:
    """A file of CLIP's weights.

    Attributes:
        path: of the file.
        quick_gelu: whether the model was trained with OpenAI's approximation of GELU, which no
            tensor tells.
    """

    path: Path
    quick_gelu: bool


class ClipFeatures:
    """What CLIP's image tower says of a patch.

    Attributes:
        names: ``clip_0`` and so on.
        parents: fingerprint of the tower's weights.
        divided: published k-means takes them as they are.
        batch: patches at a time.
        weights: the file.
    """

    divided = False
    batch = 16

    def __init__(self, weights: Weights, device: torch.device, sizes: Sizes = VIT_B_32) -> None:
        """Read an image tower.

        Args:
            weights: from :func:`find_weights`.
            device: that it works on.
            sizes: that the weights must have.

        Raises:
            MissingDependency: open_clip is not installed.
            ArtifactError: the file is damaged, hostile, or of another network.
        """
        try:
            from open_clip.transform import image_transform
        except ImportError:
            raise _no_open_clip() from None
        tensors = _tensors_of_tower(weights.path)
        tower = _tower(weights, tensors, sizes)
        columns = {name: tensor.numpy() for name, tensor in sorted(tensors.items())}
        mark = fingerprint("ClipTower", {}, {"quick_gelu": weights.quick_gelu}, columns)
        self.weights = weights
        self.parents = {"weights": mark}
        self.names = tuple(f"clip_{number}" for number in range(sizes.features))
        self._tower, self._device = tower.to(device), device
        self._prepared: Any = image_transform(
            sizes.side, is_train=False, mean=MEAN, std=STD, interpolation="bicubic"
        )

    @torch.inference_mode()
    def __call__(self, ids: Ids, pool: PatchPool) -> Features:
        """(B, D) float32."""
        size = pool.index.size
        images = [Image.fromarray(pool.hr_crop(int(i), 0, 0, size)) for i in ids]
        x_BCHW = torch.stack([self._prepared(image) for image in images])
        found: Features = self._tower(x_BCHW.to(self._device)).float().cpu().numpy()
        return found


clip_features = ClipFeatures


def find_weights(given: str | None) -> Weights:
    """Weights by their path, or what the hub's cache holds.

    Args:
        given: a file, or a folder with a file of a usual name; None looks into the cache.

    Raises:
        MissingArtifact: there are none; the message says where they were looked for.
        MissingDependency: open_clip is not installed.
        ArtifactError: the config beside the weights is damaged.
    """
    if given is None:
        return _cached()
    path = Path(given)
    if path.is_dir():
        found = next((path / name for name in FILES if (path / name).is_file()), None)
        if found is None:
            raise MissingArtifact(
                f"the folder {path} holds no weights of CLIP: {', '.join(FILES)}. "
                "Name the file itself."
            )
        path = found
    elif not path.is_file():
        raise MissingArtifact(
            f"there are no weights of CLIP {path}. Fetch them where there is a network: {FETCH}"
        )
    return Weights(path, _quick_gelu(path))


def _cached() -> Weights:
    """The first of those that the hub's cache holds; the network is never asked."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.constants import HF_HUB_CACHE
        from open_clip.pretrained import get_pretrained_cfg
    except ImportError:
        raise _no_open_clip() from None
    places = {PAPERS: (True, TRANSFORMERS_FILES)}
    for tag in TAGS:
        about: Mapping[str, Any] = get_pretrained_cfg(MODEL, tag)
        openai = tag == TAGS[0]  # of which the table of older versions says nothing
        repository = about["hf_hub"].strip("/") or (OPENAI if openai else "")
        if repository:
            places[repository] = (about.get("quick_gelu", openai), OPEN_CLIP_FILES)
    for repository, (quick_gelu, names) in places.items():
        for name in names:
            found = try_to_load_from_cache(repository, name)
            if isinstance(found, str):
                return Weights(Path(found), quick_gelu)
    raise MissingArtifact(
        f"there are no weights of CLIP {MODEL}: the hub's cache {HF_HUB_CACHE} has none of "
        f"{', '.join(places)}. Fetch them where there is a network ({FETCH}), name a file with "
        "--weights, or take --features descriptor or network."
    )


def _quick_gelu(path: Path) -> bool:
    """What open_clip's config beside the weights says; without one they are taken for OpenAI's."""
    config = path.with_name(CONFIG)
    if not config.is_file():
        return True
    try:
        return bool(json.loads(config.read_text(encoding="utf-8"))["model_cfg"].get("quick_gelu"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{config} is no config of open_clip ({error}). Remove it.") from error


def _tower(weights: Weights, tensors: dict[str, Tensor], sizes: Sizes) -> nn.Module:
    """The image tower, ready to be asked."""
    from open_clip.transformer import QuickGELU, VisionTransformer

    with torch.device("meta"):  # no first weights are drawn
        tower: nn.Module = VisionTransformer(
            image_size=sizes.side,
            patch_size=sizes.patch,
            width=sizes.width,
            layers=sizes.layers,
            heads=sizes.width // HEAD,
            mlp_ratio=4.0,
            output_dim=sizes.features,
            act_layer=QuickGELU if weights.quick_gelu else nn.GELU,
        )
    wanted = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in [*wanted, *there]:
        if wanted.get(name) != there.get(name):
            raise ArtifactError(
                f"{weights.path} is of another size than {MODEL}: its image tower has "
                f"{name} {_shape(there.get(name))}, and that of {MODEL} "
                f"{_shape(wanted.get(name))}. Fetch the right one: {FETCH}"
            )
    tower.load_state_dict(tensors, assign=True)
    return tower.eval().requires_grad_(False)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"


def _tensors_of_tower(path: Path) -> dict[str, Tensor]:
    """Those of the image tower by open_clip's names, as float32."""
    if _is_program(path):
        raise ArtifactError(
            f"{path} is a program (TorchScript), as OpenAI hands CLIP out, and programs are not "
            f"run. Fetch the tensors: {FETCH}"
        )
    tensors = read_tensors(path)
    if "vision_model.embeddings.class_embedding" in tensors:
        return dict(_renamed(tensors))
    own = {
        name.removeprefix("visual."): tensor
        for name, tensor in tensors.items()
        if name.startswith("visual.")
    }
    if not own:
        raise ArtifactError(
            f"{path} holds no image tower of CLIP: no tensor is called visual.* or vision_model.*. "
            f"Fetch one: {FETCH}"
        )
    return own


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except Exception:  # zipfile raises nearly anything on damage, and reading its tensors says so
        return False


# Whole names of transformers' CLIPVisionModel, and open_clip's; q, k and v are joined by hand.
_NAMES = (
    (r"visual_projection\.weight", "proj"),
    (r"vision_model\.embeddings\.class_embedding", "class_embedding"),
    (r"vision_model\.embeddings\.patch_embedding\.weight", "conv1.weight"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"vision_model\.pre_layrnorm\.(weight|bias)", r"ln_pre.\1"),
    (r"vision_model\.post_layernorm\.(weight|bias)", r"ln_post.\1"),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.layer_norm([12])\.(weight|bias)",
        r"transformer.resblocks.\1.ln_\2.\3",
    ),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(weight|bias)",
        r"transformer.resblocks.\1.mlp.c_fc.\2",
    ),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(weight|bias)",
        r"transformer.resblocks.\1.mlp.c_proj.\2",
    ),
    (
        r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(weight|bias)",
        r"transformer.resblocks.\1.attn.out_proj.\2",
    ),
)
_QUERY = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)")


def _renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of transformers' CLIP as open_clip has them."""
    for name, tensor in tensors.items():
        for pattern, template in _NAMES:
            if match := re.fullmatch(pattern, name):
                ours = match.expand(template)
                yield ours, tensor.T.contiguous() if ours == "proj" else tensor
        if match := _QUERY.fullmatch(name):
            parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
            if all(part in tensors for part in parts):
                whole = torch.cat([tensors[part] for part in parts])
                yield f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}", whole


def _no_open_clip() -> MissingDependency:
    return MissingDependency("features clip need open_clip. Run: pip install 'srprune[distill]'")
