"""synthesise: images drawn from a generator become a folder that is trained on like any other."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from srprune.core.artifact import atomic_path, check_parent
from srprune.core.config import ExtractConfig
from srprune.core.errors import ArtifactError, Stopped
from srprune.core.lock import exclusive
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.distill.config import SynthesiseConfig
from srprune.distill.draws import (
    Draw,
    Draws,
    Journal,
    Rejected,
    check_identity,
    damaged,
    from_record,
    spread,
    to_record,
)
from srprune.distill.generator import Generator
from srprune.distill.guards import Copies, Nearest, blank
from srprune.distill.provenance import (
    IMAGES,
    OWN,
    TABLE,
    DistilledSet,
    Sample,
    check_added,
    check_images,
    check_made,
    check_others,
)
from srprune.distill.sampler import sample, start_noise, timesteps
from srprune.images.decode import as_rgb, content_of, decode
from srprune.images.tensor import round_uint8
from srprune.reporting.group_sheet import group_sheet
from srprune.stages.distill.trained_on import ids_trained_on
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool

JOURNAL = "drawn.jsonl"  # gone when the set is whole
SHEET = "categories.png"
OUT_OF_MEMORY = "Lower --batch; it changes no image but for rounding."

Pixels = npt.NDArray[np.uint8]


def synthesise(
    workspace: Workspace,
    generator_name: str,
    config: SynthesiseConfig,
    *,
    name: str | None = None,
    device: torch.device,
    vae: Path | None = None,
    restart: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> DistilledSet:
    """Draw images of every category into ``distilled/NAME``, itself a workspace.

    Blank images are rejected, and the next of their category is drawn instead. A set that is whole
    is checked and returned; one that was stopped goes on, with the same images.

    Args:
        workspace: holds the patches, their groups and the generator; gets the set.
        generator_name: of a generator that is trained.
        config: how many images, and how they are sampled.
        name: of the set; GENERATOR_nIMAGES__seedSEED if None.
        device: where.
        vae: folder of the generator's pre-trained autoencoder, where it was moved since.
        restart: throw away what an earlier call left.
        stopping: asked before each batch; True stops with what there is.
        progress: told after each batch.

    Raises:
        InputError: ``vae`` without effect, no image at all, more steps than timesteps, images that
            stay blank, too little memory, or another process at work there.
        MissingArtifact: patches, generator or groups are not there.
        ArtifactMismatch: the folder holds another set, the generator is of other patches, or its
            autoencoder has other weights than when it was trained.
        ArtifactError: the generator is damaged, or the folder was edited by hand.
        StorageError: the disk is full; the same call goes on.
        Stopped: ``stopping`` said so.
    """
    pool = open_pool(workspace, 1, with_lr=False)
    source = workspace.generator(generator_name)
    with memory_errors("The generator itself has no room: choose another --device."):
        generator = Generator.read(source, device, vae)
    check_parent(
        source,
        generator.header,
        "patches",
        pool.index.fingerprint,
        "Run 'srprune distill finetune' again, or name another --workspace.",
    )
    timesteps(generator.config.diffusion.timesteps, config.sampling_steps)  # or it is refused
    counts = spread(config, len(pool), generator.categories)
    name = name or f"{generator_name}_n{sum(counts)}__seed{config.seed}"
    synthesis = Synthesis(workspace.distilled(name), generator, config, counts)
    with exclusive(synthesis.folder):
        if not restart and (whole := synthesis.finished(progress)):
            return whole
        trained_on = ids_trained_on(workspace, generator, pool.index)
        if restart:  # only now: a call that is refused keeps what the folder holds
            synthesis.clear()
        return synthesis.run(pool, trained_on, stopping, progress)


@dataclass(frozen=True)
class Synthesis:
    """One set, planned.

    Attributes:
        folder: of the set.
        generator: draws its images.
        config: how.
        counts: images of each category.
    """

    folder: Path
    generator: Generator
    config: SynthesiseConfig
    counts: Sequence[int]

    @property
    def params(self) -> dict[str, Any]:
        """Everything that decides the images, as plain values."""
        return {
            **self.config.model_dump(mode="json", exclude={"batch"}),
            "size": self.generator.size,
            "categories": self.generator.categories,
            "counts": list(self.counts),
        }

    @property
    def parents(self) -> dict[str, str]:
        """Fingerprints of the generator and of what it was trained on."""
        header = self.generator.header
        return {**header.parents, "generator": header.fingerprint}

    @property
    def _identity(self) -> dict[str, Any]:
        return {**self.params, "parents": self.parents}

    @property
    def _journal(self) -> Journal:
        return Journal(self.folder / JOURNAL)

    def clear(self) -> None:
        """Throw away the set, and nothing else that may stand in its folder.

        Raises:
            ArtifactError: there are other images among its own; then nothing is thrown away.
        """
        check_others(self.folder)
        workspace = Workspace(self.folder)
        for image in (self.folder / IMAGES).glob("*.png"):
            if OWN.fullmatch(image.name):
                image.unlink()
        shutil.rmtree(workspace.hr_pixels.parent, ignore_errors=True)
        for file in (self.folder / TABLE, workspace.patches, self.folder / SHEET):
            file.unlink(missing_ok=True)
        self._journal.path.unlink(missing_ok=True)

    def finished(self, progress: Progress = silent) -> DistilledSet | None:
        """This very set, if it is whole; index and pixels are made again where they are gone.

        Raises:
            ArtifactMismatch: the folder holds another one.
            ArtifactError: it was edited by hand, or holds images of unknown origin.
        """
        if self._journal.path.exists():
            return None
        if not (self.folder / TABLE).exists():
            if (self.folder / IMAGES).exists():
                raise ArtifactError(
                    f"{self.folder / IMAGES} has no {TABLE} beside it, so nobody knows where its "
                    "images come from. Choose another --name, or --restart to replace them."
                )
            return None
        header = DistilledSet.read(self.folder).header
        there = {key: value for key, value in header.params.items() if key != "rejected"}
        check_identity(self.folder, {**there, "parents": header.parents}, self._identity)
        whole = check_made(self.folder)
        self._index(progress)
        return whole

    def run(
        self,
        pool: PatchPool,
        trained_on: npt.NDArray[np.int64],
        stopping: Callable[[], bool],
        progress: Progress,
    ) -> DistilledSet:
        """Draw what is not there yet; then write table, index and sheet.

        Args:
            pool: the patches of the generator.
            trained_on: ids of those that it has seen.
            stopping: asked before each batch.
            progress: told after each batch.
        """
        watch = Stopwatch()
        draws, seconds = self._gone_on()
        batch = self.config.batch
        if wanted := draws.next(batch):
            copies = Copies(_patch_of(pool), trained_on, pool.index.size, progress)
        while wanted:
            progress("synthesise", len(draws.kept), draws.total, _note(draws))
            if stopping():
                raise Stopped(
                    f"stopped with {len(draws.kept)} of {draws.total} images in {self.folder}. "
                    "The same command goes on."
                )
            started = time.perf_counter()
            with memory_errors(OUT_OF_MEMORY):
                images = self._drawn(wanted)
            outcomes = [
                self._judged(draw, image, draws, copies)
                for draw, image in zip(wanted, images, strict=True)
            ]
            lasted = round(time.perf_counter() - started, 3)
            self._journal.add(to_record(outcomes, lasted))
            seconds += lasted
            wanted = draws.next(batch)
        progress("synthesise", len(draws.kept), draws.total, _note(draws))
        return self._finish(draws, seconds, watch, progress)

    def _gone_on(self) -> tuple[Draws, float]:
        """What an earlier call left, and its seconds."""
        draws, seconds = Draws(self.counts), 0.0
        for record in self._journal.open(self._identity):
            try:
                outcomes, lasted = from_record(record)
                for outcome in outcomes:
                    draws.check(outcome)
                    draws.add(outcome)
            except (LookupError, TypeError, ValueError) as error:
                raise damaged(self._journal.path) from error
            seconds += lasted
        check_images(self.folder, draws.kept)
        check_others(self.folder)
        return draws, seconds

    @torch.inference_mode()
    def _drawn(self, wanted: Sequence[Draw]) -> list[Pixels | None]:
        """Images, (size, size, 3) each; None in place of one that is not finite."""
        denoiser, config = self.generator.denoiser, self.config
        shape = (denoiser.channels, denoiser.side, denoiser.side)
        starts = [start_noise(config.seed, draw.category, draw.number, shape) for draw in wanted]
        latent_BCHW = sample(
            denoiser,
            self.generator.noise,
            categories_B=torch.tensor([draw.category for draw in wanted]),
            starts_BCHW=torch.stack(starts),
            guidance=config.guidance,
            steps=config.sampling_steps,
        )
        rgb_BCHW = self.generator.latents.decode(latent_BCHW).float()
        finite_B = rgb_BCHW.isfinite().flatten(1).all(dim=1).tolist()
        pixels_BHWC = round_uint8(rgb_BCHW.nan_to_num()).permute(0, 2, 3, 1).cpu().numpy()
        return [
            np.ascontiguousarray(pixels) if finite else None
            for pixels, finite in zip(pixels_BHWC, finite_B, strict=True)
        ]

    def _judged(
        self, draw: Draw, image: Pixels | None, draws: Draws, copies: Copies
    ) -> Sample | Rejected:
        """Write an image that is kept; take note of any."""
        nearest = None
        if image is None:
            why: str | None = "not finite"
        elif (why := blank(image)) is None:
            nearest = copies.nearest(image)
            if self.config.reject_copies and nearest.by_pixels.near_copy:
                why = "near-copy"
        outcome: Sample | Rejected
        if why is not None:
            outcome = Rejected(*draw, why)
        else:
            assert image is not None and nearest is not None
            outcome = self._kept(draw, image, nearest, draws.image_name(draw.category))
        draws.add(outcome)
        return outcome

    def _kept(self, draw: Draw, image: Pixels, nearest: Nearest, name: str) -> Sample:
        """Write an image."""
        with atomic_path(self.folder / IMAGES / name) as temporary:
            Image.fromarray(image).save(temporary, format="PNG", compress_level=3)
        return Sample(
            image=name,
            category=draw.category,
            number=draw.number,
            content=content_of(image),
            **nearest.by_pixels._asdict(),
            near_copy=nearest.by_pixels.near_copy,
            thumb_id=nearest.by_thumbnail.patch_id,
            thumb_mirrored=nearest.by_thumbnail.mirrored,
            thumb_correlation=nearest.by_thumbnail.correlation,
        )

    def _finish(
        self, draws: Draws, seconds: float, watch: Stopwatch, progress: Progress
    ) -> DistilledSet:
        """The table, the patch index with its pixels, and a picture of the categories."""
        check_added(self.folder, draws.kept)
        distilled = DistilledSet.write(
            self.folder,
            draws.kept,
            parents=self.parents,
            params={**self.params, "rejected": draws.reasons},
            made={**watch.made(), "device": str(next(self.generator.denoiser.parameters()).device)},
            info={"seconds": round(seconds, 3), "batch": self.config.batch},
        )
        self._index(progress)
        group_sheet(
            lambda i: as_rgb(decode(self.folder / IMAGES / distilled.samples[i].image)),
            distilled.categories,
            self.folder / SHEET,
            title=f"{self.folder.name}: synthesised images of each category",
        )
        self._journal.path.unlink()
        return distilled

    def _index(self, progress: Progress) -> None:
        """The patch index with its pixels, unless both are there."""
        size = self.generator.size
        extract(
            ImageSource.find(str(self.folder / IMAGES)),
            ExtractConfig(size=size, stride=size),
            Workspace(self.folder),
            workers=os.cpu_count() or 1,
            progress=progress,
        )


def _note(draws: Draws) -> str:
    return f"{len(draws.rejected)} rejected" if draws.rejected else ""


def _patch_of(pool: PatchPool) -> Callable[[int], Pixels]:
    """What gives a whole HR patch."""
    return lambda i: pool.hr_crop(i, 0, 0, pool.index.size)
