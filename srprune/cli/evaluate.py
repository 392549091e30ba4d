"""The sixth command of the paper's pipeline: figures of models on benchmarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.run_config import DynamicConfig
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.results import EvalTable
    from srprune.models.restorer import Precision
    from srprune.stages.check_tiling import TilingCheck
    from srprune.stages.routing import RoutingTable


@click.command("eval")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="set5, set14, bsd100, urban100, manga109, photos or a folder of HR images; again for "
    "more. [default: those of the paper that are there]",
)
@click.option(
    "--protocol",
    type=click.Choice(["rgb8@1", "y@1"]),
    default="rgb8@1",
    show_default=True,
    help="How figures are measured; see docs/protocol.md.",
)
@options.scale
@options.inference
@options.dynamic
@click.option(
    "--check-tiling",
    is_flag=True,
    help="Instead of measuring, tell how far SR from tiles is from SR of whole images.",
)
@click.option(
    "--per-image/--means-only",
    default=True,
    show_default=True,
    help="A row for every image, or means alone.",
)
@click.option("--allow-leak", is_flag=True, help="Measure on training images too.")
@click.option(
    "--save-images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the SR images; of several models, one below it for each.",
)
@click.option(
    "--save-maps",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pictures of which subnet each tile of an image got; likewise.",
)
@options.as_json
@options.roots
@options.device
@options.workspace
def evaluate(
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    protocol: str,
    scale: int | None,
    tile: int | None,
    overlap: int | None,
    self_ensemble: bool,
    precision: Precision,
    flops_budget: float | None,
    router: str | None,
    check_tiling: bool,
    per_image: bool,
    allow_leak: bool,
    save_images: Path | None,
    save_maps: Path | None,
    as_json: bool,
    roots: list[Path],
    device: str,
    workspace: Workspace,
) -> None:
    """Measure PSNR-Y and SSIM-Y of models on benchmarks.

    MODEL is 'bicubic', a run by name or folder, a weights file of srprune, BasicSR, KAIR,
    EDSR-PyTorch or Caffe, or spandrel:FILE for any that spandrel loads; without it, the only run.
    Tiles, self-ensemble and precision are of networks; bicubic is measured without them. With
    --flops-budget or --router a supernet is restored tile by tile, each by the subnet that it
    needs; --tile and --overlap are then those tiles.

    \b
    Example:
      srprune eval
      srprune eval bicubic --benchmark set5 --protocol y@1
      srprune eval --self-ensemble --tile 256
      srprune eval wbsr_msrresnet_x4__full__seed0 --flops-budget 0.66
      srprune eval 001_classicalSR_DIV2K_s48w8_SwinIR-M_x2.pth
    """
    from srprune.images.benchmarks import check_typed
    from srprune.models.device import pick_device
    from srprune.models.inference import Inference
    from srprune.stages import evaluate as stage
    from srprune.stages.check_tiling import check_tiling as check_tiling_of
    from srprune.stages.dynamic import run_dynamically
    from srprune.stages.routing import read_routing

    subnets = None
    if flops_budget is not None or router is not None:
        if self_ensemble or check_tiling:
            raise click.UsageError(
                "--flops-budget and --router go without --self-ensemble and --check-tiling."
            )
        subnets = DynamicConfig(
            router=router or "gradient",
            flops_budget=flops_budget,
            tile=tile,
            overlap=overlap,
            precision=precision,
        )
    elif save_maps:
        raise click.UsageError("--save-maps needs --flops-budget or --router.")
    elif tile is None and (overlap is not None or check_tiling):
        raise click.UsageError("--overlap and --check-tiling need --tile N.")
    how = Inference() if subnets else Inference(tile, overlap, self_ensemble, precision)
    where = pick_device(device)
    for name in benchmarks:
        check_typed(name)
    found = stage.find_benchmarks(benchmarks, roots)
    with Bars() as bars:
        if check_tiling:
            plain = stage.open_candidates(models, workspace, scale, where)
            checks = [check_tiling_of(c, found, how, device=where, progress=bars) for c in plain]
            _say_checks(checks, as_json)
            return
        candidates = stage.open_candidates(models, workspace, scale, where, how)
        if subnets:
            candidates = [run_dynamically(candidate, subnets) for candidate in candidates]
        places = zip(
            candidates,
            stage.own_folders(candidates, save_images),
            stage.own_folders(candidates, save_maps),
            strict=True,
        )
        tables = [
            stage.evaluate_model(
                candidate,
                found,
                workspace,
                protocol=protocol,
                device=where,
                allow_leak=allow_leak,
                save_images=images,
                save_maps=maps,
                progress=bars,
            )
            for candidate, images, maps in places
        ]
    for candidate in candidates:
        if candidate.note:
            click.echo(f"note: {candidate.note}", err=True)
    paths = [stage.results_path(each, found, workspace, protocol) for each in candidates]
    _say(tables, [read_routing(path) for path in paths], per_image, as_json)


def _say(
    tables: Sequence[EvalTable],
    routings: Sequence[RoutingTable | None],
    per_image: bool,
    as_json: bool,
) -> None:
    """After ``eval``."""
    from srprune.reporting.tables import evaluation_table, json_text

    if as_json:
        facts = []
        for table, routing in zip(tables, routings, strict=True):
            text = json.loads(json_text(table.rows, table.header))
            facts.append({**text, **({"routing": routing.as_dict()} if routing else {})})
        click.echo(json.dumps(facts, indent=1))
        return
    for table, routing in zip(tables, routings, strict=True):
        click.echo(evaluation_table(table.rows, per_image=per_image))
        if routing:
            for line in routing.lines(per_image):
                click.echo(line)
        elif how := table.header.params.get("inference"):
            click.echo(f"restored with {_options(how)}")
        click.echo()


def _say_checks(checks: Sequence[TilingCheck], as_json: bool) -> None:
    """After ``eval --check-tiling``."""
    from srprune.images.benchmarks import title_of

    if as_json:
        facts = [{**asdict(check), "covered": check.covered} for check in checks]
        click.echo(json.dumps(facts, indent=1))
        return
    for check in checks:
        click.echo(
            f"model {check.model}   scale x{check.scale}   {_options(asdict(check.inference))}"
        )
        if check.radius is None:
            click.echo("the network may see the whole image: no overlap is sure to cover that")
        else:
            verb = "covers" if check.covered else "does not cover"
            click.echo(f"the overlap {verb} the {check.radius} LR px that the network sees")
        width = max(len(gap.image) for gap in check.gaps)
        for gap in check.gaps:
            title = title_of(gap.benchmark)
            click.echo(f"{title}  {gap.image:<{width}}  largest difference {gap.difference:.1e}")
        click.echo()


def _options(how: dict[str, Any]) -> str:
    """The fields of an Inference that are not the defaults, in words."""
    words = [f"tiles of {how['tile']} LR px, overlap {how['overlap']}"] if how["tile"] else []
    words += ["self-ensemble"] if how["self_ensemble"] else []
    words += [how["precision"]] if how["precision"] != "fp32" else []
    return "; ".join(words)
