"""Forward and backward pass of one step: precision, parts of a batch, several processes, graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from srprune.core.config import ComputeConfig
from srprune.core.errors import InputError
from srprune.core.out_of_memory import is_out_of_memory
from srprune.core.seeding import hashed
from srprune.models.device import seed_device
from srprune.models.network import RandomLayer
from srprune.models.supernet import Subnet, Supernet
from srprune.training.criterion import Criterion
from srprune.training.distributed import ALONE, World

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
WARM_UP = 3  # passes before a graph is captured, as torch asks for

Pairs = Iterable[tuple[Any, Any]]  # input and target: tensors, or tuples of them


class Backward:
    """Leaves the gradient of a step in the parameters of a network.

    A step has ``world.size * accumulate`` equal parts, so the mean over parts of the mean over a
    part is the mean over the batch. What layers drop at random is drawn for the whole batch from
    (seed, step), and each part takes its own, so neither the number of parts nor of processes
    changes what is dropped. Batch norm is the exception: its statistics are those of a part; on
    GPUs those of the parts that run at the same time.

    A supernet trains some of its subnets in a step: its loss is the mean of theirs on the same
    batch. They run one after the other, so a step needs the memory of one, and the largest is in
    use again afterwards.

    Attributes:
        crop_losses: of each part of the last step that this process took, (B,) the loss of each
            crop, where they were asked for; to be read before the next step. Of several subnets
            it is that of the last, whose losses are comparable from step to step where it is
            always the largest.
    """

    def __init__(
        self,
        network: nn.Module,
        criterion: Criterion,
        *,
        rim: int,
        compute: ComputeConfig,
        device: torch.device,
        seed: int = 0,
        world: World = ALONE,
        by_crop: Criterion | None = None,
        subnets_at: Callable[[int], Sequence[Subnet]] | None = None,
    ) -> None:
        """Wrap a network, which stays the owner of the weights.

        Args:
            network: on ``device``, in training mode.
            criterion: (output, target) -> loss; a module may have parameters of its own, whose
                gradients are made as those of the network are.
            rim: px at each edge of the output that the loss leaves out.
            compute: precision, parts, compiling, graphs.
            device: of the network.
            seed: of what layers drop.
            world: the processes that share the batch.
            by_crop: (output, target) -> (B,) losses, where those of the single crops are wanted.
            subnets_at: step -> the subnets that it trains, of a network that is a supernet; the
                same ones in all processes. Not for CUDA graphs.
        """
        self._network, self._criterion, self._rim = network, criterion, rim
        self._compute, self._device, self._seed, self._world = compute, device, seed, world
        self._by_crop, self._subnets_at = by_crop, subnets_at
        self._own = list(criterion.parameters()) if isinstance(criterion, nn.Module) else []
        self._supernet = network if subnets_at and isinstance(network, Supernet) else None
        self.crop_losses: list[Tensor] = []
        self.scaler = torch.amp.GradScaler(device.type, enabled=compute.precision == "fp16")
        self._parts = compute.accumulate * world.size
        self._random = [layer for layer in network.modules() if isinstance(layer, RandomLayer)]
        self._replay: _Graph | None = None
        forward: nn.Module = network
        # DDP wants every parameter in every step; a small subnet leaves most of them out
        self._apart = [*self._own, *(network.parameters() if self._supernet else ())]
        if compute.compile:
            _let_compile(len(self._supernet.subnets) if self._supernet else 1)
        if world.size > 1 and not self._supernet:
            if device.type == "cuda":
                nn.SyncBatchNorm.convert_sync_batchnorm(network)  # has no CPU version
            forward = DistributedDataParallel(
                network, device_ids=[device] if device.type == "cuda" else None
            )
        self._shared = forward
        self._forward: Callable[[Any], Tensor] = (
            torch.compile(forward) if compute.compile else forward
        )

    def __call__(self, step: int, pairs: Pairs) -> Tensor:
        """Run a step; earlier gradients are dropped.

        Args:
            step: from 0.
            pairs: input and target of this process, one pair a part, ``accumulate`` in all.

        Returns:
            The loss of this process, (), detached and not waited for.
        """
        subnets = self._subnets_at(step) if self._subnets_at else (None,)
        count = self._compute.accumulate * len(subnets)
        total: Tensor | None = None
        for number, (x, target) in enumerate(pairs):
            self._draw(step, self._world.rank * self._compute.accumulate + number)
            if self._compute.cuda_graph and self._device.type == "cuda":
                return self._replayed(step, x, target)
            if number == 0:
                self._drop_gradients()
                self.crop_losses = []
            last = number == self._compute.accumulate - 1
            for subnet in subnets:
                self._use(subnet)
                del self.crop_losses[number:]  # of this part the last subnet's stay
                with self._alone(not last):
                    loss = self._loss(x, target)
                    self.scaler.scale(loss / count).backward()
                part = loss.detach() / count
                total = part if total is None else total + part
        assert total is not None
        if self._supernet:
            self._supernet.use(self._supernet.largest)
        self._world.mean_gradients(self._apart)
        return total

    def _use(self, subnet: Subnet | None) -> None:
        """Choose what runs next."""
        if self._supernet and subnet:
            self._supernet.use(subnet)

    def _drop_gradients(self) -> None:
        """Those of the network and of the loss."""
        self._network.zero_grad(set_to_none=True)
        for parameter in self._own:
            parameter.grad = None

    def _draw(self, step: int, part: int) -> None:
        """Set what layers draw: a function of the step, the same for all its parts."""
        seed = int(hashed(self._seed, "training.drop", step)) >> 1
        seed_device(self._device, seed)
        for layer in self._random:
            layer.part = (part, self._parts)

    def _loss(self, x: Any, target: Any) -> Tensor:
        """Of one part; the output is taken back to fp32 first."""
        if isinstance(x, Tensor) and not self._compute.channels_last:
            x = x.contiguous()  # batches come the other way, and activations follow them
        with self._autocast():
            output = self._forward(x).float()
        if self._rim:
            output, target = inside(output, self._rim), inside(target, self._rim)
        if self._by_crop:
            self.crop_losses.append(self._by_crop(output.detach(), target))
        return self._criterion(output, target)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        dtype = DTYPES.get(self._compute.precision)
        if dtype is None:
            return contextlib.nullcontext()
        # a cache of cast weights is for single passes; a graph must not hold on to one
        cache = not self._compute.cuda_graph
        return torch.autocast(self._device.type, dtype=dtype, cache_enabled=cache)

    def _alone(self, quiet: bool) -> contextlib.AbstractContextManager[object]:
        """Gradients travel between processes once a step, with its last part."""
        if quiet and isinstance(self._shared, DistributedDataParallel):
            return self._shared.no_sync()
        return contextlib.nullcontext()

    def _replayed(self, step: int, x: Tensor, target: Tensor) -> Tensor:
        """The same step as one launch; captured on the first call."""
        if self._replay is None:
            self._replay = _Graph(self._network, self._loss, self._drop_gradients, x, target)
            self.crop_losses = self.crop_losses[-1:]  # what was captured; each replay fills it
            self._draw(step, 0)
        return self._replay(x, target)


class _Graph:
    """Forward and backward pass of batches of one shape, captured as a CUDA graph."""

    def __init__(
        self,
        network: nn.Module,
        loss: Criterion,
        drop_gradients: Callable[[], None],
        x: Tensor,
        target: Tensor,
    ) -> None:
        self._x, self._target = x.clone(), target.clone()
        kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                drop_gradients()
                loss(self._x, self._target).backward()
        torch.cuda.current_stream().wait_stream(stream)
        network.load_state_dict(kept)  # warming up moved the averages of batch norm
        drop_gradients()
        self._graph = torch.cuda.CUDAGraph()
        # the thread that reads ahead pins memory meanwhile; only this one's calls are captured
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._loss = loss(self._x, self._target)
            self._loss.backward()

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Replay with other pixels; each replay writes the gradients anew."""
        self._x.copy_(x)
        self._target.copy_(target)
        self._graph.replay()
        return self._loss.detach().clone()


