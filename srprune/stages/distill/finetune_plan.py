"""distill finetune, planned: which patches of which categories, and what is refused beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, first_difference, read_header
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact
from srprune.core.groups import NO_GROUP, GroupTable
from srprune.core.workspace import Workspace, the_one
from srprune.data.patches import Ids, PatchPool
from srprune.distill.config import FinetuneConfig
from srprune.distill.denoiser import patch_of
from srprune.distill.generator import FILE, pretrained_parents, read_generator_header
from srprune.distill.latents import factor_of, side_of
from srprune.distill.optional import check_diffusers
from srprune.distill.provenance import REPLACE
from srprune.selection.quota import sizes_of
from srprune.stages.distill.categorise import RULE
from srprune.stages.extract import read_index
from srprune.stages.pool import open_pool
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import ALONE, World
from srprune.training.ema import lag
from srprune.training.plan import StepPlan

# What changes nothing about the weights; it may change between an interruption and --resume.
WITHOUT_EFFECT = {"validation": True, "checkpoints": True}
PRETRAINED = ("network", "latents")  # what may name a folder of weights


@dataclass(frozen=True)
class FinetuneJob:
    """A training of a diffusion model, planned but not started.

    Attributes:
        folder: of the generator.
        config: resolved.
        pool: the patches, HR alone.
        patch_ids: (P,) those that it is trained on.
        labels_P: category of each, from 0.
        parents: fingerprints of ``patches``, ``groups``, of a ``coreset`` where there is one, and
            of pre-trained weights.
    """

    folder: Path
    config: FinetuneConfig
    pool: PatchPool
    patch_ids: Ids
    labels_P: npt.NDArray[np.int32]
    parents: dict[str, str]

    @property
    def categories(self) -> int:
        """How many there are."""
        return int(self.labels_P.max()) + 1

    @property
    def lag(self) -> str:
        """What is to be said of ``ema`` where the steps are too few for it; else nothing."""
        return "" if self.config.network.weights else lag(self.config.ema, self.config.steps)

    @property
    def size(self) -> int:
        """Side of a window, HR px."""
        return self.pool.index.size

    @property
    def plan(self) -> StepPlan:
        """How many steps it gets."""
        steps, batch = self.config.steps, self.config.batch
        return StepPlan(steps, steps, batch, len(self.patch_ids), len(self.pool))

    @property
    def path(self) -> Path:
        """The file that it ends with."""
        return self.folder / FILE

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights, as plain values."""
        return {
            "size": self.size,
            "categories": self.categories,
            "num_patches": len(self.patch_ids),
            "asked": _asked(self.config.model_dump(mode="json", exclude=WITHOUT_EFFECT)),
            "parents": dict(self.parents),
        }

    @property
    def checkpoints(self) -> Checkpoints:
        """What it can go on from."""
        return Checkpoints(self.folder / "checkpoints", self.identity, self.config.checkpoints.keep)

    def finished(self) -> Header | None:
        """Header of the generator, if this very one is finished.

        Raises:
            ArtifactMismatch: the folder holds another one.
        """
        if not self.path.exists():
            return None
        header = read_generator_header(self.path)
        there = {key: header.params.get(key) for key in self.identity if key != "parents"}
        there |= {"asked": _asked(header.params.get("asked", {})), "parents": header.parents}
        if there != self.identity:
            raise ArtifactMismatch(
                f"{self.folder} holds a generator of another config or other inputs "
                f"({first_difference(there, self.identity)}). {REPLACE}"
            )
        return header


def _asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the places of pre-trained weights: their fingerprints are parents."""
    pretrained = {part: {**config.get(part, {}), "weights": None} for part in PRETRAINED}
    return {**config, **pretrained}


def plan_finetune(
    workspace: Workspace,
    config: FinetuneConfig,
    *,
    name: str,
    groups: str | None = None,
    world: World = ALONE,
) -> FinetuneJob:
    """Find the categories, and refuse what cannot be trained before anything is.

    Args:
        workspace: holds patches and categories; gets the generator.
        config: of the training.
        name: of the generator.
        groups: name of the categories; by default the only ones of 'distill categorise'.
        world: the processes that share each step.

    Raises:
        MissingArtifact: no patches, no categories, or no weights where the config names some.
        ArtifactError: pre-trained weights whose config is damaged.
        ArtifactMismatch: categories of another patch index.
        InputError: an empty category, a batch that cannot be filled or shared, or tokens that do
            not fit the windows.
        MissingDependency: diffusers is not installed.
    """
    check_diffusers()
    index = read_index(workspace)
    path = _named(workspace, groups) if groups else _categorised(workspace)
    table = GroupTable.read(path, patches=index.fingerprint)
    ids = np.flatnonzero(table.labels_N != NO_GROUP)
    labels_P = table.labels_N[ids]
    sizes_K = sizes_of(labels_P, int(labels_P.max()) + 1)
    if (empty := np.flatnonzero(sizes_K == 0)).size:
        raise InputError(
            f"{path} has no patch in category {empty[0]} of {len(sizes_K)}. Categorise into fewer: "
            "srprune distill categorise --categories."
        )
    _check(config, len(ids), index.size, world)
    parents = {"patches": index.fingerprint, "groups": table.fingerprint}
    parents |= {k: v for k, v in table.header.parents.items() if k == "coreset"}
    parents |= pretrained_parents(config)
    pool = open_pool(workspace, 2, with_lr=False)
    return FinetuneJob(workspace.generator(name), config, pool, ids, labels_P, parents)


def _named(workspace: Workspace, groups: str) -> Path:
    """Groups by their name."""
    path = workspace.groups(groups)
    if not path.exists():
        there = ", ".join(each.stem for each in sorted(path.parent.glob("*.parquet")))
        raise MissingArtifact(
            f"there are no groups '{groups}' (there: {there or 'none'}). Choose one with --groups, "
            "or run 'srprune distill categorise' first."
        )
    return path


def _categorised(workspace: Workspace) -> Path:
    """The only categories that there are."""
    tables = sorted((workspace.root / "groups").glob("*.parquet"))
    named = [path for path in tables if read_header(path).params.get("rule") == RULE]
    return the_one(named, "table of categories", "--groups", "srprune distill categorise")


def _check(config: FinetuneConfig, num_patches: int, size: int, world: World) -> None:
    side_of(factor_of(config.latents), size, patch_of(config.network))
    count = config.compute.accumulate * world.size
    if config.batch % count:
        raise InputError(
            f"batch is {config.batch}, which cannot be cut into {count} equal parts "
            f"(compute.accumulate, processes). Choose a multiple of {count}."
        )
    if config.latents.kind == "small" and config.latents.batch % world.size:
        raise InputError(
            f"latents.batch is {config.latents.batch}, no multiple of the {world.size} processes. "
            "Choose one."
        )
    if config.latents.kind == "small" and config.latents.values(size, world.size) < 2:
        raise InputError(
            f"latents.batch {config.latents.batch} and latents.crop {config.latents.crop} leave "
            "each process one latent a step, which has no spread. Raise one of them."
        )
    if config.batch > num_patches:
        raise InputError(
            f"batch is {config.batch}, but there are {num_patches} windows. Choose a batch of at "
            f"most {num_patches}, or select more windows."
        )
    if config.compute.cuda_graph:
        raise InputError(
            "compute.cuda_graph is for networks that take one tensor, and a diffusion model takes "
            "three. Choose compute.compile, or leave it out."
        )
