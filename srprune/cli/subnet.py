"""``subnet``: cut networks of their own out of a supernet."""

from __future__ import annotations

import json

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace


@click.command()
@click.argument("run")
@click.option("--width", type=int, help="Maps of the subnet.")
@click.option("--depth", type=int, help="Blocks of the subnet; of RCAN, blocks of a group.")
@click.option("--all", "every", is_flag=True, help="All subnets, a run each.")
@options.name("Of the run. [default: RUN__wWIDTH_dDEPTH]")
@options.as_json
@options.workspace
def subnet(
    run: str,
    width: int | None,
    depth: int | None,
    every: bool,
    name: str | None,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Cut a network of its own out of the supernet that a run has trained.

    RUN is a run, its folder or a weights file. What comes out is a run of the plain network,
    which 'srprune eval' reads as any other.

    \b
    Example:
      srprune subnet wbsr_msrresnet_x4__full__seed0 --width 36 --depth 4
      srprune subnet wbsr_msrresnet_x4__full__seed0 --all
    """
    from srprune.models.supernet import Subnet
    from srprune.stages.subnet import cut_subnets, open_supernet

    if every and (width is not None or depth is not None or name is not None):
        raise click.UsageError("--all takes every subnet under its own name; leave out the others")
    supernet = open_supernet(run, workspace)
    if not every and (width is None or depth is None):
        known = supernet.network
        raise click.UsageError(
            "give --width and --depth, or --all. "
            f"Widths: {', '.join(map(str, known.widths))}; "
            f"depths: {', '.join(map(str, known.depths))}"
        )
    chosen = supernet.network.subnets if every else (Subnet(width or 0, depth or 0),)
    with Bars() as bars:
        done = cut_subnets(supernet, chosen, workspace, name=name, progress=bars)
    facts = [
        {
            "run": each.path.parent.name,
            "width": each.subnet.width,
            "depth": each.subnet.depth,
            "parameters": each.parameters,
            "flops": each.flops,
            "weights": str(each.path),
            "fingerprint": each.header.fingerprint,
        }
        for each in done
    ]
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for each in done:
        click.echo(
            f"{each.subnet.label}: {each.header.params['model']}, {each.parameters:,} parameters, "
            f"{each.flops / 1e9:.2f} GFLOPs for 32x32 px at LR, {each.path}"
        )
