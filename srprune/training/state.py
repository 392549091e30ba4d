"""Training state on disk: everything that an interrupted run needs to go on bit for bit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srprune.core.artifact import atomic_path
from srprune.core.errors import ArtifactError, ArtifactMismatch


@dataclass(frozen=True)
class StateFile:
    """The checkpoint of one run.

    Attributes:
        path: the file; it is replaced atomically, so a kill leaves the last whole one.
        plan: fingerprint of config and inputs; a state of another plan is refused.
    """

    path: Path
    plan: str

    def save(
        self, step: int, network: nn.Module, optimizer: torch.optim.Optimizer, loss_sum: float
    ) -> None:
        """Write the state after ``step`` steps."""
        state = {
            "plan": self.plan,
            "step": step,
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "device_rng": _device_rng(next(network.parameters()).device),
            "loss_sum": loss_sum,
        }
        buffer = io.BytesIO()  # torch hides a full disk behind an error of its own
        torch.save(state, buffer)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> tuple[int, float]:
        """Restore network, optimizer and random state; return step and running loss.

        Raises:
            ArtifactError: the file is damaged.
            ArtifactMismatch: it belongs to another config or other inputs.
        """
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
            if state["plan"] != self.plan:
                raise ArtifactMismatch(
                    f"{self.path} belongs to a run of another config or other inputs "
                    f"({state['plan']}, not {self.plan}). Choose another --workspace; or, with "
                    "pretrain and train, another --name, or --restart to throw it away."
                )
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"].cpu())
            _set_device_rng(device, state["device_rng"])
            return int(state["step"]), float(state["loss_sum"])
        except ArtifactMismatch:
            raise
        except Exception as error:  # torch raises nearly anything on damaged data
            raise ArtifactError(
                f"the checkpoint {self.path} is damaged. Delete it and train again."
            ) from error


def _device_rng(device: torch.device) -> Tensor | None:
    """Random state of an accelerator, from which networks draw what they drop; None on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def _set_device_rng(device: torch.device, state: Tensor | None) -> None:
    if state is None:
        return
    if device.type == "cuda":
        torch.cuda.set_rng_state(state.cpu(), device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state.cpu())
