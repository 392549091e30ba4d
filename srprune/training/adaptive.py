"""The active set of an adaptive run: it listens to the losses of the batches, and chooses anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.data.sampler import CropSampler
from srprune.selection.adaptive import AdaptivePlan, Difficulty, Level, choose, stands_for
from srprune.training.distributed import ALONE, World

CROPS = 128  # losses at a time: few enough for the network to stay the same, enough for a mean
LEAST = 8  # steps between two looks at the losses: each makes a GPU wait

Ints = npt.NDArray[np.int64]


class ActiveSet:
    """Which patches an adaptive run trains on.

    What it knows changes at fixed steps alone, and is the same in all processes; so checkpoints,
    logs and validations on the way change nothing.
    """

    def __init__(
        self,
        plan: AdaptivePlan,
        sampler: CropSampler,
        *,
        steps: int,
        batch: int,
        changed: Callable[[CropSampler], None],
        world: World = ALONE,
    ) -> None:
        """Begin with what the plan begins with.

        Args:
            plan: of the run.
            sampler: draws from ``plan.start_K``; its places are those in ``plan.ids_M``.
            steps: of the whole run.
            batch: crops of a step, over all processes.
            changed: told the sampler whenever it is another one.
            world: the processes that share each step.
        """
        self._plan, self._sampler, self._changed = plan, sampler, changed
        self._steps, self._world = steps, world
        self._every = max(LEAST, -(-CROPS // batch))
        self._share = batch // world.size
        num_patches = len(plan.ids_M)
        self._difficulty = Difficulty(num_patches, plan.settings["decay"])
        self._level = Level()
        self._visited_M = np.zeros(num_patches, dtype=bool)
        self._place_K: Ints = np.searchsorted(plan.ids_M, plan.start_K)
        self._drawn_K = np.ones(len(plan.start_K), dtype=bool)  # it begins with a draw
        self._unseen: list[tuple[int, Tensor]] = []
        self._sum, self._count = 0.0, 0

    @property
    def patch_ids(self) -> Ints:
        """(K,) patches in force, sorted."""
        ids: Ints = self._plan.ids_M[self._place_K]
        return ids

    @property
    def num_visited(self) -> int:
        """Patches that were in a batch so far, as far as batches were looked at."""
        return int(np.count_nonzero(self._visited_M))

    def add(self, step: int, loss_B: Tensor) -> None:
        """Take the losses of this process's crops of a step; they are not read yet."""
        self._unseen.append((step, loss_B))

    def due(self, done: int) -> bool:
        """True if :meth:`look` is due after ``done`` steps; the same in all processes."""
        return done % self._every == 0 or self._choice_at(done) is not None or done == self._steps

    def look(self, done: int) -> Mapping[str, float] | None:
        """Read the losses, and choose if it is time.

        Args:
            done: steps so far.

        Returns:
            A row of the log, where there was a choice and at the end; else None.
        """
        self._learn()
        number = self._choice_at(done)
        if number is None and done < self._steps:
            return None
        entered = 0 if number is None else self._choose(done, number)
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return {
            "active": len(self._place_K),
            "new": entered,
            "visited": self.num_visited,
            "loss": mean,
        }

    def _choice_at(self, done: int) -> int | None:
        return self._plan.choice_at(done, self._steps)

    def _learn(self) -> None:
        """Take in what the batches since the last look have shown."""
        steps, loss_SB = self._seen()
        self._unseen = []
        picks = [self._sampler.at(step) for step in steps]
        place_SB = np.stack([each.place_B for each in picks])
        self._visited_M[place_SB] = True
        self._sum += float(loss_SB.sum())
        self._count += loss_SB.size
        # an untrained network is wrong where images are bright, not where they are hard
        learned = np.array(steps) >= self._plan.warmup(self._steps) // 2
        if not learned.any():
            return
        place_V, loss_V = place_SB[learned].ravel(), loss_SB[learned].ravel()
        weight_K = stands_for(self._drawn_K, len(self._plan.ids_M))
        level = self._level.add(loss_V, weight_K[np.searchsorted(self._place_K, place_V)])
        if level > 0:  # 0 where nothing is left to learn
            self._difficulty.add(place_V, loss_V / level)

    def _seen(self) -> tuple[list[int], npt.NDArray[np.float64]]:
        """Steps not looked at yet, and (S, B) the losses of their whole batches."""
        device = self._unseen[-1][1].device  # those of a checkpoint are on the CPU
        loss_SB = torch.stack([loss_B.to(device) for _, loss_B in self._unseen])
        whole_SB = self._world.side_by_side(loss_SB).cpu().numpy()
        return [step for step, _ in self._unseen], whole_SB.astype(np.float64)

    def _choose(self, done: int, number: int) -> int:
        """Change the active set; how many patches are new in it."""
        before = self._place_K
        place_K, self._drawn_K = choose(self._plan, self._difficulty.estimates(), number)
        start = self._sampler.joining(done, self._plan.ids_M[place_K])
        self._take(place_K, start)
        return len(np.setdiff1d(place_K, before, assume_unique=True))

    def _take(self, place_K: Ints, start: int) -> None:
        self._place_K = place_K
        self._sampler = self._sampler.of(self.patch_ids, place_K, start)
        self._changed(self._sampler)

    def state_dict(self) -> dict[str, Any]:
        """All that a later attempt needs, whatever the number of its processes."""
        steps, loss_SB = self._seen() if self._unseen else ([], np.zeros((0, 0)))
        return {
            "sum_M": torch.from_numpy(self._difficulty.sum_M),
            "weight_M": torch.from_numpy(self._difficulty.weight_M),
            "visited_M": torch.from_numpy(self._visited_M),
            "place_K": torch.from_numpy(self._place_K),
            "drawn_K": torch.from_numpy(self._drawn_K),
            "start": self._sampler.start,
            "level": self._level.sums,
            "mean": (self._sum, self._count),
            "steps": steps,
            "loss_SB": torch.from_numpy(loss_SB.astype(np.float32)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._difficulty.sum_M = state["sum_M"].numpy()
        self._difficulty.weight_M = state["weight_M"].numpy()
        self._visited_M = state["visited_M"].numpy()
        self._drawn_K = state["drawn_K"].numpy()
        self._level.sums, (self._sum, self._count) = state["level"], state["mean"]
        first = self._world.rank * self._share
        own_SB = state["loss_SB"][:, first : first + self._share]
        self._unseen = list(zip(state["steps"], own_SB, strict=True))
        self._take(state["place_K"].numpy(), state["start"])
