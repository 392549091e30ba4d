"""Several processes as one: who this one is, and what they tell each other.

``torchrun`` starts the processes and sets ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from srprune.core.errors import UserError

PATIENCE = timedelta(hours=6)  # the others wait while the first one validates


@dataclass(frozen=True)
class World:
    """All processes that work together.

    Attributes:
        rank: number of this one, from 0.
        size: how many they are.
        local_size: how many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def first(self) -> bool:
        """True for the one process that writes and talks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes; the same tensor where there is but one."""
        if self.size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.SUM)
            values /= self.size
        return values

    def mean_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Put the mean over all processes in place of each gradient.

        Args:
            parameters: the same ones have a gradient in every process; the others stay without.
        """
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def side_by_side(self, values_SB: Tensor) -> Tensor:
        """The columns of all processes, in the order of their ranks, in every one of them."""
        if self.size == 1:
            return values_SB
        columns = [torch.empty_like(values_SB) for _ in range(self.size)]
        dist.all_gather(columns, values_SB.contiguous())
        return torch.cat(columns, 1)

    def any(self, flag: bool) -> bool:
        """True in all processes if it is true in one of them."""
        return any(self.gathered(flag)) if self.size > 1 else flag

    def gathered(self, value: Any) -> list[Any]:
        """What each process has, in the order of their ranks, in every one of them."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process runs what is inside, then all others do.

        Raises:
            UserError: in the others, where the first one failed; it says why.
        """
        if not self.first:
            if self.gathered(False)[0]:
                raise UserError("process 0 could not do its part; see what it says.")
            yield
            return
        try:
            yield
        except Exception:  # not Ctrl-C, which has reached the others, too
            self.gathered(True)
            raise
        self.gathered(False)

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started; without it, be alone.

    Args:
        device: of this process: NCCL joins those on GPUs, gloo the others.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if cuda else "gloo", timeout=PATIENCE, device_id=device if cuda else None
    )
    try:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        with warnings.catch_warnings():
            # weights are channels last: a copy of the gradient, which nobody can do anything about
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield World(dist.get_rank(), size, local)
    finally:
        dist.destroy_process_group()
