"""The training loop, from top to bottom.

What varies comes in as an argument: the batches (a function of the step), the domain of the
network, and what is measured on the way.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from srprune.core.errors import Diverged, Stopped
from srprune.core.progress import Progress, silent
from srprune.models.device import tf32
from srprune.models.supernet import Subnet
from srprune.training.adaptive import ActiveSet
from srprune.training.backward import Backward, Pairs, compile_errors
from srprune.training.checkpoints import Checkpoints
from srprune.training.criterion import Criterion, Fault, StatefulCriterion
from srprune.training.distributed import ALONE, World
from srprune.training.ema import MovingAverage
from srprune.training.log import Log
from srprune.training.optimizer import clip, make_optimizer
from srprune.training.plan import StepPlan
from srprune.training.recipe import Recipe
from srprune.training.schedule import rate
from srprune.training.watch import LossWatch

LOG_EVERY = 100  # steps between two rows of the log
SHOWN = 16  # patch ids that a message names

BatchAt = Callable[[int], Pairs]
Validate = Callable[[nn.Module], Mapping[str, float]]
KeepBest = Callable[[nn.Module, int, str, float], None]


@dataclass(frozen=True)
class Validation:
    """A validation that tells what it measures on: figures of two are never mixed.

    Attributes:
        of: what, in any words that are others for something else.
        measure: network -> figures by name.
    """

    of: str
    measure: Validate

    def __call__(self, network: nn.Module) -> Mapping[str, float]:
        """The figures of a network, by name."""
        return self.measure(network)


def train(
    network: nn.Module,
    batch_at: BatchAt,
    criterion: Criterion,
    *,
    plan: StepPlan,
    config: Recipe,
    checkpoints: Checkpoints,
    folder: Path,
    device: torch.device,
    world: World = ALONE,
    last_layer: str | None = None,
    rim: int = 0,
    validate: Validate | None = None,
    keep_best: KeepBest = lambda network, step, name, value: None,
    patches_at: Callable[[int], list[int]] = lambda step: [],
    active: ActiveSet | None = None,
    by_crop: Criterion | None = None,
    subnets_at: Callable[[int], Sequence[Subnet]] | None = None,
    rate_key: str = "optimizer.lr",
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> nn.Module:
    """Train a network for the steps of its plan, going on from the last checkpoint if there is one.

    Args:
        network: on ``device``, with its initial weights; trained in place.
        batch_at: step -> input and target of the network's domain, on ``device``: the parts that
            this process takes of the step, one after the other.
        criterion: (output, target) -> loss; one with a state is on ``device``, its parameters are
            trained along, and its state is kept with the checkpoints.
        plan: how many steps.
        config: optimizer, schedule, precision, intervals.
        checkpoints: read if there are any, and written on the way.
        folder: gets ``log.csv``, ``validation.csv``, with ``active`` ``adaptive.csv``, and
            TensorBoard's files if it is installed.
        device: where the network is.
        world: the processes that share each step; the first one writes and validates.
        last_layer: name of the layer that ``optimizer.last_layer_lr`` is for.
        rim: px at each edge of the output that the loss leaves out.
        validate: network -> figures by name, measured every ``config.validation.every`` steps; the
            first figure tells which weights are best. Where a run goes on with another
            :class:`Validation`, ``validation.csv`` and the best begin anew.
        keep_best: told network, step, name and value of the figure whenever it is the best so far.
        patches_at: step -> patch ids of its batch, for messages.
        active: chooses on the way, from the losses, which patches the batches are of.
        by_crop: (output, target) -> (B,) losses, for ``active``.
        subnets_at: step -> the subnets that it trains, of a network that is a supernet.
        rate_key: where the user's config has the learning rate, for messages.
        stopping: asked after each step; True saves a checkpoint and stops.
        progress: told after each step.

    Returns:
        What was trained, in eval mode: the moving average where ``config.ema`` asks for one.

    Raises:
        Diverged: the loss or the weights are no longer finite.
        Stopped: ``stopping`` said so.
        ArtifactMismatch: the checkpoint is of another run.
        InputError: the network shall be compiled, and cannot be.
    """
    optimizer = make_optimizer(network, config.optimizer, last_layer)
    stateful = criterion if isinstance(criterion, StatefulCriterion) else None
    if stateful and (own := [p for p in stateful.parameters() if p.requires_grad]):
        optimizer.add_param_group({"params": own, "peak_lr": stateful.peak_lr, "weight_decay": 0.0})
    network.train()
    average = MovingAverage(network, config.ema) if config.ema is not None else None
    measured: nn.Module = average.network if average else network
    backward = Backward(
        network,
        criterion,
        rim=rim,
        compute=config.compute,
        device=device,
        seed=config.seed,
        world=world,
        by_crop=by_crop if active else None,
        subnets_at=subnets_at,
    )
    first, loss_sum, best, spent = 0, 0.0, -math.inf, 0.0
    of = validate.of if isinstance(validate, Validation) else ""
    if state := checkpoints.load():
        first, loss_sum, best = state["step"], state["loss_sum"], state["best"]
        spent = state.get("seconds", 0.0)
        was = state.get("validated_on", of)
        if validate is None:
            of = was
        elif of != was:
            best = -math.inf
            if world.first:
                (folder / "validation.csv").unlink(missing_ok=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        backward.scaler.load_state_dict(state["scaler"])
        if average:
            average.load_state_dict(state["average"])
        if active:
            active.load_state_dict(state["active"])
        if stateful:
            stateful.load_state_dict(state["criterion"])
    watch = LossWatch(device, world, loss_sum)
    log = Log(folder, first) if world.first else None
    parameters = list(network.parameters())
    saved = first

    def save(done: int) -> None:
        more = {"active": active.state_dict()} if active else {}  # asks all processes
        if stateful:
            more["criterion"] = stateful.state_dict()
        if world.first:
            checkpoints.save(
                done,
                {
                    "network": network.state_dict(),
                    "average": average.state_dict() if average else None,
                    "optimizer": optimizer.state_dict(),
                    "scaler": backward.scaler.state_dict(),
                    "loss_sum": watch.sum,
                    "best": best,
                    "validated_on": of,
                    "seconds": spent + time.perf_counter() - started,
                    **more,
                },
            )

    started, validated = time.perf_counter(), ""
    logging = contextlib.closing(log) if log else contextlib.nullcontext()
    with logging, tf32(config.compute.tf32), compile_errors(config.compute):
        for step in range(first, plan.steps):
            factor = rate(config.schedule, step, plan.steps)
            lr = config.optimizer.lr * factor
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor

            watch.add(step, backward(step, batch_at(step)))
            if active:
                active.add(step, torch.cat(backward.crop_losses))
            backward.scaler.unscale_(optimizer)
            clip(parameters, config.optimizer, lr)
            backward.scaler.step(optimizer)
            backward.scaler.update()
            if average:
                average.update(network)

            done = step + 1
            last = done == plan.steps
            log_now = done % LOG_EVERY == 0 or last
            validate_now = validate is not None and (done % config.validation.every == 0 or last)
            save_now = done % config.checkpoints.every == 0 and not last
            choose = active is not None and active.due(done)
            look = step == first or watch.due(done) or log_now or validate_now or save_now or choose
            stop = look and not last and world.any(stopping())
            bad = watch.look() if look else None
            if look and stateful and (fault := stateful.fault()):  # before the NaN that it makes
                raise Diverged(_at_fault(fault, step, saved))
            if bad is not None:
                what = f"the loss is {watch.last}"
                raise Diverged(_diverged(what, bad, config, rate_key, saved, patches_at(bad)))
            if (validate_now or save_now or stop or last) and not _finite(parameters):
                what = "the weights are no longer finite"  # a finite loss may have such gradients
                raise Diverged(_diverged(what, step, config, rate_key, saved, patches_at(step)))
            seconds = time.perf_counter() - started
            if log_now and log:
                mean = watch.sum / (done % LOG_EVERY or LOG_EVERY)
                log.train(done, lr, mean, seconds, plan.batch * (done - first) / seconds)
            if log_now:
                watch.sum = 0.0
            if validate_now and world.first:
                assert validate is not None and log is not None
                measured.eval()
                with tf32(False):  # a figure is the same however the step was computed
                    figures = validate(measured)
                network.train()
                log.validation(done, figures)
                name, value = next(iter(figures.items()))
                validated = f", {name} {value:.2f}"
                if value > best:
                    best = value
                    keep_best(measured, done, name, value)
            if active and choose:
                row = active.look(done)
                if row and log:
                    log.adaptive(done, row)
            if save_now or stop:
                save(done)
                saved = done
            if stop:
                raise Stopped(
                    f"stopped at step {done:,} of {plan.steps:,}; the checkpoint is saved. "
                    "Pass --resume to go on."
                )
            pace = plan.batch * (done - first) / seconds
            digits = 0 if pace >= 10 else 1
            note = f"loss {watch.last:.5f}, lr {lr:.2g}, {pace:,.{digits}f} patches/s{validated}"
            progress("train", done, plan.steps, note)
    return measured.eval()


def _finite(parameters: Sequence[Tensor]) -> bool:
    return bool(torch.stack([p.detach().isfinite().all() for p in parameters]).all())


def _at_fault(fault: Fault, step: int, saved: int) -> str:
    return f"{fault.what} at step {step + 1}. {fault.remedy}; {_kept(saved)}."


def _diverged(
    what: str, step: int, config: Recipe, rate_key: str, saved: int, patches: list[int]
) -> str:
    """Why the run stops, in words."""
    ids = ", ".join(map(str, patches[:SHOWN])) + (", ..." if len(patches) > SHOWN else "")
    batch = f" (patches {ids})" if patches else ""
    scaled = config.compute.precision == "fp16"
    hint = " or choose compute.precision bf16" if scaled else ""
    return (
        f"{what} at step {step + 1}{batch}. Lower {rate_key} "
        f"(now {config.optimizer.lr:g}){hint}; {_kept(saved)}."
    )


def _kept(saved: int) -> str:
    return f"the last checkpoint, of step {saved}, is whole" if saved else "there is no checkpoint"
