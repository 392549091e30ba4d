"""The sixth command of the paper's pipeline: figures of models on benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.models.restorer import Precision


@click.command("eval")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="set5, set14, bsd100, urban100, photos or a folder of HR images; again for "
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
    help="Folder for the SR images.",
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
    check_tiling: bool,
    per_image: bool,
    allow_leak: bool,
    save_images: Path | None,
    as_json: bool,
    roots: list[Path],
    device: str,
    workspace: Workspace,
) -> None:
    """Measure PSNR-Y and SSIM-Y of models on benchmarks.

    MODEL is 'bicubic', a run by name or folder, a weights file of srprune, BasicSR, KAIR,
    EDSR-PyTorch or Caffe, or spandrel:FILE for any that spandrel loads; without it, the only run.
    Tiles, self-ensemble and precision are of networks; bicubic is measured without them.

    \b
    Example:
      srprune eval
      srprune eval bicubic --benchmark set5 --protocol y@1
      srprune eval --self-ensemble --tile 256
      srprune eval 001_classicalSR_DIV2K_s48w8_SwinIR-M_x2.pth
    """
    from srprune.cli import say
    from srprune.models.device import pick_device
    from srprune.models.inference import Inference
    from srprune.stages import evaluate as stage

    if tile is None and (overlap is not None or check_tiling):
        raise click.UsageError("--overlap and --check-tiling need --tile N.")
    how, where = Inference(tile, overlap, self_ensemble, precision), pick_device(device)
    found = stage.find_benchmarks(benchmarks, roots)
    with Bars() as bars:
        if check_tiling:
            plain = stage.open_candidates(models, workspace, scale, where)
            checks = [stage.check_tiling(c, found, how, device=where, progress=bars) for c in plain]
            say.checked(checks, as_json)
            return
        tables = [
            stage.evaluate_model(
                candidate,
                found,
                workspace,
                protocol=protocol,
                device=where,
                allow_leak=allow_leak,
                save_images=save_images,
                progress=bars,
            )
            for candidate in stage.open_candidates(models, workspace, scale, where, how)
        ]
    say.measured(tables, per_image, as_json)
