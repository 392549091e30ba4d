"""Watching the loss without waiting for the device after every step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from srprune.training.distributed import World

BETWEEN = 8  # steps between two looks where a look makes a GPU or other processes wait


class LossWatch:
    """Collects losses where they are made, and looks at them now and then.

    Attributes:
        sum: of the losses since the last row of the log, as far as they were looked at.
        last: the latest loss that was looked at.
    """

    def __init__(self, device: torch.device, world: World, loss_sum: float = 0.0) -> None:
        """Start with what a checkpoint had summed up."""
        self.sum, self.last = loss_sum, math.nan
        self._world = world
        self._unseen: list[tuple[int, Tensor]] = []
        self._between = 1 if device.type == "cpu" and world.size == 1 else BETWEEN

    def add(self, step: int, loss: Tensor) -> None:
        """Take the loss of a step, counted from 0; it is not read yet."""
        self._unseen.append((step, loss))

    def due(self, done: int) -> bool:
        """True if it is time to look, after ``done`` steps; the same in all processes."""
        return done % self._between == 0

    def look(self) -> int | None:
        """Read all losses, each the mean over the processes.

        Returns:
            The first step whose loss is not finite; None if all are.
        """
        if not self._unseen:
            return None
        losses = self._world.mean(torch.stack([loss for _, loss in self._unseen])).tolist()
        steps = [step for step, _ in self._unseen]
        self._unseen = []
        for step, loss in zip(steps, losses, strict=True):
            self.last = loss
            if not math.isfinite(loss):
                return step
            self.sum += loss
        return None