@contextlib.contextmanager
def compile_errors(compute: ComputeConfig) -> Iterator[None]:
    """Turn a network that cannot be compiled into one line; torch tries in the first steps.

    Raises:
        InputError: there is no compiler, or it fails.
    """
    failed = torch._dynamo.exc.BackendCompilerFailed if compute.compile else ()  # slow to import
    try:
        yield
    except failed as error:
        if is_out_of_memory(error):
            raise
        lines = (line for line in str(error).splitlines() if not line.endswith("raised:"))
        raise InputError(
            f"compute.compile is on, but torch cannot compile here ({next(lines, 'no reason')}). "
            "Install a C++ compiler, on a GPU Triton, too; or --set compute.compile=false."
        ) from error


def _let_compile(count: int) -> None:
    """Let one network be compiled so often; beyond its limit, 8, torch runs it uncompiled.

    What layers drop is drawn by torch's own generators then as without compiling, not by those of
    the compiled code, which give other numbers for the same seed.
    """
    from torch._inductor import config  # slow, and of use here alone

    config.fallback_random = True
    settings = torch._dynamo.config
    settings.cache_size_limit = max(settings.cache_size_limit, count)  # its name since torch 2.0


def inside(image_BCHW: Tensor, rim: int) -> Tensor:
    """Without ``rim`` px at each edge."""
    return image_BCHW[:, :, rim:-rim, rim:-rim] if rim else image_BCHW
