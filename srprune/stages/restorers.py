"""Opening a model by what the user calls it: a file of ours or of others, or a folder with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from srprune.core.artifact import digest
from srprune.core.config import TrainConfig
from srprune.core.errors import InputError, MissingArtifact
from srprune.core.weights import is_ours
from srprune.core.workspace import Workspace
from srprune.models.build import load_weights
from srprune.models.foreign import load_foreign
from srprune.models.network import Network
from srprune.models.restorer import NetworkRestorer, restorer_of
from srprune.models.spandrel_bridge import PREFIX, load_spandrel

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Opened:
    """A network as a restorer, and what its file says of its training.

    Attributes:
        path: of the file.
        restorer: on the device.
        model: its name in tables: of the table of models, or of spandrel's architecture.
        rim: HR px at each edge of the output that padding spoils; None if not known.
        train_set: name of its core-set, ``full``, or ``none`` where not known.
        seed: of its training; -1 where not known.
        patches: fingerprint of the patch index that it was trained on; None where not known.
        training_images: content of each training image, mapped to its path.
    """

    path: Path
    restorer: NetworkRestorer
    model: str
    rim: int | None
    train_set: str = "none"
    seed: int = -1
    patches: str | None = None
    training_images: Mapping[str, str] = field(default_factory=dict)


def names_a_file(model: str) -> bool:
    """True for ``spandrel:FILE`` and for paths of weights files that are there."""
    return model.startswith(PREFIX) or Path(model).is_file()


def find_weights(model: str, workspace: Workspace) -> Path | None:
    """A weights file by its path, or that of a run by its folder or its name; None: there is none.

    A file goes before a folder, and a folder before a run of the workspace.
    """
    places = [Path(model), Path(model) / WEIGHTS, workspace.run(model) / WEIGHTS]
    return next((place for place in places if place.is_file()), None)


def initial_weights(
    config: TrainConfig, workspace: Workspace
) -> tuple[Path | None, dict[str, str]]:
    """The file that a training starts from, if any, and its digest as a parent of the run.

    Raises:
        MissingArtifact: there are no such weights.
    """
    if config.init.weights is None:
        return None, {}
    if found := find_weights(config.init.weights, workspace):
        return found, {"init": digest(found.read_bytes())}
    raise MissingArtifact(
        f"there are no weights '{config.init.weights}' to start from (init.weights): neither a "
        f"file nor a finished run (there: {run_names(workspace)})."
    )


def run_names(workspace: Workspace) -> str:
    """The finished runs of a workspace, for messages."""
    return ", ".join(run.name for run in workspace.runs()) or "none"


def open_restorer(model: str, scale: int | None, device: torch.device) -> Opened:
    """Open a weights file by its path, or ``spandrel:`` and its path.

    Weights that srprune wrote tell all about themselves; others are recognised by their tensors.

    Raises:
        MissingArtifact: there is no such file.
        MissingDependency: spandrel is asked for and not installed.
        ArtifactError: it is damaged, or of no network that is known.
        InputError: ``scale`` is not the model's, or the file does not tell its own.
    """
    path = Path(model.removeprefix(PREFIX))
    name = path.parent.name if path.name == WEIGHTS else path.stem
    if model.startswith(PREFIX):
        other, domain, mark = load_spandrel(path)
        _check_scale(path, domain.scale, scale)
        restorer = restorer_of(name, other.to(device), domain, mark)
        return Opened(path, restorer, other.architecture.lower(), rim=None)
    if path.suffix != ".safetensors" or not is_ours(path):
        foreign = load_foreign(path, scale)
        network = foreign.network.to(device)
        restorer = restorer_of(name, network, foreign.domain, foreign.fingerprint)
        return Opened(path, restorer, foreign.model, _rim(network, restorer))
    network, domain, header = load_weights(path)
    _check_scale(path, domain.scale, scale)
    restorer = restorer_of(name, network.to(device), domain, header.fingerprint)
    return Opened(
        path,
        restorer,
        header.params["model"],
        _rim(network, restorer),
        train_set=header.params.get("train_set", "none"),
        seed=header.params.get("seed", -1),
        patches=header.parents.get("patches"),
        training_images=header.info.get("training_images", {}),
    )


def _rim(network: Network, restorer: NetworkRestorer) -> int:
    return network.rim + restorer.domain.reach


def _check_scale(path: Path, scale: int, asked: int | None) -> None:
    if asked not in (None, scale):
        raise InputError(f"{path} is a model of x{scale}, but --scale is {asked}.")
