"""subnet: networks of their own, cut out of a trained supernet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srprune.core.artifact import Header, first_difference
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact
from srprune.core.lock import exclusive
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.models.build import load_weights, parameter_count, save_weights
from srprune.models.domain import Domain
from srprune.models.network import Network
from srprune.models.supernet import PATCH, Subnet, Supernet
from srprune.stages.restorers import WEIGHTS, find_weights, run_names

# What a subnet has from the training of its supernet.
OF_TRAINING = ("train_set", "num_patches", "steps", "step", "seed")


@dataclass(frozen=True)
class OpenSupernet:
    """A trained supernet.

    Attributes:
        name: of its run, or of its file.
        network: with the weights, the largest subnet in use.
        domain: of the network.
        header: of the weights.
    """

    name: str
    network: Supernet
    domain: Domain
    header: Header


@dataclass(frozen=True)
class CutSubnet:
    """A subnet in a file of its own.

    Attributes:
        subnet: which one.
        path: of its weights.
        parameters: trainable scalars.
        flops: for an LR image of 32x32 px, two a multiply-add.
        header: of the weights.
    """

    subnet: Subnet
    path: Path
    parameters: int
    flops: int
    header: Header


def open_supernet(named: str, workspace: Workspace) -> OpenSupernet:
    """Open the weights of a supernet.

    Args:
        named: a run, its folder, or a weights file.
        workspace: that runs are looked for in.

    Raises:
        MissingArtifact: there are no such weights.
        ArtifactError: they are damaged, or srprune did not write them.
        InputError: they are of a plain network.
    """
    path = find_weights(named, workspace)
    if path is None:
        raise MissingArtifact(
            f"there is no finished run {named} in {workspace.root}, and no such file. "
            f"Runs: {run_names(workspace)}."
        )
    network, domain, header = load_weights(path)
    if not isinstance(network, Supernet):
        raise InputError(
            f"{path} holds a plain {header.params['model']}, but a supernet is wanted. Train "
            "one: --set model=msrresnet_supernet, or rcan_supernet."
        )
    name = path.resolve().parent.name if path.name == WEIGHTS else path.stem
    return OpenSupernet(name, network.eval(), domain, header)


def cut_subnets(
    supernet: OpenSupernet,
    subnets: Sequence[Subnet],
    workspace: Workspace,
    *,
    name: str | None = None,
    progress: Progress = silent,
) -> list[CutSubnet]:
    """Write subnets as runs of plain networks; one that is there already is left as it is.

    Args:
        supernet: that they are cut from.
        subnets: which ones.
        workspace: gets a run for each.
        name: of the run, where there is but one; else ``SUPERNET__w36_d4``.
        progress: told after each.

    Raises:
        InputError: there is no such subnet; then nothing is written.
        ArtifactMismatch: a run of that name is there, and another.
        Busy: another process is at work in a folder.
    """
    watch = Stopwatch()
    parts = [(subnet, *supernet.network.cut(subnet)) for subnet in subnets]
    done = []
    for number, (subnet, model, arguments, network) in enumerate(parts):
        flops = supernet.network.flops(subnet, PATCH, PATCH)
        path = workspace.run(name or f"{supernet.name}__{subnet.label}") / WEIGHTS
        header = _write(path, supernet, subnet, model, arguments, network, watch)
        done.append(CutSubnet(subnet, path, parameter_count(network), flops, header))
        progress("cut", number + 1, len(parts), subnet.label)
    return done


def _write(
    path: Path,
    supernet: OpenSupernet,
    subnet: Subnet,
    model: str,
    arguments: dict[str, Any],
    network: Network,
    watch: Stopwatch,
) -> Header:
    of = supernet.header
    parents = {"supernet": of.fingerprint}
    if "patches" in of.parents:  # what is measured names the patches that a network has learned
        parents["patches"] = of.parents["patches"]
    params = {
        "model": model,
        "model_args": arguments,
        "scale": of.params["scale"],
        **{key: of.params[key] for key in OF_TRAINING if key in of.params},
        "subnet": {
            "of": of.params["model"],
            "model_args": of.params["model_args"],
            "width": subnet.width,
            "depth": subnet.depth,
        },
    }
    with exclusive(path.parent):
        if path.exists():
            header = read_weights_header(path)
            there = {**header.params, "parents": header.parents}
            wanted = {**params, "parents": parents}
            if there != wanted:
                raise ArtifactMismatch(
                    f"{path.parent} holds another run ({first_difference(there, wanted)}). "
                    "Choose another --name."
                )
            return header
        return save_weights(
            path,
            network,
            parents=parents,
            params=params,
            made=watch.made(),
            info={"training_images": of.info.get("training_images", {}), "run": supernet.name},
        )
