"""Configs of distillation that could not be trained are refused when they are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from srprune.core.configs import find_config
from srprune.core.yaml_file import load
from srprune.distill.config import DiffusionConfig, FinetuneConfig, LatentsConfig

FINETUNE = {"latents": {"kind": "pixels"}, "steps": 1}
SMALL = {"kind": "small", "factor": 4}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latents": {**SMALL, "crop": 3}}, "latents.crop is 3 px, less than one latent of 4 px"),
        ({"latents": {**SMALL, "crop": 7, "batch": 1}}, "latents.crop 7 are one latent a step"),
        ({"network": {"difffit": True}}, "network.weights names none"),
        ({"diffusion": {"beta_end": 0.99}}, "leave nothing of the image from timestep "),
        ({"diffusion": {"timesteps": 10**12}}, "lower diffusion.beta_end or diffusion.timesteps"),
        ({"diffusion": {"beta_start": 0.5, "beta_end": 0.001}}, "betas from 0.5 to 0.001 leave"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FinetuneConfig.model_validate({**FINETUNE, **changes})
    assert words in str(caught.value)


def test_what_can_be_trained_is_not() -> None:
    LatentsConfig.model_validate({**SMALL, "crop": 4, "batch": 2})
    LatentsConfig.model_validate({**SMALL, "crop": 8, "batch": 1})
    LatentsConfig.model_validate({"kind": "pixels", "crop": 3, "batch": 1})
    DiffusionConfig(timesteps=1)
    DiffusionConfig(timesteps=1000, beta_end=0.05)
    FinetuneConfig.model_validate({**FINETUNE, "network": {"difffit": True, "weights": "folder"}})


@pytest.mark.parametrize("name", ["dit_tiny.yaml", "dit_small.yaml", "dit_xl.yaml"])
def test_those_that_come_along_are_sound(name: str) -> None:
    load(find_config(name), FinetuneConfig)
