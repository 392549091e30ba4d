"""distill finetune: a diffusion model on categorised patches, from scratch or from weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srprune.core.artifact import Header, write_text
from srprune.core.errors import InputError
from srprune.core.lock import exclusive
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.yaml_file import dump
from srprune.distill.criterion import DiffusionLoss
from srprune.distill.denoiser import Denoiser
from srprune.distill.difffit import mark_difffit
from srprune.distill.generator import pretrained_folders, read_generator_header, write_generator
from srprune.distill.latents import Latents, SmallAutoencoder, latents_of
from srprune.distill.noise import Noise
from srprune.distill.sampler import sample, start_noise
from srprune.images.tensor import from_uint8, round_uint8
from srprune.reporting.sample_grid import write_grid
from srprune.stages.distill.autoencoder import AutoencoderFiles, train_autoencoder
from srprune.stages.distill.batches import WindowBatches
from srprune.stages.distill.finetune_plan import FinetuneJob
from srprune.training.distributed import ALONE, World
from srprune.training.loop import Validate, train

SAMPLES = "samples"  # folder of a generator: grids that were drawn while it trained
LOOKED_AT = 64  # windows whose noise is predicted at every look
OUT_OF_MEMORY = (
    "Lower batch, or raise compute.accumulate; on a GPU, compute.precision bf16 saves memory, too."
)
LATENTS_OUT_OF_MEMORY = (
    "The latents of {:,} windows take {:.1f} GB of main memory: select fewer windows, extract "
    "smaller ones, set flip to false, or choose latents.kind small, or a larger latents.factor."
)
AUTOENCODER_OUT_OF_MEMORY = "The autoencoder is being trained: lower latents.batch or latents.crop."


def finetune(
    job: FinetuneJob,
    *,
    device: torch.device,
    world: World = ALONE,
    resume: bool = False,
    restart: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> Header:
    """Run a job to its end; a finished one is returned as it is.

    Args:
        job: what to train.
        device: where.
        world: the processes that train it together; the first one holds the folder and writes.
        resume: go on from the checkpoint of an interrupted attempt.
        restart: throw away what is in the folder, but a trained autoencoder that would be the same.
        stopping: asked after each step; True saves a checkpoint and stops.
        progress: told after each step.

    Raises:
        InputError: an interrupted attempt is there, and neither resume nor restart was asked for;
            or the device has too little memory.
        ArtifactMismatch: the folder holds another generator.
        MissingArtifact: pre-trained weights that are not there.
        ArtifactError: pre-trained weights that are damaged, hostile or do not fit.
        Diverged: the loss or the weights are no longer finite.
        Stopped: ``stopping`` said so.
    """
    with exclusive(job.folder) if world.first else nullcontext():
        watch = Stopwatch()
        if not restart and (header := job.finished()):
            world.wait()
            return header
        begun = job.checkpoints.files() or _autoencoder(job).folder.exists()
        if begun and not (resume or restart):
            raise InputError(
                f"{job.folder} holds an interrupted training. Pass --resume to go on with it, or "
                "--restart to begin again."
            )
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        goes_on = begun and not restart
        before_s = _spent_s(job, goes_on) if world.first else 0.0  # refuses another's, too
        world.wait()
        if world.first:
            _clear(job, goes_on)
            write_text(job.folder / "config.yaml", dump(job.config))
        world.wait()
        with memory_errors(OUT_OF_MEMORY):
            parts = _train(job, device, world, stopping, progress)
        if world.first:
            denoiser, trained, latents, facts = parts
            made = watch.made()
            made |= {"seconds": round(before_s + made["seconds"], 3), "device": str(device)}
            config = job.config.model_copy(update={"network": denoiser.config})
            params = {k: v for k, v in job.identity.items() if k != "parents"}
            write_generator(
                job.path,
                trained,
                latents,
                parents=job.parents,
                params={**params, "config": config.model_dump(mode="json")},
                made={**made, "processes": world.size},
                info={**facts, **pretrained_folders(config)},
            )
            job.checkpoints.clear()
            _autoencoder(job).clear()
        world.wait()
        return read_generator_header(job.path)


def _clear(job: FinetuneJob, goes_on: bool) -> None:
    """Remove what an earlier attempt left, but what this one goes on with.

    A trained autoencoder stays, even where all else begins again: it would become the same.
    """
    autoencoder = _autoencoder(job)
    left: list[Path] = []
    if not (goes_on and job.checkpoints.files()):
        job.checkpoints.clear()
        left += [job.path, job.folder / "validation.csv", *(job.folder / SAMPLES).glob("*.png")]
    if not (goes_on or autoencoder.trained()):
        autoencoder.clear()
        left += autoencoder.folder.glob("*.*")
    for path in left:
        path.unlink(missing_ok=True)


def _autoencoder(job: FinetuneJob) -> AutoencoderFiles:
    return AutoencoderFiles.of(job.folder, job.config, job.parents)


def _spent_s(job: FinetuneJob, goes_on: bool) -> float:
    """Seconds of training behind what stays of earlier attempts."""
    state = job.checkpoints.load() if goes_on else None
    own = float(state.get("seconds", 0.0)) if state else 0.0
    autoencoder = _autoencoder(job)
    stays = job.config.latents.kind == "small" and (goes_on or autoencoder.trained())
    return own + (autoencoder.spent_s() if stays else 0.0)


def _train(
    job: FinetuneJob,
    device: torch.device,
    world: World,
    stopping: Callable[[], bool],
    progress: Progress,
) -> tuple[Denoiser, nn.Module, Latents, dict[str, Any]]:
    """The network, what is kept of it (its average), its latents, and facts about both."""
    config = job.config
    torch.manual_seed(config.seed)
    latents = _latents(job, device, world, stopping, progress)
    side = job.size // latents.factor
    make = Denoiser.pretrained if config.network.weights else Denoiser
    torch.manual_seed(config.seed)  # not what training the autoencoder has left
    denoiser = make(
        config.network, side=side, channels=latents.channels, categories=job.categories
    ).to(device)
    share = mark_difffit(denoiser) if config.network.difffit else 1.0
    latent_P2CHW = _encoded(job, latents, device, progress)
    noise = Noise(config.diffusion)
    batches = WindowBatches(job, latent_P2CHW, noise, denoiser.null, world, device)
    criterion = DiffusionLoss(
        config.terms, noise, categories=job.categories, shape=batches.shape, world=world
    ).to(device)
    trained = train(
        denoiser,
        batches.at,
        criterion,
        plan=job.plan,
        config=config,
        checkpoints=job.checkpoints,
        folder=job.folder,
        device=device,
        world=world,
        validate=_looks(job, latents, batches),
        patches_at=batches.patches_at,
        stopping=stopping,
        progress=lambda label, done, total, note="": progress("finetune", done, total, note),
    )
    facts = {
        "parameters": sum(p.numel() for p in denoiser.parameters()),
        "trained_share": share,
        "autoencoder_psnr": _psnr_of(job, latents, device),
    }
    return denoiser, trained, latents, facts


def _latents(
    job: FinetuneJob,
    device: torch.device,
    world: World,
    stopping: Callable[[], bool],
    progress: Progress,
) -> Latents:
    """What the network works on; the small autoencoder is trained first."""
    latents = latents_of(job.config.latents)
    if isinstance(latents, nn.Module):
        latents.to(device)
    if isinstance(latents, SmallAutoencoder):
        with memory_errors(AUTOENCODER_OUT_OF_MEMORY):
            latents = train_autoencoder(
                latents,
                job.config,
                job.pool,
                job.patch_ids,
                files=_autoencoder(job),
                device=device,
                world=world,
                stopping=stopping,
                progress=progress,
            )
    return latents


def _part(job: FinetuneJob) -> int:
    """Windows at a time where nothing is learned: as many as a process learns from at once."""
    return max(1, job.config.batch // job.config.compute.accumulate)


def _encoded(
    job: FinetuneJob, latents: Latents, device: torch.device, progress: Progress
) -> Tensor:
    """(P, 2, C, H, W) float32 on the CPU: latents of all windows, and of the windows mirrored.

    Without flips the second dimension is 1.
    """
    ids, batch, flip = job.patch_ids, _part(job), job.config.flip
    side = job.size // latents.factor
    shape = (len(ids), 1 + flip, latents.channels, side, side)
    with memory_errors(LATENTS_OUT_OF_MEMORY.format(len(ids), 4 * math.prod(shape) / 1e9)):
        latent_P2CHW = torch.empty(shape)  # all at once: parts that are joined are there twice
    with torch.inference_mode():
        for start in range(0, len(ids), batch):
            end = min(start + batch, len(ids))
            rgb = from_uint8(job.pool.hr_patches(ids[start:end]), device)
            for way, each in enumerate([rgb, rgb.flip(3)] if flip else [rgb]):
                latent_P2CHW[start:end, way] = latents.encode(each)
            progress("encode", end, len(ids))
    return latent_P2CHW


def _looks(job: FinetuneJob, latents: Latents, batches: WindowBatches) -> Validate:
    """What is done on the way: a grid of samples, and how well noise is told in some windows."""
    config, look, noise, part = job.config, job.config.validation, batches.noise, _part(job)
    count = min(LOOKED_AT, len(job.patch_ids))
    places_B = np.linspace(0, len(job.patch_ids) - 1, count).astype(np.int64)

    @torch.inference_mode()
    def measure(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Denoiser)
        errors = []
        for start in range(0, count, part):
            rows = range(start, min(start + part, count))
            noisy, target = batches.pairs(0, rows, places_B[start : rows.stop])
            error = (network(noisy) - target.noise_BCHW).square().mean((1, 2, 3))
            errors.extend(error.tolist())
        asked = [(category, n) for category in range(job.categories) for n in range(look.each)]
        images = []
        for start in range(0, len(asked), part):
            some = asked[start : start + part]
            starts = [start_noise(config.seed, *each, batches.shape) for each in some]
            latent = sample(
                network,
                noise,
                categories_B=torch.tensor([category for category, _ in some]),
                starts_BCHW=torch.stack(starts),
                guidance=look.guidance,
                steps=min(look.sampling_steps, noise.timesteps),
            )
            images.append(round_uint8(latents.decode(latent)).permute(0, 2, 3, 1).cpu())
        write_grid(
            job.folder / SAMPLES / f"step_{batches.step + 1:06d}.png",
            torch.cat(images).numpy(),
            columns=look.each,
        )
        return {"noise_mse": float(np.mean(errors))}

    return measure


@torch.inference_mode()
def _psnr_of(job: FinetuneJob, latents: Latents, device: torch.device) -> float | None:
    """PSNR of some windows after the way there and back, dB; None for pixels."""
    if not isinstance(latents, nn.Module):
        return None
    some = job.patch_ids[:: max(1, len(job.patch_ids) // LOOKED_AT)][:LOOKED_AT]
    errors = []
    for patch in some:
        rgb = from_uint8(job.pool.hr_patches(np.array([patch])), device)
        errors.append(
            float((latents.decode(latents.encode(rgb)).clamp(0, 1) - rgb).square().mean())
        )
    return float(-10 * np.log10(np.mean(errors)))
