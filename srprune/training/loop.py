"""The training loop, from top to bottom.

What varies comes in as an argument: the batches (a function of the step), the domain of the
network, and what is measured on the way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from srprune.core.config import TrainConfig
from srprune.core.errors import InputError
from srprune.core.progress import Progress, silent
from srprune.training.log import CsvLog
from srprune.training.losses import LOSSES
from srprune.training.optimizer import clip, make_optimizer
from srprune.training.plan import StepPlan
from srprune.training.schedule import rate
from srprune.training.state import StateFile

LOG_EVERY = 100  # steps between two rows of the log

BatchAt = Callable[[int], tuple[Tensor, Tensor]]
Validate = Callable[[nn.Module], Mapping[str, float]]


def train(
    network: nn.Module,
    batch_at: BatchAt,
    *,
    plan: StepPlan,
    config: TrainConfig,
    state: StateFile,
    folder: Path,
    device: torch.device,
    last_layer: str | None = None,
    rim: int = 0,
    validate: Validate | None = None,
    progress: Progress = silent,
) -> None:
    """Train a network for the steps of its plan, going on from ``state`` if it is there.

    Args:
        network: on ``device``, with its initial weights; trained in place.
        batch_at: step -> input and target of the network's domain, on ``device``.
        plan: how many steps.
        config: loss, optimizer, schedule, intervals.
        state: the checkpoint, read if it exists and written on the way.
        folder: gets ``log.csv`` and ``validation.csv``.
        device: where the state is loaded to.
        last_layer: name of the layer that ``optimizer.last_layer_lr`` is for.
        rim: px at each edge of the output that the loss leaves out.
        validate: network -> figures by name, measured every ``config.validation.every`` steps.
        progress: told after each step.

    Raises:
        InputError: the loss is no longer finite.
        ArtifactMismatch: the checkpoint is of another run.
    """
    optimizer = make_optimizer(network, config.optimizer, last_layer)
    criterion = LOSSES[config.loss]
    first, loss_sum = state.load(network, optimizer, device) if state.path.exists() else (0, 0.0)
    log = CsvLog(folder / "log.csv", ("step", "lr", "loss", "seconds"), first)
    figures_log: CsvLog | None = None
    started, note = time.perf_counter(), ""
    network.train()
    for step in range(first, plan.steps):
        factor = rate(config.schedule, step, plan.steps)
        lr = config.optimizer.lr * factor
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

        x, target = batch_at(step)
        loss = criterion(inside(network(x), rim), inside(target, rim))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip(network.parameters(), config.optimizer, lr)
        optimizer.step()

        loss_sum += loss.item()
        if not math.isfinite(loss_sum):
            raise InputError(
                f"the loss is {loss.item()} at step {step + 1}. Lower optimizer.lr "
                f"(now {config.optimizer.lr:g}); the last checkpoint is whole."
            )
        done = step + 1
        last = done == plan.steps
        if done % LOG_EVERY == 0 or last:
            mean = loss_sum / (done % LOG_EVERY or LOG_EVERY)
            seconds = round(time.perf_counter() - started, 2)
            log.add(done, f"{lr:.6g}", f"{mean:.8g}", seconds)
            note, loss_sum = f"loss {mean:.5f}", 0.0
        if validate and (done % config.validation.every == 0 or last):
            network.eval()
            figures = validate(network)
            network.train()
            if figures_log is None:
                columns = ("step", *figures)
                figures_log = CsvLog(folder / "validation.csv", columns, first)
            figures_log.add(done, *(f"{value:.6f}" for value in figures.values()))
        if done % config.checkpoint_every == 0 and not last:
            state.save(done, network, optimizer, loss_sum)
        progress("train", done, plan.steps, note)
    network.eval()


def inside(image_BCHW: Tensor, rim: int) -> Tensor:
    """Without ``rim`` px at each edge."""
    return image_BCHW[:, :, rim:-rim, rim:-rim] if rim else image_BCHW
