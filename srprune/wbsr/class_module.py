"""The router of ClassSR: a small classifier that is trained through the SR images it leads to.

Kong et al., "ClassSR: A General Framework to Accelerate Super-Resolution Networks by Data
Characteristic", CVPR 2021. The class module gives a tile three probabilities, one for each of
three branches. It is trained on the SR image that the branches give together, each weighed by its
probability, with three losses. Read off the authors' code (XPixelGroup/ClassSR,
``codes/models/archs/classSR_srresnet_arch.py``, ``codes/models/loss.py``,
``codes/options/train/train_ClassSR_SRResNet.yml``):

- Layers: conv 4x4 with stride 4 from 3 to 128 maps, three convs 1x1 of 128 maps, one to 32, with
  LeakyReLU of slope 0.1 between them; the mean over the tile; linear to 3; softmax. 60,035
  parameters.
- Image-Loss: L1 of the weighed SR image, times 1000 with colours in 0..1. (RCAN's file says 4,
  of colours in 0..255: about the same.)
- Class-Loss: 2 - sum over i < j of |P_i - P_j|, the mean over tiles, times 0.5: sure of itself.
- Average-Loss: sum over i of |sum of P_i over the batch - B / 3|, over 4 B / 3, times 3: each
  class equally often.
- Adam (0.9, 0.99), batches of 96 tiles, branches that stand still (``fix_SR_module: true``).

What is different here. The branches are the smallest, the middle and the largest subnet of one
supernet, not three networks that were trained on easy, medium and hard patches. Since they stand
still, each tile is restored once, and the steps look at what was kept of it: its error in each
branch at 4,096 of its pixels. So tiles are not flipped and turned. There are 2,000 steps in place
of 200,000, at a learning rate of 1e-3 in place of 2e-4, down to 1e-7 along a cosine. Convs start
from He et al.'s normal, where the authors take a tenth of it: through five layers that leaves
1e-5 of a tile, and after 500 steps all tiles still had the same probabilities.

Without a budget a tile goes to its most probable branch, as published. ClassSR has no budget; the
effort here multiplies the odds of each branch against the next cheaper one, so that 1 is as
published.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srprune.core.artifact import FORMAT, Header, atomic_path, fingerprint
from srprune.core.errors import ArtifactError, Diverged, InputError
from srprune.core.progress import Progress, silent
from srprune.core.seeding import generator
from srprune.core.weights import KEY
from srprune.wbsr.flops import count_module
from srprune.wbsr.router import Choice, Demand, Flops

KIND = "ClassModuleRouter"
CLASSES = 3
STRIDE = 4  # px a side that the first conv takes together, so a tile's least side
PIXELS = 4096  # of a tile, at HR, whose errors are kept
STEPS = 2000
BATCH = 96
RATE, LAST_RATE = 1e-3, 1e-7
IMAGE_WEIGHT, CLASS_WEIGHT, AVERAGE_WEIGHT = 1000.0, 0.5, 3.0
ROOM = 1024  # tiles at a time
LEAST = 2.0**-60  # probability: efforts of 2^-64 to 2^64 outweigh it


class ClassModule(nn.Module):
    """A tile's three classes, simple to hard."""

    def __init__(self) -> None:
        """Build it with fresh weights from torch's global generator."""
        super().__init__()
        widths = (128, 128, 128, 128, 32)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], STRIDE, STRIDE)]
        for before, after in pairwise(widths):
            layers += [nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(before, after, 1)]
        self.features = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], CLASSES)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, lr_TChw: Tensor) -> Tensor:
        """(T, 3, h, w) RGB in [0, 1] to (T, 3), before the softmax."""
        logits_T3: Tensor = self.last(self.features(lr_TChw).mean(dim=(2, 3)))
        return logits_T3


def class_loss(chances_T3: Tensor) -> Tensor:
    """Class-Loss: 0 where each tile is sure of its class, 2 where none knows anything."""
    one, two, three = chances_T3.unbind(1)
    apart_T = (one - two).abs() + (one - three).abs() + (two - three).abs()
    return (CLASSES - 1 - apart_T).mean()


