"""Pooled features of every network of the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srprune.core.errors import InputError
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.data.patches import PatchPool
from srprune.distill.network_features import NetworkFeatures
from srprune.images.bicubic import downscale
from srprune.models import MODELS
from srprune.models.build import build
from srprune.models.domain import Domain
from srprune.models.restorer import restorer_of
from tests.conftest import picture
from tests.distill.test_round_trip import Still

CPU = torch.device("cpu")
SIDE = 48


def pool() -> PatchPool:
    """Two patches, a busy one and a flat one."""
    rgb = picture(SIDE, 2 * SIDE)
    rgb[:, SIDE:] = 90
    index = PatchIndex(
        SIDE,
        SIDE,
        (ImageRecord("a", SIDE, 2 * SIDE, ""),),
        np.zeros(2, int),
        np.zeros(2, int),
        np.array([0, SIDE]),
    )
    return PatchPool(index, Still(rgb), Still(downscale(rgb, 2)), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", list(MODELS))
def test_every_network_has_features(model: str) -> None:
    torch.manual_seed(5)
    network, domain = build(model, 2, dict(MODELS.load(model).spec.tiny))
    features = NetworkFeatures(restorer_of(model, network, domain, "mark"), CPU)
    found = features(np.arange(2), pool())
    assert found.dtype == np.float32 and found.shape == (2, len(features.names))
    assert np.isfinite(found).all() and not np.allclose(found[0], found[1])
    maps = len(features.names) // 2
    assert (found[:, maps:] >= 0).all() and (found[0, maps:] > 0).any()
    alone = features(np.array([1]), pool())
    assert alone == pytest.approx(found[1:], abs=1e-5)  # a patch does not touch another
    assert features.parents == {"network": "mark"}
    assert not network.get_submodule(network.last_layer)._forward_pre_hooks  # nothing stays


def test_they_are_the_mean_and_the_spread_of_the_maps() -> None:
    torch.manual_seed(5)
    network, domain = build("srcnn", 2, {})
    features = NetworkFeatures(restorer_of("srcnn", network, domain, "mark"), CPU)
    found = features(np.array([0]), pool())[0]
    lr = torch.from_numpy(pool().lr_patches(np.array([0]))).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        maps = torch.relu(network.conv2(torch.relu(network.conv1(domain.input(lr)))))[0].numpy()
    half = len(found) // 2
    assert found[:half] == pytest.approx(maps.mean(axis=(1, 2)), abs=1e-5)
    assert found[half:] == pytest.approx(maps.std(axis=(1, 2)), abs=1e-5)
    assert features.names[0] == "mean_0" and features.names[-1] == f"std_{half - 1}"


def test_a_network_of_others_is_refused() -> None:
    other = torch.nn.Upsample(scale_factor=2)
    restorer = restorer_of("theirs", other, Domain("rgb", False, 2), "mark")
    with pytest.raises(InputError, match="theirs is no network of srprune"):
        NetworkFeatures(restorer, CPU)
