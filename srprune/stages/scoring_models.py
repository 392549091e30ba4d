"""Scoring models: which ones a method asks, found by name, run or file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace, the_one
from srprune.scoring import NO_MODEL, RECONSTRUCTION
from srprune.stages.restorers import (
    WEIGHTS,
    Opened,
    find_weights,
    names_a_file,
    open_restorer,
    run_names,
)


def scoring_models(
    workspace: Workspace,
    method: str,
    scorers: Sequence[str],
    scale: int | None,
    device: torch.device,
) -> list[Opened]:
    """Open the scoring models of a method, as many as it takes, all of one scale.

    Args:
        workspace: holds those that pretrain made.
        method: name in the table of scorers.
        scorers: each a name, that of a run, or a weights file; none where the only one will do.
        scale: that they must have; None for any.
        device: that they will work on.

    Raises:
        InputError: too many, too few, one of them twice, or of another scale.
        MissingArtifact: there is none yet, or none of that name.
    """
    takes = RECONSTRUCTION.get(method, NO_MODEL)
    if not scorers and takes.least == 1:
        folder = _only_scorer(workspace, scale)
        opened = [open_restorer(str(folder / WEIGHTS), None, device)]
    elif len(scorers) < takes.least or (takes.most is not None and len(scorers) > takes.most):
        order = ", the weak one first" if method == "reducible" else ""
        raise InputError(
            f"{method} takes {takes}{order}, but --scorer is given {len(scorers)} times."
        )
    else:
        opened = [_scoring_model(workspace, scorer, scale, device) for scorer in scorers]
    by_fingerprint: dict[str, Opened] = {}
    for each in opened:  # two of the same alone would score 0 throughout
        other = by_fingerprint.setdefault(each.restorer.fingerprint, each)
        if other is not each:
            them = f"{other.path} and {each.path}" if other.path != each.path else str(each.path)
            raise InputError(
                f"{method} compares scoring models, but --scorer is given the same weights twice: "
                f"{them}. Name another one."
            )
    scales = {each.restorer.scale for each in opened}
    if len(scales) > 1:
        them = ", ".join(f"{each.path} is of x{each.restorer.scale}" for each in opened)
        raise InputError(f"scoring models must be of one scale, but {them}.")
    if scale and scales - {scale}:
        raise InputError(
            f"{opened[0].path.parent} is a model of x{opened[0].restorer.scale}, but --scale is "
            f"{scale}. Run 'srprune pretrain --scale {scale}' first."
        )
    return opened


def _scoring_model(
    workspace: Workspace, scorer: str, scale: int | None, device: torch.device
) -> Opened:
    """A file by its path, a scoring model by its name, or a run.

    A scoring model of the workspace tells which patches it must score; what is named otherwise may
    have been trained on anything.
    """
    if names_a_file(scorer):
        return replace(open_restorer(scorer, scale, device), patches=None)
    own = workspace.scorer(scorer) / WEIGHTS
    if own.is_file():
        return open_restorer(str(own), None, device)
    path = find_weights(scorer, workspace)
    if path is None:
        known = ", ".join(folder.name for folder in workspace.scorers()) or "none"
        raise MissingArtifact(
            f"there is no scoring model, run or weights file '{scorer}'. Run 'srprune pretrain "
            f"--name {scorer}' first, or choose one of the scoring models: {known}; or of the "
            f"runs: {run_names(workspace)}."
        )
    return replace(open_restorer(str(path), None, device), patches=None)


def _only_scorer(workspace: Workspace, scale: int | None) -> Path:
    folders = workspace.scorers()
    if scale and len(folders) > 1:
        folders = [folder for folder in folders if folder.name.endswith(f"_x{scale}")]
    return the_one(folders, "scoring model", "--scorer", "srprune pretrain")


def parents_of(opened: list[Opened], index: PatchIndex) -> dict[str, str]:
    """Fingerprints of what goes in: the patches, and the scoring models in their order.

    Raises:
        ArtifactMismatch: a scoring model of the workspace was trained on other patches.
    """
    parents = {"patches": index.fingerprint}
    for number, each in enumerate(opened, start=1):
        if each.patches not in (None, index.fingerprint):
            name = each.path.parent.name
            named = "" if name == f"{each.model}_x{each.restorer.scale}" else f" --name {name}"
            raise ArtifactMismatch(
                f"{each.path.parent} was trained on patch index {each.patches}, but the workspace "
                f"holds {index.fingerprint}. Run 'srprune pretrain{named} --restart'."
            )
        parents["scorer" if number == 1 else f"scorer{number}"] = each.restorer.fingerprint
    return parents