def average_loss(chances_T3: Tensor) -> Tensor:
    """Average-Loss: 0 where the classes are equally frequent, 1 where all tiles are of one."""
    each = len(chances_T3) / CLASSES
    return (chances_T3.sum(0) - each).abs().sum() / (4 * each)


def image_loss(chances_T3: Tensor, errors_T3P: Tensor) -> Tensor:
    """L1 of the SR image that the branches give together.

    Args:
        chances_T3: probabilities.
        errors_T3P: SR less HR of each branch; since probabilities sum to 1, the weighed sum of
            errors is the error of the weighed sum.
    """
    return torch.einsum("tb,tbp->tp", chances_T3, errors_T3P).abs().mean()


def kept_pixels(height: int, width: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of the pixels of an HR tile whose errors are kept; the same in each tile."""
    number = height * width
    drawn = generator(seed, "wbsr.class_module.pixels").choice(
        number, min(PIXELS, number), replace=False
    )
    return np.sort(drawn)


@dataclass(frozen=True)
class ClassModuleRouter:
    """A class module and the subnets that are its branches.

    Attributes:
        module: in evaluation mode.
        num_subnets: M; the branches are the first, the middle and the last of them.
    """

    module: ClassModule
    num_subnets: int

    name: ClassVar[str] = "class_module"

    @classmethod
    def fit(
        cls,
        lr_NChw: Tensor,
        errors_N3P: Tensor,
        num_subnets: int,
        *,
        seed: int = 0,
        steps: int = STEPS,
        progress: Progress = silent,
    ) -> Self:
        """Train a class module.

        Args:
            lr_NChw: uint8 RGB of training tiles, on the device.
            errors_N3P: SR less HR of the branches, colours in 0..1, at P values of each tile.
            num_subnets: M.
            seed: of the first weights and the batches.
            steps: of training.
            progress: told after each step.

        Raises:
            Diverged: the loss is no longer finite.
            InputError: fewer tiles than classes, or tiles too small.
        """
        branches_of(num_subnets)
        if len(lr_NChw) < CLASSES or min(lr_NChw.shape[2:]) < STRIDE:
            height, width = lr_NChw.shape[2:]
            raise InputError(
                f"class_module was given {len(lr_NChw)} tiles of {width}x{height} px at LR; it "
                f"takes at least {CLASSES} tiles, {STRIDE} px a side."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = ClassModule()
        module.to(lr_NChw.device)
        optimizer = torch.optim.Adam(module.parameters(), lr=RATE, betas=(0.9, 0.99))
        batch = min(BATCH, len(lr_NChw))
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, steps)
            drawn = generator(seed, "wbsr.class_module", step).choice(
                len(lr_NChw), batch, replace=False
            )
            place_B = torch.from_numpy(drawn).to(lr_NChw.device)
            chances_B3 = module(lr_NChw[place_B].float() / 255).softmax(1)
            loss = (
                IMAGE_WEIGHT * image_loss(chances_B3, errors_N3P[place_B].float())
                + CLASS_WEIGHT * class_loss(chances_B3)
                + AVERAGE_WEIGHT * average_loss(chances_B3)
            )
            value = loss.item()
            if not math.isfinite(value):
                raise Diverged(
                    f"the loss of class_module is {value} at step {step + 1} of {steps}: the "
                    "supernet's SR, or the tiles, are not finite. Train the supernet anew."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress("class_module", step + 1, steps, f"loss {value:.4g}")
        return cls(module.eval(), num_subnets)

    def flops(self, height: int, width: int) -> int:
        """Of the class module on one tile; see :class:`srprune.wbsr.router.Router`.

        Raises:
            InputError: the tile is too small.
        """
        _check_size(height, width)
        return count_module(self.module, 3, height, width)

    @torch.inference_mode()
    def demand(self, lr_TChw: Tensor) -> Demand:
        """(T, 3) probabilities; see :class:`srprune.wbsr.router.Router`.

        Raises:
            InputError: tiles too small.
        """
        _check_size(*lr_TChw.shape[2:])
        module = self.module.to(lr_TChw.device)
        logits = [module(part.float()) for part in torch.split(lr_TChw, ROOM)]
        chances_T3: Demand = torch.cat(logits).double().softmax(1).cpu().numpy()
        return chances_T3

    def choose(self, demand: Demand, flops_M: Flops, effort: float | None) -> Choice:
        """The branch of the highest probability; see :class:`srprune.wbsr.router.Router`.

        With an effort the probability of branch i of 0, 1, 2 counts effort^i times.

        Raises:
            InputError: the module is for another number of subnets.
        """
        if self.num_subnets != len(flops_M):
            raise InputError(
                f"this class module is for {self.num_subnets} subnets, but there are "
                f"{len(flops_M)}. Fit it again: srprune route."
            )
        branches_3 = np.array(branches_of(self.num_subnets))
        if effort == math.inf:
            return np.full(len(demand), branches_3[-1])
        push = 0.0 if effort is None else math.log2(effort)
        favour_T3 = np.log2(np.maximum(demand, LEAST)) + push * np.arange(CLASSES)
        chosen_T: Choice = branches_3[np.argmax(favour_T3, axis=1)]
        return chosen_T

    def save(
        self,
        path: Path,
        *,
        parents: Mapping[str, str] | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> Header:
        """Write the router as safetensors with a header.

        Args:
            path: of the file; written whole or not at all.
            parents: fingerprints of what it was fitted on, by role.
            made: who made it.
        """
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.module.state_dict().items()}
        params = {"num_subnets": self.num_subnets}
        columns = {name: tensor.numpy() for name, tensor in tensors.items()}
        header = Header(
            kind=KIND,
            fingerprint=fingerprint(KIND, parents or {}, params, columns),
            parents=dict(parents or {}),
            params=params,
            made=dict(made or {}),
        )
        content = save(tensors, metadata={KEY: json.dumps(asdict(header))})
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        return header

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a router.

        Raises:
            ArtifactError: there is no such file, or it is damaged or not a class module.
        """
        header = read_header(path)
        module = ClassModule()
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in module.state_dict()}
            module.load_state_dict(tensors)
            num_subnets = int(header.params["num_subnets"])
        except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{path} is no class module. Fit it again: srprune route."
            ) from error
        columns = {name: tensor.numpy() for name, tensor in tensors.items()}
        if fingerprint(KIND, header.parents, header.params, columns) != header.fingerprint:
            raise ArtifactError(
                f"{path} was changed after it was made. Fit it again: srprune route."
            )
        return cls(module.eval(), num_subnets)


def branches_of(num_subnets: int) -> tuple[int, int, int]:
    """The subnets that are the branches: the smallest, the middle and the largest.

    Raises:
        InputError: there are fewer than three.
    """
    if num_subnets < CLASSES:
        raise InputError(
            f"class_module needs {CLASSES} subnets, but there are {num_subnets}. Train a supernet "
            "of more, or choose another router."
        )
    return 0, num_subnets // 2, num_subnets - 1


def _check_size(height: int, width: int) -> None:
    if min(height, width) < STRIDE:
        raise InputError(
            f"a tile has {width}x{height} px at LR; class_module takes at least {STRIDE} px a side."
        )


def read_header(path: Path) -> Header:
    """What the file of a class module says of itself.

    Raises:
        ArtifactError: there is no such file, or it is not a class module.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = Header(**json.loads((file.metadata() or {})[KEY]))
    except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a readable router. Fit it again: srprune route."
        ) from error
    if header.kind != KIND or header.format != FORMAT:
        raise ArtifactError(
            f"{path} holds {header.kind} of format {header.format}, not {KIND} of format {FORMAT}. "
            "Name a file of that kind."
        )
    return header


def _rate(step: int, steps: int) -> float:
    """Along a cosine from the first rate to the last."""
    return LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2
